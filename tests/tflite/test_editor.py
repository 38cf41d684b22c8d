"""Files that are edited: what stands in them afterwards, and what they compute."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.export.handmade import Conv, Dense, Reshape, changed, normal, opened, save
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor, edit

SHAPE = (1, 5, 4, 3)
LAYERS = (
    Conv(normal((4, 3, 3, 3), 1), normal(4, 2), activation="relu"),
    Conv(normal((6, 2, 2, 4), 3), strides=(2, 1)),
    Reshape((1, 3 * 4 * 6)),
    Dense(normal((5, 3 * 4 * 6), 4), normal(5, 5)),
)


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "m.tflite", SHAPE, *LAYERS)


@pytest.fixture
def x():
    return normal((2, *SHAPE[1:]), 9)


def names(graph):
    return [tensor.name.decode() for tensor in graph.tensors]


def with_junk(model):
    """Unused tensors, buffers and op codes before all others, a signature and metadata behind."""
    graph = model.subgraphs[0]
    for owner in (graph, *graph.operators):
        for field in ("inputs", "outputs"):
            setattr(owner, field, [int(t) + (t >= 0) for t in getattr(owner, field)])
    junk, said, code = schema.BufferT(), schema.BufferT(), schema.OperatorCodeT()
    junk.data, said.data = np.full(5000, 7, np.uint8), np.frombuffer(b"what it says", np.uint8)
    for tensor in graph.tensors:
        tensor.buffer += tensor.buffer > 0
    model.buffers.insert(1, junk)
    model.buffers.append(said)
    unused = schema.TensorT()
    unused.name, unused.shape, unused.buffer = b"unused", [1250], 1
    graph.tensors.insert(0, unused)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX
    code.version = 1
    model.operatorCodes.insert(0, code)
    for op in graph.operators:
        op.opcodeIndex += 1
    graph.operators[-1].intermediates = list(graph.operators[0].outputs)  # As an LSTM has them.
    metadata = schema.MetadataT()
    metadata.name, metadata.buffer = b"said", len(model.buffers) - 1
    model.metadata, model.metadataBuffer = [metadata], [metadata.buffer]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serve", 0
    ends = []
    for name, tensor in (("image", graph.inputs[0]), ("scores", graph.outputs[0])):
        end = schema.TensorMapT()
        end.name, end.tensorIndex = name.encode(), int(tensor)
        ends.append([end])
    signature.inputs, signature.outputs = ends
    model.signatureDefs = [signature]


def test_no_change_leaves_the_same_file(path, x):
    before, right = opened(path), LiteModel(path).predict(x)
    edit(path, lambda editor: None)
    after = opened(path)
    np.testing.assert_array_equal(LiteModel(path).predict(x), right)
    assert names(after.subgraphs[0]) == names(before.subgraphs[0])
    assert len(after.buffers) == len(before.buffers)


def test_what_nothing_uses_goes_and_the_rest_is_numbered_anew(path, x):
    plain, right = path.stat().st_size, LiteModel(path).predict(x)
    codes = {(c.builtinCode, c.version) for c in opened(path).operatorCodes}
    changed(path, with_junk)
    assert path.stat().st_size > plain + 5000
    edit(path, lambda editor: None)
    after = opened(path)
    assert path.stat().st_size < plain + 1000
    assert "unused" not in names(after.subgraphs[0])
    assert {(c.builtinCode, c.version) for c in after.operatorCodes} == codes
    assert sorted({t.buffer for t in after.subgraphs[0].tensors} | {after.metadata[0].buffer}) == (
        list(range(len(after.buffers)))
    )
    assert bytes(after.buffers[after.metadata[0].buffer].data) == b"what it says"
    (inside,) = after.subgraphs[0].operators[-1].intermediates
    assert names(after.subgraphs[0])[inside] == "y0"
    np.testing.assert_array_equal(LiteModel(path).predict(x), right)
    run = Interpreter(str(path)).get_signature_runner("serve")
    np.testing.assert_array_equal(run(image=x[:1])["scores"], right[:1])


def test_only_one_op(path, x):
    """Its tensors and those that the op before had aren't the first ones any more."""
    first, whole = path.with_name("first.tflite"), path.with_name("whole.tflite")
    editor, untouched = Editor(path), Editor(path)
    untouched.write(whole)
    for output, file in (("y0", first), ("y1", path)):
        editor.alone(output).write(file)
    editor.write(written := path.with_name("written.tflite"))
    assert written.read_bytes() == whole.read_bytes()  # The file that they were cut from is whole.
    two = save(path.with_name("two.tflite"), SHAPE, *LAYERS[:2])
    middle = LiteModel(first).predict(x)
    np.testing.assert_array_equal(LiteModel(path).predict(middle), LiteModel(two).predict(x))
    graph = opened(path).subgraphs[0]
    assert sorted(names(graph)) == ["b1", "w1", "y0", "y1"]
    assert len(opened(path).buffers) == 3  # The empty one, weights and bias.
    assert read(path).op_counts() == {"CONV_2D": 1}


def test_equal_constants_are_one(path):
    editor = Editor(path)
    values = np.array([1, 0], np.int32)
    one = editor.constant(values)
    assert editor.constant(values.copy()) == one
    graph, _ = editor.subgraph("other")
    others = [
        editor.constant(values, "named"),
        editor.constant(values[::-1]),
        editor.constant(values[None]),
        editor.constant(values.view(np.float32)),
        editor.constant(values, scale=0.5),
        editor.constant(values, scale=0.25),
    ]
    assert len({one, *others}) == 7
    assert editor.constant(values, graph=graph) == 0  # The other graph's first.
    assert editor.constant(values, "named") != others[0]


