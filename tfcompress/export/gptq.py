"""Rounds an integer file's few-bit weights by what its layers' inputs are.

Layers come in the file's order. A layer's inputs in the integer file hold the errors of all before
it, so the weights that are rounded are those which make of them the float file's output, in the
least squares of all calibration inputs; biases make up for the mean of what is left.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.export import exact_grids
from tfcompress.ops import gptq
from tfcompress.ops.few_bits import levels
from tfcompress.runtime import LiteModel
from tfcompress.runtime.io_tensors import dequantize, quantize
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.padding import SAME, same_pads
from tfcompress.tflite.part import write_part
from tfcompress.tflite.weighted_ops import weighted_pairs

# Of weights and inputs of an op; others stay as the quantizer has them.
_OPS = ("CONV_2D", "FULLY_CONNECTED")
_BITS = 4
# A layer's second moments take 8 bytes a pair of inputs: half a gigabyte.
MOST_INPUTS = 8192
# Of a convolution's output places in an input, drawn by fixed seeds.
_PLACES = 64
# Of the sum of squares of float32.
_ROUNDING = 1e-6


def write_compensated(float_path: Path, path: Path, rows: np.ndarray | Rows) -> None:
    """Rounds the 4-bit weights of an integer file anew, and their layers' biases.

    Layers stay as they are whose weights several ops share, that have more than `MOST_INPUTS`
    inputs a filter, that run in a loop, or that hold their weights without error.

    Args:
        float_path: of the float file.
        path: of the integer file that was quantised from it, which is changed.
        rows: inputs as the float file takes them, (n, ...): some hundreds.

    Reference:
        Frantar et al. 2022, "GPTQ", arXiv:2210.17323. Inputs as the rounded layers before give
        them, section 4.2 of Nagel et al. 2020, "Up or Down?", arXiv:2004.10568. Biases: Nagel et
        al. 2019, "Data-Free Quantization", arXiv:1906.04721, section 4.2.
    """
    floats, editor = Editor(float_path), Editor(path)
    rows = Rows.of(rows)
    shared = _shared_weights(floats)
    for before, after in weighted_pairs(floats, editor):
        kernel = floats.values(int(before.inputs[1]))
        if (
            floats.name(before) not in _OPS
            or editor.name(after) != floats.name(before)
            or editor.type_name(int(after.inputs[1])) != "int4"
            or kernel is None
            or int(before.inputs[1]) in shared
            or kernel[0].size > MOST_INPUTS
            or exact_grids.on_grid(kernel, _BITS) is not None
        ):
            continue
        moments = _moments((float_path, path), (floats, editor), (before, after), rows)
        _write_rounded(floats, before, editor, after, moments)
        editor.write(path)


def _shared_weights(editor: Editor) -> set[int]:
    """Returns the tensors that several ops read."""
    read: set[int] = set()
    shared: set[int] = set()
    for op in editor.ops():
        inputs = {int(tensor) for tensor in op.inputs}
        shared |= inputs & read
        read |= inputs
    return shared


@dataclasses.dataclass
class Moments:
    """What calibration inputs are on average: x in the integer file, y in the float file.

    Attributes:
        count: of the inputs, vectors of what one filter meets.
        x: sum of x, (inputs,).
        y: sum of y, (inputs,).
        xx: sum of x'x, (inputs, inputs).
        xy: sum of x'y, (inputs, inputs).
    """

    count: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    @classmethod
    def zeros(cls, size: int) -> Moments:
        """Returns the moments of no inputs."""
        return cls(0, *np.zeros((2, size)), *np.zeros((2, size, size)))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Adds inputs, float32 (n, inputs) each."""
        self.count += len(x)
        self.x += x.sum(axis=0, dtype="float64")
        self.y += y.sum(axis=0, dtype="float64")
        self.xx += x.T @ x
        self.xy += x.T @ y

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the covariance of x, and that of x with y.

        That of x is positive definite: sums of float32 are off by as much as is added to it.
        """
        mean = self.x / self.count
        own = self.xx / self.count - np.outer(mean, mean)
        least = _ROUNDING * np.trace(self.xx) / self.count or 1.0
        return (
            own + least * np.eye(len(own)),
            self.xy / self.count - np.outer(mean, self.y / self.count),
        )


def _write_rounded(
    floats: Editor, before: Any, editor: Editor, after: Any, moments: list[Moments]
) -> None:
    """Gives an op of the integer file its rounded weights and its bias.

    Args:
        floats: the float file.
        before: the op in it.
        editor: the integer file.
        after: the op in it.
        moments: of each group of its inputs.
    """
    number = int(after.inputs[1])
    kernel = floats.values(int(before.inputs[1]))
    assert kernel is not None
    low, high = levels(_BITS)
    rows = kernel.reshape(len(kernel), -1).astype("float64")
    given = floats.values(int(before.inputs[2])) if len(before.inputs) > 2 else None
    bias = np.zeros(len(rows)) if given is None else given.astype("float64")
    codes, steps = np.zeros(rows.shape, np.int8), np.zeros(len(rows))
    for of_group, part in zip(moments, np.split(np.arange(len(rows)), len(moments)), strict=True):
        own, mixed = of_group.covariances()
        matrix = gptq.damped(own)
        ridge = matrix - own
        wanted = np.linalg.solve(matrix, (mixed + ridge) @ rows[part].T).T
        wanted[~rows[part].any(axis=1)] = 0.0  # What was pruned stays so.
        codes[part], steps[part] = gptq.rounded(wanted, own, low, high)
        made = codes[part] * steps[part][:, None]
        bias[part] += (rows[part] @ of_group.y - made @ of_group.x) / of_group.count
    steps = np.where(steps > 0, steps, steps.max() or 1.0)
    inputs = [int(tensor) for tensor in after.inputs]
    name = editor.text(number)
    inputs[1] = editor.constant_on_grid(
        exact_grids.pack(codes, _BITS), kernel.shape, "int4", name, steps
    )
    grid = steps * float(editor.graph.tensors[inputs[0]].quantization.scale[0])
    ends = np.iinfo(np.int32)
    integers = np.clip(np.round(bias / grid), ends.min, ends.max).astype(np.int32)
    has_bias = len(inputs) > 2 and inputs[2] >= 0
    label = editor.text(inputs[2]) if has_bias else f"{name}/bias"
    after.inputs = [*inputs[:2], editor.constant(integers, label, scale=grid)]


def _moments(
    paths: tuple[Path, Path], editors: tuple[Editor, Editor], ops: tuple[Any, Any], rows: Rows
) -> list[Moments]:
    """Returns the moments of an op's inputs in both files, of each group of channels.

    Args:
        paths: of the float and the integer file.
        editors: the same, open.
        ops: the op in each.
        rows: the calibration inputs.
    """
    floats, op = editors[0], ops[0]
    shape = floats.shape(int(op.inputs[1]))
    groups = 1
    if floats.name(op) == "CONV_2D":
        groups = floats.shape(int(op.inputs[0]))[-1] // shape[-1]
    moments = [Moments.zeros(math.prod(shape[1:])) for _ in range(groups)]
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        part = Path(folder) / "part.tflite"
        inputs = [
            _values(path, editor, int(each.inputs[0]), rows, part)
            for path, editor, each in zip(paths, editors, ops, strict=True)
        ]
        for number, (y, x) in enumerate(zip(*inputs, strict=True)):
            pair = [_vectors(floats, op, values, groups, number) for values in (x, y)]
            for of_group, own, other in zip(moments, *pair, strict=True):
                of_group.add(own, other)
    return moments


def _values(
    path: Path, editor: Editor, tensor: int, rows: Rows, part: Path
) -> Iterator[np.ndarray]:
    """Yields a tensor's values for each calibration input, float32 with a batch of 1.

    Args:
        path: of the file.
        editor: the same, open.
        tensor: its number.
        rows: the calibration inputs.
        part: of a file to write for the time being.
    """
    ends = [int(each) for each in editor.graph.inputs]
    if tensor in ends:
        grid = editor.graph.tensors[tensor].quantization
        return (_on_grid(values, grid)[None] for values in rows.arrays[ends.index(tensor)])
    write_part(path, tensor, part)
    model = LiteModel(part)
    return (model.run(rows[index : index + 1])[0] for index in range(len(rows)))


def _on_grid(values: np.ndarray, quantization: Any) -> np.ndarray:
    """Rounds real numbers to a tensor's 8-bit grid, if it has one."""
    values = np.asarray(values, np.float32)
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return values
    grid = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    details = {"dtype": np.int8, "quantization": grid}
    return np.asarray(dequantize(quantize(values, details), details), np.float32)


