"""Has a file whose first convolution multiplies bytes take bytes, without the ops that made them.

```
float32, [MUL], [ADD], QUANTIZE, TfcXnorByteConv2D   becomes
uint8, TfcXnorByteConv2D   or   int8, QUANTIZE, TfcXnorByteConv2D
```

`export.xnor_bytes` finds such convolutions.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.errors import InputError, require
from tfcompress.runtime import LiteModel
from tfcompress.runtime.io_tensors import quantize
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.dataflow import Dataflow
from tfcompress.tflite.editor import Editor

_VALUES = 256
# Ops on each number alone, where the other operand is one number.
_ELEMENTWISE = ("ADD", "SUB", "MUL", "DIV")
_NO_ACTIVATION = 0


@dataclasses.dataclass(frozen=True)
class _Front:
    """What stands before the first convolution of bytes.

    Attributes:
        ops: in order; the last one is QUANTIZE.
        outer: the file's input.
        inner: the tensor of bytes.
        scale: what a step of the bytes is in the file's input.
        zero_point: the byte that stands for 0 in the convolution.
    """

    ops: list[Any]
    outer: int
    inner: int
    scale: float
    zero_point: int


def take_bytes(path: Path, io: str, mean: Sequence[float] = (), std: Sequence[float] = ()) -> Path:
    """Gives a file with a first convolution of bytes an input of bytes, in place.

    The outputs stay floats, which is what the last layer computes in.

    Args:
        path: of the `.tflite`.
        io: `uint8`, which leaves no op before the convolution; or `int8`, which leaves a QUANTIZE
            of integers.
        mean: of the normalisation, on the scale 0..255; none if it isn't known. With it the bytes
            of `uint8` are pixels as they are.
        std: likewise.

    Returns:
        The ops that were taken out, as a file of their own: from real numbers to bytes.

    Raises:
        InputError: the first layer doesn't multiply bytes, or these aren't the pixels.
    """
    editor = Editor(path)
    front = _front(Dataflow(editor))
    if front is None:
        raise InputError(
            f"io={io} of a file of 1-bit layers needs a first layer in 8 bits (the technique's "
            "option end_bits=8) that alone reads the file's input; here the first layer takes "
            "floats: leave io out"
        )
    apart = path.with_name(f"{path.stem}-front.tflite")
    editor.part(front.ops, front.outer, front.inner).write(apart)
    zero_point = front.zero_point - (_VALUES // 2 if io == "int8" else 0)
    _check(apart, io, (front.scale, zero_point), mean, std)
    _replace(editor, front, io, zero_point)
    editor.write(path)
    return apart


def bytes_of(front: Path, io: str, x: np.ndarray | Rows) -> np.ndarray:
    """Returns what a file's first convolution made of real numbers, in the file's input type.

    Args:
        front: what `take_bytes` returned.
        io: `uint8` or `int8`.
        x: real numbers (n, ...), as the Keras model takes them.
    """
    model = LiteModel(front)
    integers = quantize(model.run(x)[0], model.outputs[0].details)
    return integers if io == "uint8" else (integers.astype("int16") - _VALUES // 2).astype("int8")


def _front(flow: Dataflow) -> _Front | None:
    """Finds the ops between a file's only input and a convolution of bytes."""
    editor = flow.editor
    if len(editor.graph.inputs) != 1:
        return None
    outer = int(editor.graph.inputs[0])
    tensor, factor, ops = outer, 1.0, []
    while (op := flow.only_consumer(tensor)) is not None:
        ops.append(op)
        name, before, tensor = flow.name(op), tensor, int(op.outputs[0])
        if name == "QUANTIZE":
            readers = flow.consumers.get(tensor, [])
            ours = editor.type_name(tensor) == "uint8" and tensor not in flow.outputs
            if not ours or any(flow.name(reader) != "CUSTOM" for reader in readers):
                return None
            grid = editor.graph.tensors[tensor].quantization
            scale, zero_point = float(grid.scale[0]) / factor, int(grid.zeroPoint[0])
            return _Front(ops, outer, tensor, scale, zero_point) if scale > 0 else None
        value = flow.scalar(op.inputs[1]) if name in _ELEMENTWISE else None
        if value is None or int(op.inputs[0]) != before:
            return None
        if op.builtinOptions.fusedActivationFunction != _NO_ACTIVATION:
            return None
        if name in ("MUL", "DIV"):
            factor = factor * value if name == "MUL" else factor / value
    return None


def _check(
    front: Path, io: str, grid: tuple[float, int], mean: Sequence[float], std: Sequence[float]
) -> None:
    """Refuses an input type whose bytes aren't those that the convolution had.

    Raises:
        InputError: says which ones it had.
    """
    pixels = np.arange(_VALUES)[:, None]
    if mean:
        x = (pixels - np.asarray(mean, "float32")) / np.asarray(std, "float32")
    else:
        low = np.iinfo(io).min
        x = grid[0] * (pixels + low - grid[1])
    x = np.asarray(x, "float32")
    wanted = _through(front, io, x)
    if mean and io == "uint8":
        require(
            bool((wanted == pixels).all()),
            "io=uint8 takes pixels as they are, and the 256 values to which the first layer rounds "
            f"its input aren't the pixels normalised with mean {tuple(mean)} and std {tuple(std)}: "
            "train on images with pixels of 0 and of 255 and one normalisation for all channels, "
            "or leave io out",
        )
    details = {"dtype": np.dtype(io), "quantization": grid}
    read = quantize(x, details, mean, std)
    require(
        bool((read == wanted).all()),
        f"io={io} has one scale and a whole zero point ({grid[0]:.3g}, {grid[1]}), by which some "
        "inputs become other bytes than those that the first layer was trained with: leave io out"
        + ("" if io == "uint8" and mean else ", or give io=uint8 and a normalisation (metadata=)"),
    )


def _through(front: Path, io: str, x: np.ndarray) -> np.ndarray:
    """Returns the bytes of numbers (256, 1 or channels), which stand in images, place by place."""
    shape = LiteModel(front).input_shape[1:]
    channels = shape[-1]
    x = np.broadcast_to(x, (len(x), channels))
    places = int(np.prod(shape[:-1]))
    count = -(-len(x) // places)
    images = np.resize(x, (count * places, channels)).reshape(count, *shape)
    return bytes_of(front, io, images).reshape(-1, channels)[: len(x)]


def _replace(editor: Editor, front: _Front, io: str, zero_point: int) -> None:
    """Gives the outer tensor bytes; it keeps its name."""
    from ai_edge_litert import schema_py_generated as schema

    outer, inner = (editor.graph.tensors[index] for index in (front.outer, front.inner))
    # Of the same real numbers: from int8 they are 128 steps apart, and nothing is rounded.
    inner.quantization.scale = [front.scale]
    outer.type = getattr(schema.TensorType, io.upper())
    outer.quantization = copy.copy(inner.quantization)
    outer.quantization.zeroPoint = [zero_point]
    ops = [op for op in editor.ops() if all(op is not other for other in front.ops)]
    if io == "int8":
        editor.graph.operators = [editor.op("QUANTIZE", [front.outer], [front.inner]), *ops]
        return
    for op in ops:
        op.inputs = [front.outer if int(i) == front.inner else int(i) for i in op.inputs]
    editor.graph.operators = ops
