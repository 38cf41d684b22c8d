"""What a file must pass before it leaves: an audit of its ops, and parity with Keras."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.config import require
from tfcompress.export.storage import Storage
from tfcompress.graph import rewrite
from tfcompress.graph.rewrite import functional, nodes
from tfcompress.runtime import LiteModel
from tfcompress.runtime.content import FileContent

# How near to 0 a value before a sign may lie, as a share of the largest in its layer, so that
# rounding in another order may turn it.
TIE = 1e-5
# Images that Keras computes at a time.
_AT_ONCE = 64


class ExportError(RuntimeError):
    """A file failed its audit or its parity check; nothing was written."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """How a file's outputs compare with Keras's on the same images.

    Attributes:
        images: how many were compared.
        max_abs_diff: the largest difference of an output.
        max_abs_output: the largest output, for scale.
        relative_rms: rms of the differences by rms of the outputs.
        agreement: share of the images with the same label.
        ties: images left out of the three figures above: their outputs differ because a value
            before a sign lies so near to 0 that rounding in another order turns it.
    """

    images: int
    max_abs_diff: float
    max_abs_output: float
    relative_rms: float
    agreement: float
    ties: int = 0

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)


def audit(content: FileContent, storage: Storage) -> None:
    """Refuses what a phone's runtime can't run or gets wrong.

    Raises:
        ExportError: a custom or Flex op, 2-bit convolution weights, a dynamic size, or products
            left in another type than the storage says.
    """
    problems = []
    for op in content.ops:
        types = {tensor.dtype for tensor in op.inputs if tensor and tensor.constant}
        if op.name.startswith("CUSTOM:"):
            problems.append(f"{op.name} isn't a built-in op")
        if op.name == "CONV_2D" and "int2" in types:
            problems.append("CONV_2D with 2-bit weights crashes the interpreter")
        if op.name == "BATCH_MATMUL" and any(
            t and not t.constant and t.dtype == "int8" for t in op.inputs[1:2]
        ):
            problems.append("BATCH_MATMUL with an int8 right side that isn't constant is wrong")
    kinds = {
        weights.dtype
        for op in content.ops
        if op.macs
        for weights in op.inputs[1:2]
        if weights is not None
    }
    if storage.quantize == "none" and kinds - {"float32"}:
        problems.append(f"weights of types {sorted(kinds)} in a float32 file")
    if storage.quantize != "none" and "int8" not in kinds:
        problems.append("no 8-bit weights in the file")
    for tensor in content.inputs:
        if not tensor.shape or tensor.shape[0] != 1:
            problems.append(f"input '{tensor.name}' has the shape {tensor.shape}, not a batch of 1")
    if problems:
        raise ExportError(f"the file failed its audit: {'; '.join(problems)}")


def check_images(model: keras.Model, images: np.ndarray) -> None:
    """Refuses images that a parity check can't use.

    Raises:
        InputError: the model has several inputs or outputs, or the images aren't of its shape,
            or none, or not finite.
    """
    model = functional(model)
    require(
        len(model.inputs) == len(model.outputs) == 1,
        f"model '{model.name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs: "
        "files are compared with Keras for 1 and 1; leave out the representative images",
    )
    shape = tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(shape) + 1 and all(
        size in (None, real) for size, real in zip(shape, images.shape[1:], strict=True)
    )
    require(
        fits and len(images) > 0,
        f"representative images must have the shape (n, {', '.join(map(str, shape))}), n at least "
        f"1; got {images.shape}",
    )
    require(bool(np.isfinite(images).all()), "representative images must be finite numbers")


def check_parity(model: keras.Model, path: Path, images: np.ndarray, storage: Storage) -> Parity:
    """Compares a file with the Keras model that it came from, on real images.

    A sign isn't continuous: where the value before it is 0 but for rounding, Keras and the file
    may rightly differ. Such an image is recognised by computing those values in Keras, counted in
    `ties` and left out; at most one image in ten may be one.

    Args:
        model: the Keras model, with our layers.
        path: the `.tflite`.
        images: float32 (images, height, width, channels), normalised.
        storage: whose tolerances apply.

    Raises:
        ExportError: the difference is larger than the storage's tolerance.
    """
    expected = _outputs(model, functional(model).outputs, images)[0]
    got = LiteModel(path).predict(images).reshape(len(images), -1)
    if got.shape != expected.shape:
        raise ExportError(f"the file gives outputs of shape {got.shape}, Keras {expected.shape}")
    if not np.isfinite(got).all():
        raise ExportError("the file gives outputs that aren't finite")
    if not np.isfinite(expected).all():
        raise ExportError("the Keras model gives outputs that aren't finite")
    largest = float(np.abs(expected).max())
    difference = np.abs(got - expected).max(axis=1)
    off = np.flatnonzero(difference > storage.max_abs * largest)
    ties = 0
    if 0 < len(off) <= len(images) // 10 and storage.max_abs < 1e-3:
        near = off[near_ties(model, images[off])]
        ties = len(near)
        expected, got = np.delete(expected, near, 0), np.delete(got, near, 0)
    parity = compare(expected, got, ties)
    # Between classes that Keras itself holds for equal but for rounding, either label is right.
    chosen = np.take_along_axis(expected, got.argmax(1)[:, None], 1)[:, 0]
    agreement = float((expected.max(1) - chosen <= TIE * largest).mean())
    if parity.max_abs_diff > storage.max_abs * largest or agreement < storage.min_agreement:
        raise ExportError(
            f"the file differs from Keras: outputs by up to {parity.max_abs_diff:.3g} of "
            f"{largest:.3g} (storage {storage.name} allows {storage.max_abs * largest:.3g}), "
            f"labels on {1 - agreement:.1%} of {parity.images} images (allowed: "
            f"{1 - storage.min_agreement:.1%})"
        )
    return parity


def compare(expected: np.ndarray, got: np.ndarray, ties: int = 0) -> Parity:
    """The figures of `Parity` for outputs (images, classes)."""
    difference = got - expected
    scale = float(np.sqrt(np.mean(expected**2)))
    return Parity(
        images=len(expected) + ties,
        max_abs_diff=float(np.abs(difference).max()),
        max_abs_output=float(np.abs(expected).max()),
        relative_rms=float(np.sqrt(np.mean(difference**2))) / scale if scale else 0.0,
        agreement=float((expected.argmax(1) == got.argmax(1)).mean()),
        ties=ties,
    )


def near_ties(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Which images have a value before a sign that is 0 but for rounding: bool (images,)."""
    model = rewrite(model, {})  # Flat: the layers of nested models, too.
    before = [
        tensor
        for node in nodes(model)
        if getattr(node.operation, "binarize_inputs", False)
        for tensor in node.input_tensors
    ]
    near = np.zeros(len(images), bool)
    for values in _outputs(model, before, images) if before else ():
        size = np.abs(values)
        near |= size.min(axis=1) <= TIE * size.max()
    return near


def _outputs(model: keras.Model, tensors: list[Any], images: np.ndarray) -> list[np.ndarray]:
    """Values of the model's tensors for images, each as (images, values)."""
    compiled = keras.Model(functional(model).inputs, tensors)
    compiled.compile(jit_compile=False)
    parts = [
        [np.asarray(value).reshape(len(value), -1) for value in keras.tree.flatten(values)]
        for values in (
            compiled.predict_on_batch(images[i : i + _AT_ONCE])
            for i in range(0, len(images), _AT_ONCE)
        )
    ]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]
