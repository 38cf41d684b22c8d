"""Converts a model with `FakeQuantize` layers to an integer `.tflite`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.errors import ExportError, InputError
from tfcompress.export import convert
from tfcompress.export.model_io import write_model_names
from tfcompress.export.rounding_ops import RoundingOp, with_rounding_ops
from tfcompress.export.short_names import write_short_names
from tfcompress.export.usual_size import write_usual_sizes
from tfcompress.graph import clone, lower, rewrite
from tfcompress.graph.rewrite import operations
from tfcompress.layers.fake_quantize import FakeQuantize
from tfcompress.tflite.content import FileContent

# A kernel's axes in Keras, in the file's order.
_AXES = {
    "Conv2D": (3, 0, 1, 2),
    "Conv2DTranspose": (2, 0, 1, 3),
    "Dense": (1, 0),
}
# By how much a weight in the file may differ from Keras's, in steps of its grid.
_STEPS = 0.02
# And by how much of the layer's largest weight.
_NEGLIGIBLE = 1e-5
_NO_COMPUTING = frozenset({"DEQUANTIZE", "QUANTIZE", "RESHAPE"})


def int8_file(
    model: keras.Model,
    path: Path,
    usual: Sequence[tuple[int, ...]] | None = None,
    *,
    short_names: bool = False,
) -> Path:
    """Writes the model with integer weights, activations, input and output.

    The converter takes the activations' grids from TensorFlow's own rounding ops, which stand in
    for the layers, and makes the weights' from the weights: those lie on such a grid already, and
    the file is checked to hold the same values. There is no representative data set, which would
    give a range to ops that have none and so hide that they were left out.

    Args:
        model: with `FakeQuantize` layers.
        path: of the file.
        usual: as of `BuildJob`.
        short_names: likewise.

    Raises:
        InputError: a layer rounds to another number of bits, or the backend can't export.
        ExportError: the file's weights aren't the model's.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 2.
    """
    import tensorflow as tf

    flat = clone(lower(_with_tensorflow_ops(model)))
    convert.float_file(
        flat,
        path,
        optimizations=[tf.lite.Optimize.DEFAULT],
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
        # One scale for a dense kernel, as it was trained and as old runtimes need it.
        _experimental_disable_per_channel_quantization_for_dense_layers=True,
    )
    write_model_names(model, path)
    if short_names:
        write_short_names(path, {operation.name for operation in operations(flat)})
    if usual is not None:
        write_usual_sizes(path, usual)
    check_weights(flat, path)
    return path


def _with_tensorflow_ops(model: keras.Model) -> keras.Model:
    """Returns the model with TensorFlow's rounding op in place of our layers."""
    model = clone(with_rounding_ops(model))
    replace: dict[str, Any] = {}
    for layer in operations(model):
        if isinstance(layer, FakeQuantize) and layer.name not in replace:
            if layer.num_bits != 8:
                raise InputError(
                    f"layer '{layer.name}' rounds to {layer.num_bits} bits: files take 8"
                )
            if layer.nudge_values:
                raise InputError(
                    f"layer '{layer.name}' nudges values, which is for networks with binary inputs"
                )
            low, high = layer.range()
            replace[layer.name] = RoundingOp(
                low, high, layer.num_bits, layer.narrow_range, name=layer.name
            )
    return rewrite(model, replace)


def check_weights(model: keras.Model, path: Path) -> None:
    """Checks that every kernel of the model stands in the file, on the same grid.

    Kernels that are on no grid of 8 bits, those of layers that stay float, are left out.

    Raises:
        ExportError: one doesn't.
    """
    stored = convert.int8_constants(path)
    seen: set[int] = set()
    for layer in operations(model):
        kind = type(layer).__name__
        if id(layer) in seen or kind not in (*_AXES, "DepthwiseConv2D"):
            continue
        seen.add(id(layer))
        kernel, steps = _grid(layer, kind)
        if kernel is None:
            continue
        alike = [array for array in stored if array.size == kernel.size]
        limit = _STEPS * np.broadcast_to(steps, kernel.shape)
        if not any(
            (np.abs(array.reshape(kernel.shape) - kernel) <= limit).all() for array in alike
        ):
            raise ExportError(
                f"the weights of layer '{layer.name}' ({kind}) don't stand in the file as they "
                "were trained: it holds them on another grid"
            )


def _grid(layer: Any, kind: str) -> tuple[np.ndarray | None, np.ndarray]:
    """Returns a kernel in the file's order, None if it is on no grid, and the grid's step."""
    kernel = np.asarray(layer.get_weights()[0], "float64")
    if kind == "DepthwiseConv2D":
        kernel = kernel.reshape(1, *kernel.shape[:2], -1)
        axes: tuple[int, ...] = (0, 1, 2)
    else:
        kernel = kernel.transpose(_AXES[kind])
        axes = (0, 1) if kind == "Dense" else (1, 2, 3)
    steps = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    whole = kernel / np.where(steps > 0, steps, 1)
    if np.abs(whole - np.round(whole)).max() > _STEPS:
        return None, steps
    # Filters of next to nothing but a bias get a wider grid from the converter, so that the bias
    # fits into 32 bits.
    return kernel, steps + np.abs(kernel).max() * _NEGLIGIBLE / _STEPS


def float_ops(content: FileContent) -> tuple[str, ...]:
    """Returns the names of ops that compute in floats and depend on the input."""
    return tuple(
        f"{op.name} '{op.outputs[0].name}'"
        for op in content.ops
        if op.name not in _NO_COMPUTING
        and not op.folded
        and any(tensor.dtype.startswith("float") for tensor in op.outputs)
    )
