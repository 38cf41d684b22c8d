"""Changes to a `.tflite` file's tables, written again as a right flatbuffer that lies."""

import contextlib
import functools
import math
import random
from unittest import mock

import numpy as np

_SIZES = [0, 1, -1, 2, 7, 255, 65536, 2**20, 2**27, 2**30, 2**31 - 1, -(2**31)]
_SCALES = [0.0, -1.0, math.nan, math.inf, 1e-38, 1e38]
_TEXTS = [b"", b"\xff\xfe", b"\x1b[2J", b"a\nb", b"=1+1", b"x" * 70_000, b"TfcXnorConv2D",
          b"serving_default", b"tfcompress_1bit", b"TFLITE_METADATA"]  # fmt: skip


def changed(data: bytes, rng: random.Random) -> bytes:
    """A file with one to four changes of its tables."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = opened(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(_CHANGES)(model, rng)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def shared(data: bytes, rng: random.Random) -> bytes:
    """A file whose lists name the same tables again and again, each of which is there once."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = opened(data)
    graph = model.subgraphs[0]
    owners = [model, graph, *graph.operators[:1], *graph.tensors[:1]]
    for owner in rng.sample(owners, rng.choice((1, 2, len(owners)))):
        for name, value in vars(owner).items():
            if isinstance(value, (list, np.ndarray)) and len(value) and rng.random() < 0.7:
                setattr(owner, name, _repeated(value, rng.choice((2, 30, 300))))
    packed: dict[int, int] = {}
    kinds = [kind for name, kind in vars(schema).items() if hasattr(kind, "Pack")]
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(mock.patch.object(kind, "Pack", _once(kind.Pack, packed)))
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _repeated(values, times):
    """A list of its items again and again, at most a few thousand."""
    if isinstance(values, np.ndarray):
        return np.tile(values, times)[:4000]
    return (values * times)[:4000]


def _once(pack, packed):
    """Writes each table once, and then gives where it is."""

    def place(self, builder):
        if id(self) not in packed:
            packed[id(self)] = pack(self, builder)
        return packed[id(self)]

    return place


def opened(data: bytes):
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(data))


def _some(values, rng):
    return rng.choice(list(values)) if values is not None and len(values) else None


def _tensor(model, rng):
    graph = _some(model.subgraphs, rng)
    return _some(graph.tensors, rng) if graph is not None else None


def _op(model, rng):
    graph = _some(model.subgraphs, rng)
    return (graph, _some(graph.operators, rng)) if graph is not None else (None, None)


def _with(number_of, change):
    """A change of what a function finds, if it finds any."""

    @functools.wraps(change)
    def apply(model, rng):
        value = number_of(model, rng)
        if value is not None:
            change(value, model, rng)

    return apply


def _shape(tensor, model, rng):
    shape = [int(size) for size in tensor.shape] if tensor.shape is not None else []
    kind = rng.randrange(4)
    if kind < 2 and shape:
        shape[rng.randrange(len(shape))] = rng.choice(_SIZES)
    elif kind == 2:
        shape.append(rng.choice(_SIZES))
    else:
        shape = [rng.choice((1, 2, 3, 64)) for _ in range(rng.choice((0, 1, 4, 5, 9, 40)))]
    tensor.shape = np.array(shape, np.int32)
    if rng.random() < 0.2:
        tensor.shapeSignature = np.array([-1] * len(shape), np.int32)


def _type(tensor, model, rng):
    tensor.type = rng.randrange(-1, 24)


def _buffer_of(tensor, model, rng):
    tensor.buffer = rng.choice((0, rng.randrange(len(model.buffers)), len(model.buffers), 2**31))


def _grid(tensor, model, rng):
    grid = tensor.quantization
    if grid is None:
        return
    kind = rng.randrange(4)
    if kind == 0:
        grid.scale = np.array([rng.choice(_SCALES)] * rng.choice((0, 1, 3, 1000)), np.float32)
    elif kind == 1:
        grid.zeroPoint = np.array([rng.choice((0, 2**40, -(2**63)))] * rng.choice((0, 1, 5)))
    elif kind == 2:
        grid.quantizedDimension = rng.choice(_SIZES)
    else:
        tensor.quantization = None


def _name(tensor, model, rng):
    tensor.name = rng.choice(_TEXTS)


def _sparsity(tensor, model, rng):
    sparse = tensor.sparsity
    if sparse is None:
        return
    sparse.traversalOrder = np.array([rng.choice(_SIZES) for _ in range(rng.choice((0, 1, 4)))])
    for level in sparse.dimMetadata or ():
        level.denseSize = rng.choice(_SIZES)


