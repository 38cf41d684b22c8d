"""Writes binary layers as custom ops with a bit a weight, for `tfcompress.kernels`.

Between two such ops bits stay packed: a channel's sign behind scale, bias, PReLU and batch
normalisation is one comparison of the integer sum, and max pooling is done on bits. A level, 0 to
3, is three comparisons. Where numbers are wanted, by built-in ops or by an addition, the op writes
floats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.errors import require
from tfcompress.export.exact_grids import on_grid
from tfcompress.export.xnor_bytes import ByteOp, byte_ops
from tfcompress.export.xnor_match import SIGNS, BinaryOp, Step, as_step, binary_ops
from tfcompress.export.xnor_thresholds import bits_of, thresholds
from tfcompress.tflite.bit_ops import (
    BYTE_CONV,
    CONV,
    DENSE,
    LINEAR,
    POOL,
    PRELU,
    RELU,
    WORD,
    options,
)
from tfcompress.tflite.dataflow import Dataflow
from tfcompress.tflite.editor import Editor

# The place of the numbers at which levels begin, among an op's inputs.
_LEVELS_PLACE = 10


def xnor_file(float_path: Path, path: Path) -> dict[str, str]:
    """Writes a float file of a binarised model again, with `write_xnor`'s ops.

    Args:
        float_path: the file, its signs written as -1 and +1.
        path: the file to write, which may be the same.

    Returns:
        As of `write_xnor`.

    Raises:
        InputError: there is nothing to replace.
    """
    editor = Editor(float_path)
    kept = write_xnor(editor)
    reasons = "; ".join(f"{name}: {why}" for name, why in kept.items())
    require(
        any(op.customOptions is not None for op in editor.ops()),
        f"no layer with binary inputs and weights to write as bits ({reasons or 'none is binary'})",
    )
    editor.write(path)
    return kept


def write_xnor(editor: Editor, *, few_bits: bool = False) -> dict[str, str]:
    """Replaces every op of bits in a float file, and what stands between two of them.

    Args:
        editor: a float file of a binarised model, its signs written as -1 and +1.
        few_bits: whether layers have weights that were trained for a few bits: those on a grid of 8
            bits are stored as integers then.

    Returns:
        The output name of each op with binary weights that was left as it was, and why.
    """
    flow = Dataflow(editor)
    ops_of_bits, kept = binary_ops(flow)
    ops_of_bytes = byte_ops(flow) if few_bits and ops_of_bits else []
    writer = _Writer(flow, ops_of_bits)
    for binary in [*ops_of_bytes, *ops_of_bits]:
        writer.replace(binary)
    ops: list[Any] = []
    for op in editor.ops():
        if id(op) not in writer.gone:
            ops.append(op)
        ops += writer.replacements.get(id(op), [])
    ops = _needed(ops, flow.outputs)
    editor.graph.operators = [*_integer_weights(editor, ops), *ops] if few_bits else ops
    return kept


def _integer_weights(editor: Editor, ops: list[Any]) -> list[Any]:
    """Stores the float weights that lie on a grid of 8 bits as integers.

    Returns:
        The ops that make floats of them, which the runtime runs once.
    """
    floats = []
    for op in ops:
        kernel = (
            editor.values(op.inputs[1])
            if editor.name(op) in ("CONV_2D", "FULLY_CONNECTED")
            else None
        )
        grid = None if kernel is None else on_grid(kernel, 8)
        if kernel is None or grid is None:
            continue
        integers, steps = grid[0], np.where(grid[1] > 0, grid[1], 1).astype("float32")
        name = editor.text(op.inputs[1])
        stored = editor.constant(integers, f"{name}/int8", scale=steps)
        weights = editor.tensor(kernel.shape, "float32", name)
        floats.append(editor.op("DEQUANTIZE", [stored], [weights], version=2))
        op.inputs = [int(op.inputs[0]), weights, *map(int, op.inputs[2:])]
    return floats


class _Writer:
    """Replaces ops of bits one after another."""

    def __init__(self, flow: Dataflow, ops_of_bits: list[BinaryOp]) -> None:
        self.flow, self.editor = flow, flow.editor
        self.ends = {id(binary.op) for binary in ops_of_bits}
        self.ours = self.ends | {id(op) for binary in ops_of_bits for op in binary.sign}
        self.levels: dict[int, set[tuple[float, ...]]] = {}  # of a tensor whose bits are read
        for binary in ops_of_bits:
            self.levels.setdefault(binary.source, set()).add(binary.levels)
        self.bits: dict[int, int] = {}  # tensor to the tensor of its signs' bits
        self.replacements: dict[int, list[Any]] = {}  # by the op in whose place they stand
        self.gone: set[int] = set()

    def replace(self, binary: BinaryOp) -> None:
        """Writes one binary, as bits if only signs are wanted of it, else as numbers."""
        steps = self._to_signs(binary)
        if steps is None:
            self._numbers(binary)
        else:
            self._bits(binary, steps)

    def _inside(self, tensor: int) -> bool:
        """Returns whether nothing but the signs of our ops reads a tensor, all of one kind."""
        readers = self.flow.consumers.get(tensor, [])
        return (
            bool(readers)
            and len(self.levels.get(tensor, ())) <= 1
            and tensor not in self.flow.outputs
            and all(id(op) in self.ours for op in readers)
            and all(id(op) in self.ends or self._inside(int(op.outputs[0])) for op in readers)
        )

    def _to_signs(self, binary: BinaryOp) -> list[Step] | None:
        """Returns the steps to the next signs; None if another op reads or stands on the way."""
        steps: list[Step] = []
        tensor = int(binary.op.outputs[0])
        while not self._inside(tensor):
            after = as_step(self.flow, self.flow.only_consumer(tensor), tensor, len(binary.scale))
            if after is None or (after.pool and any(other.pool for other in steps)):
                return None
            steps.append(after)
            tensor = after.output
        return steps

    def _bits(self, binary: BinaryOp, steps: list[Step]) -> None:
        """Replaces an op by one that writes bits, with the pooling behind it."""
        output = int(binary.op.outputs[0])
        shape, filters = self.editor.shape(output), len(binary.scale)
        source = steps[-1].output if steps else output

        def after(y: np.ndarray) -> np.ndarray:
            y = np.maximum(y, np.float32(0)) if binary.relu else y
            for one in steps:
                y = one.apply(y) if one.apply else y
            return y

        (levels,) = self.levels[source]
        threshold, flip = thresholds(binary, after, levels)
        value_bits = bits_of(levels)
        pool = next((one.pool for one in steps if one.pool), None)
        name = self.editor.text(source)
        words = -(-filters // WORD) * value_bits
        bits = self.editor.tensor((*shape[:-1], words), "int32", f"{name}/bits")
        turned = self.editor.constant(packed_words(flip)) if flip.any() else -1
        inputs = [*self._inputs(binary), -1, -1, self.editor.constant(threshold), turned]
        inputs += self._begin_of_levels(binary, len(inputs))
        replacement = [self._op(binary, inputs, [bits], LINEAR, 0, value_bits)]
        if pool:
            small = self.editor.tensor((shape[0], *pool.size, words), "int32", f"{name}/pooled")
            op_options = options(
                filters,
                filters,
                kernel=pool.kernel,
                strides=pool.strides,
                pads=pool.pads,
                in_bits=value_bits,
                out_bits=value_bits,
            )
            replacement.append(self.editor.custom(POOL, [bits, turned], [small], op_options))
            bits = small
        self.bits[source] = bits
        self.gone.add(id(binary.op))
        self.replacements[id(binary.op)] = [*self._rounding(binary, replacement[0]), *replacement]

    def _numbers(self, binary: BinaryOp) -> None:
        """Replaces an op by one that writes floats, with the activation and addition behind it."""
        flow, filters = self.flow, len(binary.scale)
        output, last = int(binary.op.outputs[0]), binary.op
        activation = RELU if binary.relu else LINEAR
        slope, operand, add_first = None, -1, 0
        while (reader := flow.only_consumer(output)) is not None and id(reader) not in self.gone:
            name = flow.name(reader)
            if name in ("RELU", "PRELU") and activation == LINEAR:
                values = None if name == "RELU" else flow.per_filter(reader.inputs[1], filters)
                if name == "PRELU" and (values is None or int(reader.inputs[0]) != output):
                    break
                activation, slope = (RELU, None) if name == "RELU" else (PRELU, values)
                add_first = int(operand >= 0)
            elif name == "ADD" and operand < 0 and (other := self._operand(reader, output)) >= 0:
                operand = other
            else:
                break
            self.gone.add(id(reader))
            output, last = int(reader.outputs[0]), reader
        post, bits = self._second(output, filters)
        constant = self.editor.constant
        inputs = [*self._inputs(binary), constant(binary.scale), constant(binary.bias)]
        inputs += [-1, -1, -1 if slope is None else constant(slope), operand]
        inputs += [constant(values) for values in post]
        inputs += self._begin_of_levels(binary, len(inputs))
        outputs = [output] if bits is None else [output, bits]
        self.gone.add(id(binary.op))
        replacement = self._op(binary, inputs, outputs, activation, add_first)
        self.replacements[id(last)] = [*self._rounding(binary, replacement), replacement]

    def _operand(self, add: Any, output: int) -> int:
        """Returns the other operand of an addition of equal shapes; -1 if it isn't one."""
        one, two = (int(tensor) for tensor in add.inputs)
        other = two if one == output else one
        whole = (
            one != two
            and add.builtinOptions.fusedActivationFunction == LINEAR
            and self.editor.shape(other) == self.editor.shape(output)
            and self.editor.values(other) is None
        )
        return other if whole else -1

    def _second(self, output: int, filters: int) -> tuple[list[np.ndarray], int | None]:
        """Makes room for bits beside the numbers, where one sign of the numbers is read.

        Returns:
            Scale and bias before the sign, if there are any; and the bits' tensor, if any.
        """
        for reader in self.flow.consumers.get(output, []):
            values: list[np.ndarray] = []
            source = output if id(reader) in self.ours else -1
            if source < 0 and self.flow.name(reader) == "MUL":
                after = self.flow.only_consumer(int(reader.outputs[0]))
                if self.flow.name(after) == "ADD" and self._plain(reader, after):
                    constants = [
                        self.flow.per_filter(t, filters)
                        for op, own in ((reader, output), (after, int(reader.outputs[0])))
                        for t in op.inputs
                        if int(t) != own
                    ]
                    values = [one for one in constants if one is not None]
                    source = int(after.outputs[0]) if len(values) == 2 else -1
            if source not in self.levels or self.levels[source] != {SIGNS}:
                continue
            if source == output or self._inside(source):
                shape = (*self.editor.shape(output)[:-1], -(-filters // WORD))
                name = f"{self.editor.text(source)}/bits"
                self.bits[source] = self.editor.tensor(shape, "int32", name)
                return values, self.bits[source]
        return [], None

    def _plain(self, *ops: Any) -> bool:
        """Returns whether no activation is fused into ops."""
        return all(op.builtinOptions.fusedActivationFunction == LINEAR for op in ops)

    def _inputs(self, binary: BinaryOp) -> list[int]:
        """Returns the first two inputs: signs, as numbers or bits, or bytes; and the weights."""
        name = self.editor.text(binary.op.inputs[1])
        if isinstance(binary, ByteOp):
            shape, name_of_bytes = self.editor.shape(binary.source), self.editor.text(binary.source)
            x = self.editor.tensor(
                shape,
                "uint8",
                f"{name_of_bytes}/bytes",
                scale=binary.step,
                zero_point=binary.zero_point,
            )
            return [
                x,
                self.editor.constant(binary.kernel, f"{name}/int8"),
            ]
        weights = np.packbits(binary.kernel.ravel(), bitorder="little")
        return [
            self.bits.get(binary.source, binary.source),
            self.editor.constant(weights, f"{name}/bits"),
        ]

    def _begin_of_levels(self, binary: BinaryOp, places: int) -> list[int]:
        """Returns what an op needs behind so many inputs to make levels of numbers."""
        if binary.levels == SIGNS or binary.source in self.bits:
            return []
        begin = np.array(binary.levels, "float32")
        return [*[-1] * (_LEVELS_PLACE - places), self.editor.constant(begin)]

    def _rounding(self, binary: BinaryOp, replacement: Any) -> list[Any]:
        """Returns the ops that make bytes of the inputs, where these are what is multiplied."""
        if not isinstance(binary, ByteOp):
            return []
        ops: list[Any] = []
        source = binary.source
        if binary.shift:
            by = self.editor.constant(np.array(binary.shift, "float32"))
            shape = self.editor.shape(source)
            source = self.editor.then("ADD", [source, by], shape, "float32", ops)
        return [*ops, self.editor.op("QUANTIZE", [source], [int(replacement.inputs[0])])]

    def _op(
        self,
        binary: BinaryOp,
        inputs: list[int],
        outputs: list[int],
        activation: int,
        add_first: int,
        out_bits: int = 1,
    ) -> Any:
        while inputs[-1] < 0:
            inputs = inputs[:-1]
        filters, height, width, channels = binary.kernel.shape
        op_options = options(
            channels,
            filters,
            kernel=(height, width),
            strides=binary.strides,
            dilations=binary.dilations,
            pads=binary.pads,
            pad_value=binary.pad_value,
            activation=activation,
            add_first=bool(add_first),
            in_bits=bits_of(binary.levels),
            out_bits=out_bits,
        )
        name = DENSE if binary.dense else BYTE_CONV if isinstance(binary, ByteOp) else CONV
        return self.editor.custom(name, inputs, outputs, op_options)


def packed_words(flags: np.ndarray) -> np.ndarray:
    """Packs flags into 32-bit words, the first one lowest.

    >>> packed_words(np.array([True, False, True]))
    array([5], dtype=int32)
    """
    padded = np.zeros(-(-len(flags) // WORD) * WORD, bool)
    padded[: len(flags)] = flags
    return np.packbits(padded, bitorder="little").view("<i4")


def _needed(ops: list[Any], outputs: set[int]) -> list[Any]:
    """Returns the ops whose outputs are read, and those without outputs, such as CALL_ONCE."""
    read, kept = set(outputs), []
    for op in reversed(ops):
        if not len(op.outputs) or any(int(tensor) in read for tensor in op.outputs):
            kept.append(op)
            read.update(int(tensor) for tensor in op.inputs)
    return kept[::-1]
