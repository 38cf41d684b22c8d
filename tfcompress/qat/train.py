"""Quantization-aware training: takes a Keras 3 model through TFMOT and back."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfcompress.bridge import compare, train
from tfcompress.bridge.errors import BridgeError
from tfcompress.bridge.legacy import tf_keras
from tfcompress.bridge.tf_graph import outputs_of
from tfcompress.bridge.to_tf_keras import to_tf_keras
from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.errors import InputError, require
from tfcompress.ops.differences import relative_rms
from tfcompress.qat.annotate import annotate
from tfcompress.qat.calibrate import BATCH, Extremes, measured, ranges
from tfcompress.qat.layout import QuantSpec, layout
from tfcompress.qat.prepare import TOLERANCE
from tfcompress.qat.to_keras import to_fake_quantized
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.outputs import ends_in_softmax

PRESERVABLE = frozenset({"sparsity", "clusters"})
# Batch normalisation is folded in Keras 3 and isn't in tf_keras, so that sums end in other last
# bits. Where that moves a value across the border of two steps, deep networks make more of it.
_MAX_RELATIVE_RMS = 0.1


@dataclasses.dataclass
class QuantizedTraining:
    """Holds a prepared model on its way through TFMOT.

    Attributes:
        prepared: the Keras 3 model, as `qat.prepare.prepare` made it.
        specs: how each of its layers is quantised, by name.
        model: the tf_keras model in TFMOT's wrappers, which is trained.
    """

    prepared: keras.Model
    specs: dict[str, QuantSpec]
    model: Any

    def finish(self, images: np.ndarray | None = None) -> keras.Model:
        """Returns the Keras 3 model with the rounded weights and `FakeQuantize` layers.

        The weights' ranges are those of the weights as the last step left them.

        Args:
            images: (images, ...) on the first of which it is compared with the tf_keras model;
                None compares nothing.

        Raises:
            BridgeError: they differ by more than values at the border of two steps explain.
        """
        refresh_weight_ranges(self.model)
        result = to_fake_quantized(self.prepared, self.specs, self.model)
        if images is not None:
            _check_copy(self.model, result, images[:BATCH])
        return result


def fit(
    prepared: keras.Model,
    data: Data,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
    *,
    preserve: frozenset[str] = frozenset(),
    calibration: np.ndarray,
) -> tuple[keras.Model, list[Row]]:
    """Trains a prepared model with its weights and activations rounded to 8 bits.

    Args:
        prepared: as `qat.prepare.prepare` made it.
        data: as in `training.fit`.
        training: epochs, optimizer and rates; 0 epochs only calibrate.
        context: as in `training.fit`.
        preserve: of `sparsity` (zeros stay zeros) and `clusters` (equal weights stay equal).
        calibration: images from which the activations' ranges are taken before the first step.

    Returns:
        A Keras 3 model of built-in layers, whose kernels hold 8-bit values, with `FakeQuantize`
        layers between them; and one row an epoch.

    Raises:
        InputError: unknown words in `preserve`, or what `bridge.train.fit` refuses.
        BridgeError: as of `QuantizedTraining.finish`.
    """
    quantized = wrap_and_calibrate(prepared, preserve=preserve, calibration=calibration)
    return fit_wrapped(quantized, data, training, context, calibration=calibration)


def fit_wrapped(
    quantized: QuantizedTraining,
    data: Data,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
    *,
    calibration: np.ndarray,
) -> tuple[keras.Model, list[Row]]:
    """Trains what `wrap_and_calibrate` made; arguments, results and errors are those of `fit`."""
    softmax = ends_in_softmax(quantized.prepared)
    with _without_warnings():
        rows = train.fit(quantized.model, data, training, context, softmax=softmax)
    return quantized.finish(np.asarray(calibration, "float32")), rows


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Silences TensorFlow's warning of kernels without gradients: CQAT trains their centroids."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def wrap_and_calibrate(
    prepared: keras.Model,
    *,
    preserve: frozenset[str] = frozenset(),
    calibration: np.ndarray | None,
) -> QuantizedTraining:
    """Takes a prepared model to tf_keras, wraps its layers by TFMOT, and sets their ranges.

    Args:
        prepared: as `qat.prepare.prepare` made it.
        preserve: of `sparsity` and `clusters`.
        calibration: images from which the activations' ranges are taken; None leaves the ranges at
            TFMOT's +-6, from which they move by a thousandth a step.

    Raises:
        InputError: unknown words in `preserve`, or no images.
    """
    for word in sorted(preserve - PRESERVABLE):
        raise InputError(f"preserve takes sparsity and clusters; got '{word}'")
    specs = layout(prepared)
    float_model = to_tf_keras(prepared, tolerance=TOLERANCE)
    model = annotate(float_model, specs, preserve)
    if calibration is not None:
        require(len(calibration) > 0, "calibration needs at least one image")
        _calibrate(float_model, model, specs, np.asarray(calibration, "float32"))
    refresh_weight_ranges(model)
    return QuantizedTraining(prepared, specs, model)


def refresh_weight_ranges(model: Any) -> None:
    """Sets the range of every kernel from the kernel, as the next training step would."""
    for layer in model.layers:
        for weight, quantizer, variables in getattr(layer, "_weight_vars", ()):
            quantizer(weight, True, variables)


def _check_copy(model: Any, copy: keras.Model, images: np.ndarray) -> None:
    """Compares the trained tf_keras model with its Keras 3 copy.

    Raises:
        BridgeError: their outputs differ by more than `_MAX_RELATIVE_RMS`.
    """
    difference = relative_rms(
        _values(model(images, training=False)), _values(compare.keras_outputs(copy, images))
    )
    if not difference <= _MAX_RELATIVE_RMS:
        raise BridgeError(
            f"the Keras 3 copy of the quantised '{copy.name}' differs by {difference:.3g} of its "
            f"outputs' rms (allowed: {_MAX_RELATIVE_RMS:.3g}): give a model with sound weights"
        )


def _values(outputs: Any) -> np.ndarray:
    """Returns the values of all outputs in one dimension."""
    return np.concatenate([array.ravel() for array in compare.arrays(outputs)])


def _calibrate(
    float_model: Any, model: Any, specs: dict[str, QuantSpec], images: np.ndarray
) -> None:
    """Sets the activations' ranges to those of the float model, at inference."""
    wrappers = {layer.layer.name: layer for layer in model.layers if hasattr(layer, "layer")}
    extremes = _extremes(float_model, measured(specs), images)
    for name, (low, high) in ranges(specs, extremes).items():
        variables = wrappers[name]._output_quantizer_vars
        variables["min_var"].assign(low)
        variables["max_var"].assign(high)


def _extremes(model: Any, names: list[str], images: np.ndarray) -> dict[str, Extremes]:
    """Returns the lowest and highest values of layers' outputs, one of each for every batch.

    Args:
        model: of tf_keras.
        names: of its layers.
        images: (images, ...)
    """
    import tensorflow as tf

    calls = [(name, outputs) for name in names for outputs in outputs_of(model, name)]
    watched = tf_keras().Model(model.inputs, [outputs for _, outputs in calls])

    @tf.function(reduce_retracing=True, autograph=False)
    def extremes_of_batch(batch: Any) -> Any:
        values = watched(batch, training=False)
        values = values if isinstance(values, list | tuple) else [values]
        return [(tf.reduce_min(value), tf.reduce_max(value)) for value in values]

    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    extremes = np.array(  # (batches, calls, 2)
        [[[float(x) for x in pair] for pair in extremes_of_batch(batch)] for batch in batches]
    )
    result = {}
    for name in names:
        of_layer = extremes[:, [index for index, (owner, _) in enumerate(calls) if owner == name]]
        result[name] = of_layer[..., 0].min(1), of_layer[..., 1].max(1)
    return result