def _vectors(floats: Editor, op: Any, values: np.ndarray, groups: int, seed: int) -> np.ndarray:
    """Returns what an op's filters meet at some places, float32 (groups, places, inputs).

    Args:
        floats: the float file.
        op: of it.
        values: its input, a batch of 1.
        groups: of its channels.
        seed: of the draw of places.
    """
    shape = floats.shape(int(op.inputs[1]))
    if floats.name(op) == "FULLY_CONNECTED":
        return values.reshape(1, -1, shape[-1])
    options = op.builtinOptions
    strides = int(options.strideH), int(options.strideW)
    dilation = int(options.dilationHFactor), int(options.dilationWFactor)
    window = shape[1:3]
    if int(options.padding) == SAME:
        above, below, left, right = same_pads(values.shape[1:3], window, strides, dilation)
        values = np.pad(values, ((0, 0), (above, below), (left, right), (0, 0)))
    spans = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(values[0], spans, (0, 1))
    windows = windows[:: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    height, width, channels = windows.shape[:3]
    places = np.random.default_rng(seed).permutation(height * width)[:_PLACES]
    drawn = windows[np.divmod(places, width)]  # (places, channels, rows, columns)
    split = drawn.reshape(len(places), groups, channels // groups, *window)
    # As a filter has them: rows, columns, channels.
    return split.transpose(1, 0, 3, 4, 2).reshape(groups, len(places), -1)
