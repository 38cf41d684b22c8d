"""Runs a model with nothing but its `.tflite` file: images in and labels out, or arrays."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Any, Literal, overload

from tfcompress.errors import InputError, require
from tfcompress.options import check_types
from tfcompress.runtime import process
from tfcompress.runtime.model import LiteModel
from tfcompress.runtime.picture import pixels
from tfcompress.tflite import content, metadata
from tfcompress.tflite.content import FileContent
from tfcompress.tflite.metadata import Metadata

if TYPE_CHECKING:
    import numpy as np

# Ops that give probabilities, and ops that may follow them and change no value.
_PROBABILITIES = ("SOFTMAX", "LOGISTIC")
_UNCHANGED = ("DEQUANTIZE", "QUANTIZE", "RESHAPE")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A class with its probability.

    Attributes:
        label: the class's name; its number as text if the file names no classes.
        probability: 0 to 1.
        index: the class's number.
    """

    label: str
    probability: float
    index: int


class Predictor:
    """Classifies images of any size and kind with a `.tflite` file; `load` returns one.

    Args:
        model: the file, ready to run.
        metadata: the file's metadata, or None.
        probabilities: whether the file's outputs are probabilities; if not, they are scores, and
            the softmax is computed here.

    Attributes:
        labels: the classes, in the outputs' order.
        image_shape: (height, width, channels) of the file's input.
        signature: the signature that runs; None if the file hasn't several.
        metadata: the file's metadata, or None.

    Raises:
        InputError: the file doesn't take images, or doesn't give a row of scores.

    Example:
        >>> import tfcompress
        >>> classify = tfcompress.load("compressed.tflite")  # doctest: +SKIP
        >>> classify("photo.jpg")[0].label  # doctest: +SKIP
    """

    def __init__(self, model: LiteModel, metadata: Metadata | None, *, probabilities: bool) -> None:
        reason = _no_classifier(model)
        require(reason is None, f"{model.path} {reason}")
        shape, classes = model.input_shape[1:], math.prod(model.output_shape[1:])
        labels = metadata.labels if metadata else ()
        require(
            len(labels) in (0, classes),
            f"{model.path} names {len(labels)} classes and gives {classes} scores",
        )
        means = len(metadata.mean) if metadata else 0
        require(
            means in (0, 1, shape[2]),
            f"{model.path} has {means} means for {shape[2]} channels",
        )
        self._model = model
        self._scores = not probabilities
        self.metadata = metadata
        self.signature = model.signature
        self.labels = labels or tuple(map(str, range(classes)))
        self.image_shape = (shape[0], shape[1], shape[2])

    def __call__(self, image: Any, *, top: int = 5) -> tuple[Prediction, ...]:
        """Returns the most probable classes of an image, the most probable first.

        Args:
            image: as `probabilities` takes it.
            top: how many classes.

        Raises:
            InputError: as `probabilities` raises it; or top is below 1.
        """
        require(top >= 1, f"top must be 1 or more; got {top}")
        probabilities = self.probabilities(image)
        return tuple(
            Prediction(self.labels[index], float(probabilities[index]), int(index))
            for index in (-probabilities).argsort(kind="stable")[:top]
        )

    def probabilities(self, image: Any) -> np.ndarray:
        """Returns the probability of each class.

        Args:
            image: the path of an image file, a Pillow image, or uint8 of shape (h, w), (h, w, 1),
                (h, w, 3) or (h, w, 4): of any size, cropped around the centre to the file's shape,
                resized, and normalised as the metadata say. A float array of the file's own shape
                is taken as normalised already.

        Returns:
            float32 (classes,).

        Raises:
            InputError: the image isn't one or can't be read; or the file doesn't say how pixels are
                normalised.
        """
        import numpy as np

        x = self._input(image)[None]
        pixels_as_they_are = x.dtype == np.uint8
        outputs = self._model.run(x, own_types=True)[0] if pixels_as_they_are else self.predict(x)
        outputs = outputs[0].reshape(-1)
        require(
            bool(np.isfinite(outputs).all()), f"{self._model.path} gives outputs that aren't finite"
        )
        if not self._scores:
            return outputs
        powers = np.exp(outputs - outputs.max())
        return powers / powers.sum()

    def predict(self, x: Any) -> Any:
        """Computes the outputs for arrays as the Keras model takes them: see `LiteModel.predict`.

        Args:
            x: images, normalised: (n, height, width, channels).

        Returns:
            The file's own outputs, probabilities or scores: (n, classes).
        """
        return self._model.predict(x)

    def _input(self, image: Any) -> np.ndarray:
        """Turns an image into real numbers, as the Keras model takes it, or into bytes."""
        import numpy as np

        if isinstance(image, np.ndarray) and np.issubdtype(image.dtype, np.floating):
            require(
                image.shape == self.image_shape,
                f"a float array must have the file's shape {self.image_shape} and be normalised; "
                f"got {image.shape}",
            )
            return image
        values = pixels(image, *self.image_shape)
        if self._model.input_dtype == "uint8":  # Such files take pixels as they are.
            return values
        values = values.astype(np.float32)
        if self.metadata is None or not self.metadata.mean:
            raise InputError(
                f"{self._model.path} doesn't say how pixels are normalised: give a float array of "
                f"shape {self.image_shape}, normalised as in training, or export with metadata="
            )
        mean = np.asarray(self.metadata.mean, np.float32)
        std = np.asarray(self.metadata.std, np.float32)
        normalised: np.ndarray = (values - mean) / std
        return normalised


