"""Reads a file's inputs and outputs, and changes numbers to and from their types."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.errors import require
from tfcompress.tflite import signatures

if TYPE_CHECKING:
    import numpy as np

# How TensorFlow's converter writes a name of the model into a tensor's name.
_CONVERTED = re.compile(r"^(?:serving_default_)?(.*?)(?::0)?$")


@dataclasses.dataclass(frozen=True)
class IOTensor:
    """An input or output of a file that is loaded.

    Attributes:
        name: by which programs know it.
        shape: batch first, as the file was loaded.
        sizes: the same, with None for each size that isn't fixed.
        dtype: such as `float32` or `int8`.
        details: as the interpreter gives them.
    """

    name: str
    shape: tuple[int, ...]
    sizes: tuple[int | None, ...]
    dtype: str
    details: dict[str, Any]


def io_tensors(
    interpreter: Any, path: str | os.PathLike[str], signature: str | None
) -> tuple[tuple[IOTensor, ...], tuple[IOTensor, ...]]:
    """Returns the inputs and the outputs of a loaded file, in its order.

    Args:
        interpreter: LiteRT's.
        path: of the file.
        signature: the one that runs; None if the file hasn't several.
    """
    inputs, outputs = signatures.io_names(path, signature)
    return (
        tuple(_tensor(details, inputs) for details in interpreter.get_input_details()),
        tuple(_tensor(details, outputs) for details in interpreter.get_output_details()),
    )


def _tensor(details: dict[str, Any], names: Mapping[int, list[str]]) -> IOTensor:
    known = names.get(int(details["index"]))
    match = _CONVERTED.match(details["name"])
    shape = tuple(int(size) for size in details["shape"])
    sizes = tuple(int(size) for size in details.get("shape_signature", ()))
    if len(sizes) != len(shape):
        sizes = shape
    return IOTensor(
        # Outputs that are one tensor have its names one after another.
        name=known.pop(0) if known else (match[1] if match else details["name"]),
        shape=shape,
        sizes=tuple(None if size < 0 else size for size in sizes),
        dtype=numpy_type(details).name,
        details=details,
    )


def quantize(
    x: np.ndarray,
    details: dict[str, Any],
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> np.ndarray:
    """Turns real numbers into a tensor's own type: `round(x / scale) + zero_point`, saturating.

    Where a step of bytes is one of normalised pixels, they become these: `round(x * std + mean)`.
    A mean in the middle of two whole numbers, such as 127.5, has no zero point that would do.

    Args:
        x: real numbers of any shape.
        details: the tensor's details as the interpreter gives them. An integer tensor without a
            scale takes the numbers as they are, rounded.
        mean: of the normalisation, on the scale 0..255; none if it isn't known.
        std: likewise.

    Raises:
        InputError: NaN or infinity for an integer tensor.
    """
    import numpy as np

    dtype = numpy_type(details)
    if not np.issubdtype(dtype, np.integer):
        return x.astype(dtype)
    scale, zero_point = details["quantization"]
    limits = np.iinfo(dtype)
    if not scale and not np.issubdtype(x.dtype, np.floating):
        return np.clip(x, limits.min, limits.max).astype(dtype)
    require(bool(np.isfinite(x).all()), "an integer input can't take NaN or infinity")
    if dtype == np.uint8 and _of_pixels(scale, zero_point, mean, std):
        steps = np.rint(x * std[0] + mean[0])
    else:
        steps = np.rint(x / (scale or 1.0)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def _of_pixels(scale: float, zero_point: int, mean: Sequence[float], std: Sequence[float]) -> bool:
    """Returns whether bytes of a scale and zero point are pixels of a normalisation."""
    if not scale or not len(set(mean)) == len(set(std)) == 1:
        return False
    return abs(scale * std[0] - 1) < 1 / 512 and abs(mean[0] - zero_point) <= 0.5


def dequantize(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Turns a tensor's values into float32: `scale * (value - zero_point)` if it has a scale.

    Integers without a scale and truth values stay what they are.
    """
    import numpy as np

    scale, zero_point = details["quantization"]
    if np.issubdtype(numpy_type(details), np.floating):
        return values.astype(np.float32)
    if not scale:
        return values
    return np.float32(scale) * (values.astype(np.float32) - np.float32(zero_point))


def numpy_type(details: dict[str, Any]) -> np.dtype:
    """Returns a tensor's NumPy type."""
    import numpy as np

    return np.dtype(details["dtype"])
