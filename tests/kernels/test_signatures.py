"""One file with two signatures: stock ops by default, ours where the delegate is."""

import contextlib

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tests.kernels import float_files, op_files
from tests.kernels.float_files import Net
from tests.kernels.test_xnor_ops import chain
from tfcompress.errors import InputError
from tfcompress.runtime.interpreter import open_file
from tfcompress.tflite import join
from tfcompress.tflite.content import read
from tfcompress.tflite.signatures import alone, graphs


def test_both_signatures(fastest, joined):
    from ai_edge_litert.interpreter import Interpreter

    first, second, path = joined
    assert path.stat().st_size < first.stat().st_size + second.stat().st_size
    x = float_files.image(np.random.default_rng(3), (1, 11, 9, 20))
    wanted = op_files.run(Interpreter(str(first)), x)[0]
    # Without the delegate the file is an ordinary one, and says that it has a second signature.
    stock = Interpreter(str(path))
    np.testing.assert_array_equal(op_files.run(stock, x)[0], wanted)
    assert set(stock.get_signature_list()) == {"serving_default", "xnor"}
    fast = op_files.interpreter(path.read_bytes(), fastest)
    (name,) = fast.get_signature_list()["xnor"]["inputs"]
    for signature in ("xnor", "serving_default", "xnor"):
        # Copies: a view of the interpreter's memory would keep it from running again.
        (got,) = [y.copy() for y in fast.get_signature_runner(signature)(**{name: x}).values()]
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(op_files.run(fast, x)[0], wanted)


def test_one_alone(fastest, joined):
    first, second, path = joined
    assert graphs(first) == {}
    assert graphs(path) == {"serving_default": 0, "xnor": 1}
    assert graphs(path.with_name("missing.tflite")) == {}
    x = float_files.image(np.random.default_rng(3), (1, 11, 9, 20))
    (wanted,) = op_files.run(op_files.interpreter(second.read_bytes(), fastest), x)
    cut = op_files.interpreter(alone(path, "xnor"), fastest)
    assert (cut.num_subgraphs(), cut.get_signature_list()) == (1, {})
    np.testing.assert_array_equal(op_files.run(cut, x)[0], wanted)
    with pytest.raises(InputError, match=r"unknown signature of .*: did you mean 'xnor'"):
        alone(path, "xnr")


def test_the_main_graph_by_another_name(joined, tmp_path):
    """What runs beside GPUs, to compare with, is the main graph; few files name it otherwise."""
    first, _, path = joined
    for file, names in ((first, ["serve"]), (path, ["serve", "other"])):
        model = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
        both = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0).signatureDefs
        model.signatureDefs = both[: len(names)]
        for one, name in zip(model.signatureDefs, names, strict=True):
            one.signatureKey = name.encode()
        renamed = tmp_path / "renamed.tflite"
        renamed.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
        assert list(graphs(renamed)) == names
        found = open_file(renamed, threads=1, xnnpack=True, signature="serving_default")
        x = float_files.image(np.random.default_rng(3), (1, 11, 9, 20))
        wanted = op_files.run(open_file(first, threads=1, xnnpack=True).interpreter, x)[0]
        np.testing.assert_array_equal(op_files.run(found.interpreter, x)[0], wanted)
        with pytest.raises(InputError, match=r"unknown signature of .* 'xnor'"):
            open_file(renamed, threads=1, xnnpack=True, signature="xnor")


def test_what_each_runs(joined):
    first, second, path = joined
    both, *apart = (read(file) for file in (path, first, second))
    assert [one.name for one in both.signatures] == ["serving_default", "xnor"]
    assert len(both.ops) == sum(len(one.ops) for one in apart)
    for name, one in zip((None, "xnor"), apart, strict=True):
        part = both.of(name)
        assert part.op_counts() == one.op_counts()
        assert (part.macs, part.weight_bytes) == (one.macs, one.weight_bytes)
        assert [t.shape for t in part.inputs] == [t.shape for t in one.inputs]
        assert part.of() == part
    assert both.of("serving_default") == both.of()
    with pytest.raises(InputError, match="unknown signature"):
        both.of("fast")


def test_broken_files_have_an_answer(joined, tmp_path):
    data, path = joined[2].read_bytes(), tmp_path / "broken.tflite"
    rng = np.random.default_rng(0)
    for size in (0, 3, 8, 40, 100, len(data) // 2, *[len(data)] * 50):
        broken = bytearray(data[:size])
        for place in rng.integers(0, min(size, 400) or 1, 4) if size == len(data) else ():
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        for name in graphs(path):
            with contextlib.suppress(InputError):
                assert len(alone(path, name)) == len(broken)


def test_other_ends(joined, tmp_path):
    first, second, _ = joined
    net = Net(0, (1, 9, 9, 20))
    second.write_bytes(net.done(*chain(net)[0]))
    with pytest.raises(InputError, match=r"same inputs: .* float32 \(1, 11, 9, 20\), .*1, 9, 9"):
        join.join_signatures(first, second, tmp_path / "x.tflite", "xnor")


def test_graphs_of_another_signature(joined, tmp_path):
    first, _, path = joined
    with pytest.raises(InputError, match="has 2 graphs, of which the first runs 1"):
        join.join_signatures(first, path, tmp_path / "x.tflite", "xnor")
    assert not (tmp_path / "x.tflite").exists()
