"""What stands in a `.tflite` file: its ops, tensor types, constants and multiply-accumulates.

The file is parsed in Python and never run, so that a file from anywhere can be looked at.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tfcompress.errors import InputError, unknown_name
from tfcompress.tflite import bit_ops as kernels
from tfcompress.tflite import calls, header, parser
from tfcompress.tflite.schema import names, op_number

# Ops that multiply and that no rule below counts: a total without them would be a lower bound.
_UNCOUNTED = frozenset(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "CALL",
        "CONV_3D",
        "CONV_3D_TRANSPOSE",
        "IF",
        "LSTM",
        "RNN",
        "STABLEHLO_COMPOSITE",
        "STABLEHLO_CONVOLUTION",
        "STABLEHLO_DOT_GENERAL",
        "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "WHILE",
    }
)
# NumPy's limit, which LiteRT's tensors have in Python. A shape of more is read for each op anew.
_MOST_DIMENSIONS = 64
# Files for language models have a dozen or two. What runs by each is looked at by itself.
_MOST_SIGNATURES = 100
# Letters of the name of an op or a signature, which is said again for each op.
_LONGEST_NAME = 1024


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        name: as the converter wrote it.
        dtype: the schema's type in lower case, such as `float32`, `int8` or `int4`.
        shape: the shape until a program asks for another; of a size that isn't fixed converters
            write 1.
        constant: whether its values stand in the file.
        size_bytes: the bytes of those values in the file, and of the tables that say where they
            belong if zeros are left out; 0 if it isn't constant.
        quantized: whether it has scales, so that its integers stand for real numbers.
        scales: how many scales it has: one a tensor, or one a channel.
        buffer: the number of the buffer that holds the values, which tensors may share.
        number: its own, over all subgraphs: names may repeat.
        open_axes: the axes whose size isn't fixed; the shape has the usual one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool
    size_bytes: int
    quantized: bool
    scales: int = 0
    buffer: int = 0
    number: int = 0
    open_axes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Op:
    """An operator of the file.

    Attributes:
        name: the schema's name, such as `CONV_2D`, or `CUSTOM:` and the custom op's name.
        version: the op version, which old runtimes may be too old for.
        inputs: its inputs; None where an optional input is left out.
        outputs: its outputs.
        subgraph: 0 is the main graph; others are called from it (or once, for initialisation).
        folded: all inputs are constants or outputs of folded ops, so that it need run only once.
        macs: multiply-accumulates of one run; 0 for ops that aren't products, None if this op
            multiplies and isn't counted.
    """

    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    subgraph: int
    folded: bool
    macs: int | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """A name by which programs run one of the file's graphs.

    Attributes:
        name: such as `serving_default`.
        subgraph: the graph's number.
        inputs: the graph's inputs.
        outputs: the graph's outputs.
        graphs: the numbers of the graph and of all that run with it; empty of the main graph.
    """

    name: str
    subgraph: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    graphs: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class FileContent:
    """The content of a `.tflite` file.

    Attributes:
        path: the file.
        ops: every op of every subgraph, in order.
        inputs: the main graph's inputs.
        outputs: the main graph's outputs.
        macs: multiply-accumulates of one inference at the file's own batch size: the sum over the
            main graph's CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, FULLY_CONNECTED and
            BATCH_MATMUL that depend on the input. A binary product counts as one. None if
            `uncounted` isn't empty, for the sum would be too small.
        uncounted: the names of ops that multiply but that no rule counts.
        weight_bytes: dtype to the bytes of constants of that dtype; a shared buffer counts once.
        buffer_bytes: the bytes of all buffers, metadata included.
        constants: the constants of all subgraphs, the largest first; of those that share a buffer
            the first one.
        signatures: in the file's order; most files have one, and some none.
    """

    path: str
    ops: tuple[Op, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    macs: int | None
    uncounted: tuple[str, ...]
    weight_bytes: Mapping[str, int]
    buffer_bytes: int
    constants: tuple[Tensor, ...] = ()
    signatures: tuple[Signature, ...] = ()

    def of(self, name: str | None = None) -> FileContent:
        """Returns what runs by a signature: the file as if it held nothing else.

        Args:
            name: of a signature; None for the main graph's, with the graphs that it calls: what
                everybody runs who doesn't ask for another.

        Raises:
            InputError: there is no such signature.
        """
        others = {one.name: one for one in self.signatures if one.subgraph}
        if name is not None and name not in (one.name for one in self.signatures):
            raise unknown_name(f"signature of {self.path}", name, (s.name for s in self.signatures))
        if not others:
            return self
        chosen = others.get(name or "")
        graphs = frozenset().union(*(one.graphs for one in others.values()))
        ops = tuple(
            dataclasses.replace(op, subgraph=0) if chosen and op.subgraph == chosen.subgraph else op
            for op in self.ops
            if (op.subgraph in chosen.graphs if chosen else op.subgraph not in graphs)
        )
        read = [tensor for op in ops for tensor in op.inputs if tensor and tensor.constant]
        weights = {tensor.buffer: tensor for tensor in reversed(read)}
        return dataclasses.replace(
            self,
            ops=ops,
            inputs=chosen.inputs if chosen else self.inputs,
            outputs=chosen.outputs if chosen else self.outputs,
            signatures=(dataclasses.replace(chosen, subgraph=0),)
            if chosen
            else tuple(one for one in self.signatures if not one.subgraph),
            **_totals(ops, weights.values()),
        )

    def producers(self) -> dict[Tensor, Op]:
        """Returns the op that writes each tensor."""
        return {out: op for op in self.ops for out in op.outputs}

    def consumers(self) -> dict[Tensor, list[Op]]:
        """Returns the ops that read each tensor, in their order."""
        readers: dict[Tensor, list[Op]] = {}
        for op in self.ops:
            for tensor in op.inputs:
                if tensor is not None:
                    readers.setdefault(tensor, []).append(op)
        return readers

    def op_counts(self) -> dict[str, int]:
        """Counts the ops by their names, the most frequent first."""
        return dict(collections.Counter(op.name for op in self.ops).most_common())

    def dtypes(self) -> dict[str, int]:
        """Counts the tensors that ops read or write, by their dtypes."""
        seen = {tensor for op in self.ops for tensor in (*op.inputs, *op.outputs) if tensor}
        return dict(collections.Counter(tensor.dtype for tensor in seen).most_common())


def read(path: str | os.PathLike[str]) -> FileContent:
    """Parses a `.tflite` file without running it.

    Args:
        path: the file.

    Returns:
        Its ops, tensors, multiply-accumulates and constants.

    Raises:
        InputError: it isn't a `.tflite` file, or it is cut short or corrupt.
    """
    file = header.checked_path(path)
    from ai_edge_litert import schema_py_generated as schema

    model = parser.unpack(file.read_bytes(), path)
    try:
        return _content(str(file), model, schema)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Nothing has checked that the numbers in the file fit together.
        raise header.corrupt(path, error) from error


def _content(path: str, model: Any, schema: Any) -> FileContent:
    """Returns a parsed file as our own values."""
    types = {number: name.lower() for number, name in names(schema.TensorType).items()}
    builtins = names(schema.BuiltinOperator)
    buffers = [_buffer_bytes(buffer) for buffer in model.buffers]
    codes = [(_op_name(code, builtins), int(code.version)) for code in model.operatorCodes]

    ops: list[Op] = []
    weights: dict[int, Tensor] = {}
    inputs_outputs: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = []
    count = itertools.count()
    for number, graph in enumerate(model.subgraphs):
        tensors = [_tensor(tensor, buffers, types, next(count)) for tensor in graph.tensors]
        for tensor in tensors:
            if tensor.constant:
                weights.setdefault(tensor.buffer, tensor)
        ops += _ops(graph, tensors, codes, number)
        inputs_outputs.append((_picked(graph.inputs, tensors), _picked(graph.outputs, tensors)))

    if len(model.signatureDefs or ()) > _MOST_SIGNATURES:
        raise ValueError(f"more than {_MOST_SIGNATURES} signatures")
    named = [(int(s.subgraphIndex), _short(s.signatureKey)) for s in model.signatureDefs or ()]
    main = inputs_outputs[0] if inputs_outputs else ((), ())
    return FileContent(
        path=path,
        ops=tuple(ops),
        inputs=main[0],
        outputs=main[1],
        buffer_bytes=sum(buffers),
        signatures=tuple(
            Signature(name, n, *inputs_outputs[n], calls.called(model, n) if n else frozenset())
            for n, name in named
        ),
        **_totals(ops, weights.values()),
    )


def _totals(ops: Sequence[Op], weights: Collection[Tensor]) -> dict[str, Any]:
    """Returns the fields of `FileContent` that are sums over ops and constants."""
    weight_bytes: dict[str, int] = collections.Counter()
    for tensor in weights:
        weight_bytes[tensor.dtype] += tensor.size_bytes
    counted = [op for op in ops if op.subgraph == 0 and not op.folded]
    uncounted = tuple(sorted({op.name for op in counted if op.macs is None}))
    return {
        "macs": None if uncounted else sum(op.macs or 0 for op in counted),
        "uncounted": uncounted,
        "weight_bytes": dict(weight_bytes),
        "constants": tuple(sorted(weights, key=lambda t: (-t.size_bytes, t.name))),
    }


def _ops(
    graph: Any, tensors: list[Tensor], codes: list[tuple[str, int]], subgraph: int
) -> list[Op]:
    """Returns the ops of one subgraph, each with its multiply-accumulates."""
    settled = {index for index, tensor in enumerate(tensors) if tensor.constant}
    ops = []
    for packed in graph.operators if graph.operators is not None else ():
        name, version = codes[packed.opcodeIndex]
        ins = [int(index) for index in (packed.inputs if packed.inputs is not None else ())]
        outs = [int(index) for index in (packed.outputs if packed.outputs is not None else ())]
        given = [index for index in ins if index >= 0]
        folded = bool(given) and settled.issuperset(given)
        if folded:
            settled.update(outs)
        inputs = tuple(tensors[index] if index >= 0 else None for index in ins)
        outputs = tuple(tensors[index] for index in outs)
        macs = _macs(name, inputs, outputs, packed.builtinOptions)
        if name.startswith("CUSTOM:") and packed.customOptions is not None and outputs:
            options = bytes(bytearray(packed.customOptions))
            macs = kernels.macs(name.removeprefix("CUSTOM:"), options, outputs[0].shape)
        ops.append(Op(name, version, inputs, outputs, subgraph, folded, macs))
    return ops


def _macs(
    name: str, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...], options: Any
) -> int | None:
    """Multiply-accumulates of one op, from its shapes alone."""
    if name in _UNCOUNTED or name.startswith("CUSTOM:"):
        return None
    shapes = [tensor.shape if tensor else () for tensor in inputs]
    result = math.prod(outputs[0].shape) if outputs else 0
    match name:
        case "CONV_2D":  # filter: (filters, height, width, channels of one group)
            return result * math.prod(shapes[1][1:])
        case "DEPTHWISE_CONV_2D":  # filter: (1, height, width, channels * multiplier)
            return result * math.prod(shapes[1][1:3])
        case "TRANSPOSE_CONV":  # output shape, filter (filters, height, width, channels), input
            return math.prod(shapes[2]) * math.prod(shapes[1][:3])
        case "FULLY_CONNECTED":  # weights: (units, inputs)
            return result * shapes[1][-1]
        case "BATCH_MATMUL":
            return result * shapes[0][-2 if options is not None and options.adjX else -1]
    return 0


def _tensor(packed: Any, buffers: list[int], types: Mapping[int, str], number: int) -> Tensor:
    """Returns one tensor of the schema as our own value."""
    size_bytes = buffers[packed.buffer] + _table_bytes(packed.sparsity)
    shape = tuple(int(size) for size in packed.shape) if packed.shape is not None else ()
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"a tensor of {len(shape)} dimensions")
    scales = packed.quantization.scale if packed.quantization is not None else None
    return Tensor(
        name=_text(packed.name),
        dtype=types.get(packed.type, f"type {packed.type}"),
        shape=shape,
        constant=size_bytes > 0,
        size_bytes=size_bytes,
        quantized=scales is not None and len(scales) > 0,
        scales=len(scales) if scales is not None else 0,
        buffer=int(packed.buffer),
        number=number,
        open_axes=_open_axes(packed.shapeSignature, len(shape)),
    )


def _open_axes(signature: Any, rank: int) -> tuple[int, ...]:
    """Returns the axes that a shape's signature leaves open."""
    if signature is None or len(signature) != rank:
        return ()
    return tuple(axis for axis, size in enumerate(signature) if int(size) < 0)


