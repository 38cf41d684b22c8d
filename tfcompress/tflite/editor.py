"""Edits a `.tflite` file: puts in, replaces and takes out constants, tensors and ops.

What the converter can't write is written here, op by op; `export.audit` says who may run it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.tflite import parser
from tfcompress.tflite.op_versions import raise_versions
from tfcompress.tflite.packing import pack
from tfcompress.tflite.schema import names, op_number

# Ops whose options the schema names otherwise than the op.
_OPTIONS = {"BATCH_MATMUL": "BatchMatMul", "CONV_2D": "Conv2D", "PADV2": "PadV2"}


class Editor:
    """A file open for editing.

    Args:
        path: of a `.tflite` whose constants stand in the flatbuffer.

    Attributes:
        graph: the main subgraph, of the schema's object API.
    """

    def __init__(self, path: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._model: Any = parser.unpack(path.read_bytes(), path)
        self._names = names(schema.BuiltinOperator)
        self._numbers = {name: number for number, name in self._names.items()}
        self._constants: dict[tuple[Any, ...], int] = {}
        self.graph: Any = self._model.subgraphs[0]

    def ops(self) -> list[Any]:
        """Returns the main graph's ops, in order."""
        return list(self.graph.operators)

    def name(self, op: Any) -> str:
        """Returns an op's name, such as `CONV_2D`."""
        code = self._model.operatorCodes[op.opcodeIndex]
        return self._names[op_number(code)]

    def writer(self, output: str) -> Any:
        """Returns the op whose first output has this name."""
        ops = (op for op in self.ops() if len(op.outputs))
        return next(op for op in ops if self.text(op.outputs[0]) == output)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Returns a tensor's static shape."""
        shape = self.graph.tensors[tensor].shape
        return tuple(int(size) for size in shape) if shape is not None else ()

    def text(self, tensor: int) -> str:
        """Returns a tensor's name."""
        return str(self.graph.tensors[tensor].name.decode())

    def type_name(self, tensor: int) -> str:
        """Returns the name of a tensor's type, such as `int4`."""
        return names(self._schema.TensorType)[self.graph.tensors[tensor].type].lower()

    def values(self, tensor: int, dtype: str = "float32") -> np.ndarray | None:
        """Returns a constant's values; None for what isn't a constant of this type."""
        if tensor < 0:
            return None
        found = self.graph.tensors[tensor]
        data = self._model.buffers[found.buffer].data
        wanted = getattr(self._schema.TensorType, dtype.upper())
        if data is None or not len(data) or found.type != wanted:
            return None
        return np.asarray(data, np.uint8).view(dtype).reshape(self.shape(tensor))

    def constant(
        self,
        values: np.ndarray,
        name: str = "",
        *,
        scale: float | np.ndarray | None = None,
        graph: Any = None,
    ) -> int:
        """Adds a constant tensor; equal ones without a name are one.

        Args:
            values: in the type that the file has.
            name: of the tensor.
            scale: what a step of integers stands for, or what it does in each entry of the first
                axis; None if they are no real numbers.
            graph: of the tensor; None for the main one.
        """
        values = np.asarray(values, order="C")
        graph = self.graph if graph is None else graph
        steps = None if scale is None else np.asarray(scale, np.float32).tobytes()
        key = (id(graph), values.dtype.str, values.shape, values.tobytes(), steps)
        if not name and key in self._constants:
            return self._constants[key]
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        index = self.tensor(values.shape, values.dtype.name, name, scale=scale, graph=graph)
        graph.tensors[index].buffer = len(self._model.buffers) - 1
        if not name:
            self._constants[key] = index
        return index

    def set_integers(self, tensor: int, packed: np.ndarray, scales: np.ndarray) -> bool:
        """Gives a constant of integers other values, with a scale for each entry of its first axis.

        Args:
            tensor: has such scales already.
            packed: the values as the file has them, bytes.
            scales: what a step of the integers stands for.

        Returns:
            False if the tensor has no such scales, or takes another number of bytes; it stays then.
        """
        found = self.graph.tensors[tensor]
        grid, data = found.quantization, self._model.buffers[found.buffer].data
        if grid is None or grid.scale is None or len(grid.scale) != len(scales):
            return False
        if grid.quantizedDimension or data is None or len(data) != len(packed):
            return False
        buffer = self._schema.BufferT()
        buffer.data = packed
        self._model.buffers.append(buffer)
        found.buffer = len(self._model.buffers) - 1
        grid.scale = scales.astype(np.float32)
        return True

    def constant_on_grid(
        self, packed: np.ndarray, shape: Sequence[int], dtype: str, name: str, scales: np.ndarray
    ) -> int:
        """Adds a constant of integers with a scale for each entry of its first axis.

        Args:
            packed: the values as the file has them, bytes.
            shape: of the constant.
            dtype: the schema's name, such as `int2`.
            name: of the tensor.
            scales: what a step of the integers stands for.
        """
        index = self.tensor(shape, dtype, name)
        buffer, grid = self._schema.BufferT(), self._schema.QuantizationParametersT()
        buffer.data = packed
        self._model.buffers.append(buffer)
        grid.scale, grid.quantizedDimension = np.asarray(scales, np.float32), 0
        grid.zeroPoint = np.zeros(len(scales), np.int64)
        self.graph.tensors[index].buffer = len(self._model.buffers) - 1
        self.graph.tensors[index].quantization = grid
        return index

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str,
        name: str,
        *,
        scale: float | np.ndarray | None = None,
        zero_point: int = 0,
        like: int | None = None,
        graph: Any = None,
    ) -> int:
        """Adds a tensor without values.

        Args:
            shape: static.
            dtype: NumPy's name, or the schema's, such as `resource`.
            name: of the tensor; names may repeat.
            scale: as of `constant`.
            zero_point: the integer that stands for 0.
            like: a tensor of the main graph whose scale and zero point it has.
            graph: of the tensor; None for the main one.
        """
        graph = self.graph if graph is None else graph
        tensor = self._schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = getattr(self._schema.TensorType, dtype.upper())
        tensor.buffer = 0
        if scale is not None:
            grid = self._schema.QuantizationParametersT()
            grid.scale = np.atleast_1d(scale).astype(np.float32)
            grid.zeroPoint = np.full(len(grid.scale), zero_point, np.int64)
            grid.quantizedDimension = 0
            tensor.quantization = grid
        if like is not None:
            tensor.quantization = self.graph.tensors[like].quantization
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        version: int = 1,
        **options: Any,
    ) -> Any:
        """Makes an op that stands nowhere yet.

        Args:
            name: of the schema, such as `GATHER`.
            inputs: tensors of the graph that it will stand in; -1 for an optional one left out.
            outputs: the same for its outputs.
            version: the op version.
            options: fields of the op's options, as the schema spells them.
        """
        op = self._schema.OperatorT()
        op.opcodeIndex = self._code(self._numbers[name], version)
        op.inputs, op.outputs = list(inputs), list(outputs)
        kind = _OPTIONS.get(name) or "".join(part.capitalize() for part in name.split("_"))
        for number in ("", "2"):
            types = getattr(self._schema, f"BuiltinOptions{number}")
            if hasattr(types, f"{kind}Options"):
                made = getattr(self._schema, f"{kind}OptionsT")()
                for key, value in options.items():
                    assert hasattr(made, key), (name, key)
                    setattr(made, key, value)
                setattr(op, f"builtinOptions{number}", made)
                setattr(op, f"builtinOptions{number}Type", getattr(types, f"{kind}Options"))
                return op
        assert not options, (name, options)
        return op

    def custom(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: bytes
    ) -> Any:
        """Makes a custom op that stands nowhere yet; inputs left out are -1."""
        op = self._schema.OperatorT()
        op.opcodeIndex = self._code(self._numbers["CUSTOM"], 1, name.encode())
        op.inputs, op.outputs = list(inputs), list(outputs)
        op.customOptions = np.frombuffer(options, np.uint8)
        return op

    def then(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        dtype: str,
        into: list[Any],
        *,
        label: str = "",
        scale: float | None = None,
        graph: Any = None,
        **options: Any,
    ) -> int:
        """Makes an op with one output, puts it behind those of a list, and returns the output.

        Most have no name: names of thousands of small ops weigh as much as bits do.
        """
        output = self.tensor(shape, dtype, label, scale=scale, graph=graph)
        into.append(self.op(name, inputs, [output], **options))
        return output

    def reshape(self, x: int, shape: Sequence[int], *, output: int) -> Any:
        """Makes a RESHAPE that stands nowhere yet."""
        want = self.constant(np.array(shape, np.int32))
        return self.op("RESHAPE", [x, want], [output], newShape=list(shape))

    def reshaped(
        self, x: int, shape: Sequence[int], into: list[Any], dtype: str = "float32"
    ) -> int:
        """Returns a tensor in another shape; itself if it has that."""
        if self.shape(x) == tuple(shape):
            return x
        output = self.tensor(shape, dtype, "")
        into.append(self.reshape(x, shape, output=output))
        return output

    def replace(self, op: Any, by: Iterable[Any]) -> None:
        """Puts other ops in an op's place."""
        ops = self.ops()
        at = next(index for index, other in enumerate(ops) if other is op)
        self.graph.operators = [*ops[:at], *by, *ops[at + 1 :]]

    def alone(self, output: str) -> Editor:
        """Returns one op as a file of its own, from its first input to the output of this name."""
        return self.part([op := self.writer(output)], int(op.inputs[0]), int(op.outputs[0]))

    def part(self, ops: Iterable[Any], first: int, last: int) -> Editor:
        """Returns ops as a file of their own, from one tensor to another."""
        other = copy.copy(self)
        other._model, other._constants = copy.copy(self._model), {}
        for field in ("operatorCodes", "metadata"):
            entries = getattr(self._model, field)
            setattr(other._model, field, entries and [copy.copy(entry) for entry in entries])
        other._model.buffers, other._model.signatureDefs = list(self._model.buffers), None
        other.graph = copy.copy(self.graph)
        other.graph.tensors = [copy.copy(tensor) for tensor in self.graph.tensors]
        other._model.subgraphs, other.graph.operators = [other.graph], [copy.copy(op) for op in ops]
        other.graph.inputs, other.graph.outputs = [first], [last]
        return other

    def first(self, ops: Iterable[Any]) -> None:
        """Puts ops before all others."""
        self.graph.operators = [*ops, *self.ops()]

    def subgraph(self, name: str) -> tuple[Any, int]:
        """Adds a graph without tensors and ops, and returns it with its number."""
        graph = self._schema.SubGraphT()
        graph.name = name.encode()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
        self._model.subgraphs.append(graph)
        return graph, len(self._model.subgraphs) - 1

    def write(self, path: Path) -> None:
        """Writes the file without what nothing uses any more, each op with its version."""
        self._sweep()
        raise_versions(self._model)
        path.write_bytes(pack(self._model))

    def _code(self, number: int, version: int, custom: bytes | None = None) -> int:
        codes = self._model.operatorCodes
        for index, code in enumerate(codes):
            same = (code.customCode or None) == custom
            if op_number(code) == number and int(code.version) == version and same:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.version, code.customCode = number, version, custom
        code.deprecatedBuiltinCode = min(number, 127)
        codes.append(code)
        return len(codes) - 1

    def _sweep(self) -> None:
        """Drops unused tensors, buffers and op codes, and numbers the others anew."""
        model = self._model
        for number, graph in enumerate(model.subgraphs):
            fields = ("inputs", "outputs", "intermediates")
            lists = [(op, field) for op in graph.operators for field in fields]
            lists += [(graph, field) for field in ("inputs", "outputs")]
            maps = [
                entry
                for signature in model.signatureDefs or ()
                if signature.subgraphIndex == number
                for entry in (*(signature.inputs or ()), *(signature.outputs or ()))
            ]
            used = {int(t) for owner, field in lists for t in _given(getattr(owner, field))}
            used |= {int(entry.tensorIndex) for entry in maps}
            place = _numbered(index for index in range(len(graph.tensors)) if index in used)
            graph.tensors = [graph.tensors[index] for index in place]
            for owner, field in lists:
                old = getattr(owner, field)
                new = [place.get(int(t), -1) for t in (old if old is not None else ())]
                setattr(owner, field, new)
            for entry in maps:
                entry.tensorIndex = place[int(entry.tensorIndex)]
        graphs = model.subgraphs
        # The quantizer wants names, and each once in the file. An earlier edit may have given some.
        taken = {tensor.name for graph in graphs for tensor in graph.tensors}
        for number, graph in enumerate(graphs):
            fresh = (f"{number}:{count}".encode() for count in itertools.count())
            for tensor in graph.tensors:
                tensor.name = tensor.name or next(name for name in fresh if name not in taken)
        self._renumber("buffers", [t for graph in graphs for t in graph.tensors], "buffer", {0})
        self._renumber("operatorCodes", [o for graph in graphs for o in graph.operators],
                       "opcodeIndex")  # fmt: skip

    def _renumber(
        self, field: str, users: list[Any], index: str, always: set[int] | None = None
    ) -> None:
        values = getattr(self._model, field)
        used = {int(getattr(user, index)) for user in users} | (always or set())
        if field == "buffers":
            used |= {int(entry.buffer) for entry in self._model.metadata or ()}
        place = _numbered(sorted(used))
        setattr(self._model, field, [values[old] for old in place])
        for user in users:
            setattr(user, index, place[int(getattr(user, index))])
        if field == "buffers":
            for entry in self._model.metadata or ():
                entry.buffer = place[int(entry.buffer)]
            self._model.metadataBuffer = None


def _given(indices: Any) -> list[int]:
    """Returns tensor numbers without those of optional inputs left out."""
    return [int(i) for i in (indices if indices is not None else ()) if int(i) >= 0]


def _numbered(kept: Iterable[int]) -> dict[int, int]:
    """Returns a new number for each old one."""
    return {old: new for new, old in enumerate(kept)}


def edit(path: Path, change: Callable[[Editor], object]) -> None:
    """Opens a file, changes it and writes it back."""
    editor = Editor(path)
    change(editor)
    editor.write(path)