@overload
def load(
    path: str | os.PathLike[str],
    *,
    arrays: Literal[True],
    check: bool = True,
    threads: int = 1,
    signature: str | None = None,
    timeout_s: float = process.CHECK_SECONDS,
) -> LiteModel: ...


@overload
def load(
    path: str | os.PathLike[str],
    *,
    arrays: Literal[False],
    check: bool = True,
    threads: int = 1,
    signature: str | None = None,
    timeout_s: float = process.CHECK_SECONDS,
) -> Predictor: ...


@overload
def load(
    path: str | os.PathLike[str],
    *,
    arrays: bool | None = None,
    check: bool = True,
    threads: int = 1,
    signature: str | None = None,
    timeout_s: float = process.CHECK_SECONDS,
) -> Predictor | LiteModel: ...


def load(
    path: str | os.PathLike[str],
    *,
    arrays: bool | None = None,
    check: bool = True,
    threads: int = 1,
    signature: str | None = None,
    timeout_s: float = process.CHECK_SECONDS,
) -> Predictor | LiteModel:
    """Loads a model of any kind, to be called without Keras or TensorFlow.

    Args:
        path: of the `.tflite`.
        arrays: whether it takes and gives arrays: `LiteModel`. False for images and labels:
            `Predictor`. None for images if the file classifies them, that is if it takes one image
            and gives one row of scores, else for arrays.
        check: whether the file is first loaded and run once in a process of its own, so that one
            that is corrupt or made to harm crashes or hangs there, and one that takes more than
            512 MiB and 32 times its size is refused. That takes 0.2 seconds and the time of one
            load and one inference; leave it out for your own files.
        threads: CPU threads of one inference.
        signature: which signature to run, such as `serving_default`, where the file has several;
            None for the fastest that runs here.
        timeout_s: seconds that the check may take.

    Returns:
        A `Predictor`, called with an image, or a `LiteModel`, called with an array, or with a
        dictionary by the inputs' names where there are several. Both have `predict`, arrays in and
        arrays out.

    Raises:
        InputError: the file is missing, isn't a `.tflite` file, is cut short or corrupt, crashes,
            hangs or takes too much memory, needs ops that the runtime lacks, has no such
            signature, or isn't an image classifier where `arrays` is False.
    """
    values = {"arrays": arrays, "threads": threads, "signature": signature, "timeout_s": timeout_s}
    check_types(load, values)
    if check:
        error = process.check(path, signature=signature, timeout_s=timeout_s, to_load=True)
        require(error is None, f"{path} can't be run by this LiteRT: {error}")
    file_metadata = metadata.read(path)
    file_content = content.read(path)
    model = LiteModel(path, threads=threads, signature=signature)
    probabilities = gives_probabilities(file_content)
    if arrays is None:
        arrays = _no_classifier(model) is not None or (
            # One number that is no probability has no softmax either.
            math.prod(model.output_shape) == 1 and not probabilities
        )
    if arrays:
        return model
    return Predictor(model, file_metadata, probabilities=probabilities)


def _no_classifier(model: LiteModel) -> str | None:
    """Returns why a file doesn't classify images, as a text that follows its path."""
    if len(model.inputs) > 1 or len(model.outputs) > 1:
        return (
            f"has {len(model.inputs)} inputs and {len(model.outputs)} outputs; a classifier has 1 "
            "and 1"
        )
    shape, outputs = model.input_shape[1:], model.output_shape[1:]
    if len(shape) != 3 or shape[2] not in (1, 3) or min(shape) < 1:
        return f"takes inputs of shape {shape}, which is no image (height, width, 1 or 3 channels)"
    if math.prod(outputs) != max(outputs, default=0):
        return f"gives outputs of shape {outputs}; a classifier gives one score a class"
    return None


def gives_probabilities(file: FileContent) -> bool:
    """Tells whether the first output comes from a softmax or a sigmoid."""
    producers = {out: op for op in file.ops for out in op.outputs}
    tensor = file.outputs[0] if file.outputs else None
    while tensor is not None and tensor in producers:
        op = producers.pop(tensor)
        if op.name not in _UNCHANGED:
            return op.name in _PROBABILITIES
        tensor = op.inputs[0] if op.inputs else None
    return False