def _table_bytes(sparsity: Any) -> int:
    """Counts the bytes of a sparse tensor's segments and indices."""
    levels = sparsity.dimMetadata if sparsity is not None else None
    tables = [
        table for level in levels or () for table in (level.arraySegments, level.arrayIndices)
    ]
    return sum(table.values.nbytes for table in tables if table is not None)


def _op_name(code: Any, builtins: Mapping[int, str]) -> str:
    """Returns the name of an op code."""
    number = op_number(code)
    name = builtins.get(number, f"OP {number}")
    return f"CUSTOM:{_short(code.customCode)}" if name == "CUSTOM" else name


def _buffer_bytes(buffer: Any) -> int:
    """Counts the bytes of a buffer, in the flatbuffer or, in a huge file, behind it."""
    return len(buffer.data) if buffer.data is not None else int(buffer.size)


def _picked(indices: Any, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """Returns the tensors of these indices."""
    return tuple(tensors[int(index)] for index in (indices if indices is not None else ()))


def _text(name: bytes | str | None) -> str:
    """Returns a name of the file as text."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name or ""


def _short(name: bytes | str | None) -> str:
    """Returns a name that can't be as long as the file."""
    if name is not None and len(name) > _LONGEST_NAME:
        raise ValueError(f"a name of {len(name)} bytes")
    return _text(name)