def _edges(found, model, rng):
    graph, op = found
    if op is None:
        return
    most = len(graph.tensors) if graph.tensors is not None else 0
    for name in rng.choice((("inputs",), ("outputs",), ("inputs", "outputs"))):
        values = getattr(op, name)
        values = [int(value) for value in values] if values is not None else []
        kind = rng.randrange(3)
        if kind == 0 and values:
            values[rng.randrange(len(values))] = rng.choice((-1, -2, most, rng.randrange(most + 1)))
        elif kind == 1:
            values.append(rng.randrange(-1, most + 1))
        else:
            values = values[: rng.randrange(len(values) + 1)]
        setattr(op, name, np.array(values, np.int32))


def _options(found, model, rng):
    _, op = found
    if op is None:
        return
    if op.customOptions is not None and len(op.customOptions) >= 4:
        options = np.array(op.customOptions, np.uint8)
        words = options[: len(options) // 4 * 4].view("<i4")
        words[rng.randrange(len(words))] = rng.choice(_SIZES)
        op.customOptions = options[: rng.choice((len(options), len(options), 4, 0))]
    elif op.builtinOptions is not None:
        names = [name for name, value in vars(op.builtinOptions).items() if type(value) is int]
        if names:
            setattr(op.builtinOptions, rng.choice(names), rng.choice((0, 1, 2, 3, 127, -1)))
    if rng.random() < 0.1:
        op.builtinOptionsType, op.builtinOptions = 0, None


def _code(code, model, rng):
    if rng.random() < 0.3:
        code.version = rng.choice((0, 1, 99, -1, 2**31 - 1))
    elif rng.random() < 0.3:
        code.customCode = rng.choice(_TEXTS)
    else:
        code.builtinCode = rng.randrange(0, 220)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)


def _data(buffer, model, rng):
    if buffer.data is None:
        return
    values = np.array(buffer.data, np.uint8)
    kind = rng.randrange(3)
    if kind == 0:
        values = values[: rng.randrange(len(values) + 1)]
    elif kind == 1:
        values[:] = rng.choice((0, 1, 127, 128, 255))
    elif len(values):
        size = min(len(values), 4)
        values[:size] = np.frombuffer(rng.choice(_SIZES).to_bytes(8, "little", signed=True),
                                      np.uint8)[:size]  # fmt: skip
    buffer.data = values


def _graph_ends(graph, model, rng):
    most = len(graph.tensors) if graph.tensors is not None else 0
    values = [rng.randrange(-1, most + 1) for _ in range(rng.choice((0, 1, 1, 2, 500)))]
    setattr(graph, rng.choice(("inputs", "outputs")), np.array(values, np.int32))


def _signature(signature, model, rng):
    kind = rng.randrange(3)
    if kind == 0:
        signature.signatureKey = rng.choice(_TEXTS)
    elif kind == 1:
        signature.subgraphIndex = rng.choice((0, 1, 2, 2**31, 2**32 - 1))
    else:
        for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
            entry.tensorIndex, entry.name = rng.choice((0, 1, 2**32 - 1)), rng.choice(_TEXTS)


def _named(entry, model, rng):
    entry.name = rng.choice(_TEXTS)
    entry.buffer = rng.choice((0, len(model.buffers), rng.randrange(len(model.buffers))))


def _many(model, rng):
    """One list many times as long, by the same things again."""
    owner = rng.choice((model, _some(model.subgraphs, rng) or model))
    names = [name for name, value in vars(owner).items() if isinstance(value, list) and value]
    if names:
        name = rng.choice(names)
        values = getattr(owner, name)
        setattr(owner, name, (values * rng.choice((2, 50)))[:2000])


_CHANGES = (
    *[_with(_tensor, change) for change in (_shape, _shape, _type, _buffer_of, _grid, _name)],
    _with(_tensor, _sparsity),
    _with(_op, _edges), _with(_op, _edges), _with(_op, _options), _with(_op, _options),
    _with(lambda model, rng: _some(model.operatorCodes, rng), _code),
    _with(lambda model, rng: _some(model.buffers, rng), _data),
    _with(lambda model, rng: _some(model.subgraphs, rng), _graph_ends),
    _with(lambda model, rng: _some(model.signatureDefs, rng), _signature),
    _with(lambda model, rng: _some(model.metadata, rng), _named),
    _many,
)  # fmt: skip
