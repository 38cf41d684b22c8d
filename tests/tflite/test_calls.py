"""Which graphs run with which, in files of which nothing need be true."""

from types import SimpleNamespace

from tfcompress.tflite import calls


def graph(*options):
    return SimpleNamespace(operators=[SimpleNamespace(builtinOptions=each) for each in options])


def loop(cond, body):
    return SimpleNamespace(condSubgraphIndex=cond, bodySubgraphIndex=body)


def test_a_graph_runs_its_loops_and_their_loops():
    model = SimpleNamespace(
        subgraphs=[graph(None, loop(2, 3)), graph(loop(9, -1)), graph(), graph(loop(4, 3)), graph()]
    )
    assert calls.called(model, 0) == {0, 2, 3, 4}
    assert calls.called(model, 1) == {1}  # There is no graph 9.
    model.subgraphs[4].operators = None
    assert calls.called(model, 4) == {4}


def test_renumbered():
    op = SimpleNamespace(builtinOptions=loop(1, 2))
    calls.renumber(op, 3)
    assert op.builtinOptions == loop(4, 5)
    calls.renumber(SimpleNamespace(builtinOptions=None), 3)