def test_constants_hold_their_values(path):
    editor = Editor(path)
    values = normal((3, 4))
    transposed = editor.constant(values.T)  # Not contiguous.
    np.testing.assert_array_equal(editor.values(transposed), values.T)
    assert editor.shape(transposed) == (4, 3)
    assert editor.values(-1) is None
    assert editor.values(editor.constant(np.arange(3))) is None
    assert editor.values(int(editor.graph.inputs[0])) is None


def add_one(editor):
    """1 behind the first op, by a constant and an op without names."""
    op = editor.writer("y0")
    shape = editor.shape(op.outputs[0])
    ops = [op]
    out = int(op.outputs[0])
    op.outputs = [editor.tensor(shape, "float32", "")]
    one = editor.constant(np.ones(1, np.float32))
    ops.append(editor.op("ADD", [op.outputs[0], one], [out]))
    editor.replace(op, ops)


def test_ops_in_an_ops_place(path, x):
    edit(path, add_one)
    found = [op.name for op in read(path).ops]
    assert found == ["CONV_2D", "ADD", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    first = save(path.with_name("first.tflite"), SHAPE, LAYERS[0])
    rest = save(path.with_name("rest.tflite"), (1, 5, 4, 4), *LAYERS[1:])
    expected = LiteModel(rest).predict(LiteModel(first).predict(x) + 1)
    np.testing.assert_allclose(LiteModel(path).predict(x), expected, rtol=1e-5, atol=1e-5)


def test_every_tensor_has_a_name_of_its_own_after_several_edits(path, x):
    edit(path, add_one)
    right = LiteModel(path).predict(x)

    def another(editor):
        """Drops a tensor before those that the first edit named, and adds others."""
        op = editor.ops()[0]
        op.inputs = [op.inputs[0], editor.constant(editor.values(op.inputs[1])), op.inputs[2]]
        reader, ops = editor.writer("y3"), []
        zeros = editor.constant(np.zeros(1, np.float32))
        shape = editor.shape(reader.inputs[0])
        added = editor.then("ADD", [reader.inputs[0], zeros], shape, "float32", ops)
        reader.inputs = [added, *reader.inputs[1:]]
        editor.replace(reader, [*ops, reader])

    edit(path, another)
    found = names(opened(path).subgraphs[0])
    assert all(found)
    assert sorted(found) == sorted(set(found))
    np.testing.assert_array_equal(LiteModel(path).predict(x), right)


def test_a_graph_of_its_own_fills_a_variable_once(path, x):
    """2 * image, the 2 being assigned by another graph that CALL_ONCE runs."""

    def change(editor):
        graph, number = editor.subgraph("fill")
        shared = {"container": "", "sharedName": "two"}
        ops = graph.operators
        editor.constant(np.full(1000, 3, np.float32), graph=graph)  # Nothing uses it.
        one = editor.constant(np.ones(1, np.float32), graph=graph)
        two = editor.then("ADD", [one, one], (1,), "float32", ops, graph=graph)
        handle = editor.then("VAR_HANDLE", [], (), "resource", ops, graph=graph, **shared)
        ops.append(editor.op("ASSIGN_VARIABLE", [handle, two], []))
        before = [editor.op("CALL_ONCE", [], [], initSubgraphIndex=number)]
        handle = editor.then("VAR_HANDLE", [], (), "resource", before, **shared)
        two = editor.then("READ_VARIABLE", [handle], (1,), "float32", before)
        op = editor.writer("y0")
        image = int(op.inputs[0])
        twice = editor.then("MUL", [image, two], editor.shape(image), "float32", before)
        op.inputs = [twice, *op.inputs[1:]]
        editor.first(before)

    right = LiteModel(path).predict(2 * x)
    size = path.stat().st_size
    edit(path, change)
    np.testing.assert_allclose(LiteModel(path).predict(x), right, rtol=1e-5, atol=1e-5)
    graphs = opened(path).subgraphs
    assert [len(graph.tensors) for graph in graphs[1:]] == [3]
    assert path.stat().st_size < size + 4000
    every = [name for graph in graphs for name in names(graph)]
    assert sorted(every) == sorted(set(every))
    edit(path, lambda editor: None)  # Ops without inputs or outputs, read back.
    np.testing.assert_allclose(LiteModel(path).predict(x), right, rtol=1e-5, atol=1e-5)


def test_options_that_an_op_lacks(path):
    editor = Editor(path)
    with pytest.raises(AssertionError, match=r"\('GATHER', 'axes'\)"):
        editor.op("GATHER", [0, 0], [0], axes=1)
    with pytest.raises(AssertionError, match="RIGHT_SHIFT"):
        editor.op("RIGHT_SHIFT", [0, 0], [0], axis=1)


def test_op_codes_are_shared_by_version(path):
    editor = Editor(path)
    first, second, third = (
        editor.op("GATHER", [0, 0], [0], version=version).opcodeIndex for version in (1, 4, 1)
    )
    assert first == third != second
    assert editor.op("CONV_2D", [0, 0], [0]).opcodeIndex == editor.ops()[0].opcodeIndex


def test_ops_above_127(path):
    """Whose number the old field of the op code can't hold."""
    editor = Editor(path)
    op = editor.op("BITWISE_XOR", [0, 0], [0])
    assert editor.name(op) == "BITWISE_XOR"
