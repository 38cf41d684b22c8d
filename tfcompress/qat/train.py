"""Quantization-aware training: a Keras 3 model through TFMOT and back."""

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
from tfcompress.bridge.to_tf_keras import keras_outputs, to_tf_keras
from tfcompress.config import Training
from tfcompress.data.dataset import Dataset
from tfcompress.errors import InputError, require
from tfcompress.graph.nodes import every_node
from tfcompress.qat.annotate import annotated
from tfcompress.qat.layout import QuantSpec, layout
from tfcompress.qat.prepare import TOLERANCE
from tfcompress.qat.to_keras import to_fake_quantized
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.outputs import ends_in_softmax

PRESERVABLE = frozenset({"sparsity", "clusters"})
_BATCH = 64
# Batch normalisation is folded in Keras 3 and isn't in tf_keras, so that sums end in other last
# bits; where that moves a value across the border of two steps, deep networks enlarge it: 0.055
# was measured with EfficientNetB0 after a few steps, 0.001 with small networks.
_MOST = 0.1
# An empty range would make the grid's step 0.
_SMALLEST = 1e-6


@dataclasses.dataclass
class QuantizedTraining:
    """A ready model on its way through TFMOT.

    Attributes:
        ready: the Keras 3 model, as `qat.prepare` made it.
        places: how each of its layers is quantised.
        model: the tf_keras model with TFMOT's wrappers.
    """

    ready: keras.Model
    places: dict[str, QuantSpec]
    model: Any

    def finish(self, images: np.ndarray | None = None) -> keras.Model:
        """The Keras 3 model with the rounded weights and `FakeQuantize` layers.

        The weights' ranges are those of the weights as the last step left them.

        Args:
            images: on which it is compared with the tf_keras model.

        Raises:
            BridgeError: they differ by more than values at the border of two steps explain.
        """
        refresh_weight_ranges(self.model)
        result = to_fake_quantized(self.ready, self.places, self.model)
        if images is not None:
            difference = relative_rms(self.model, result, images[:_BATCH])
            if not difference <= _MOST:
                raise BridgeError(
                    f"the Keras 3 copy of the quantised '{result.name}' differs by "
                    f"{difference:.3g} of its outputs' rms (allowed: {_MOST:.3g}): give a model "
                    "with sound weights"
                )
        return result


def fit(
    ready: keras.Model,
    data: Dataset,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
    *,
    preserve: frozenset[str] = frozenset(),
    calibration: np.ndarray,
) -> tuple[keras.Model, list[Row]]:
    """Trains a ready model with its weights and activations rounded to 8 bits.

    Args:
        ready: as `qat.prepare` made it.
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
    """
    prepared = wrap_and_calibrate(ready, preserve=preserve, calibration=calibration)
    softmax = ends_in_softmax(ready)
    with _without_warnings():
        rows = train.fit(prepared.model, data, training, context, softmax=softmax)
    return prepared.finish(np.asarray(calibration, "float32")), rows


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Without TensorFlow's warning of kernels without gradients: of CQAT, the centroids have."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def wrap_and_calibrate(
    ready: keras.Model, *, preserve: frozenset[str] = frozenset(), calibration: np.ndarray | None
) -> QuantizedTraining:
    """The ready model in tf_keras, wrapped by TFMOT and calibrated.

    Args:
        ready: as `qat.prepare` made it.
        preserve: of `sparsity` and `clusters`.
        calibration: images; None leaves the ranges at TFMOT's +-6, from which they move by a
            thousandth a step.
    """
    for word in sorted(preserve - PRESERVABLE):
        raise InputError(f"preserve takes sparsity and clusters; got '{word}'")
    places = layout(ready)
    legacy_model = to_tf_keras(ready, tolerance=TOLERANCE)
    model = annotated(legacy_model, places, preserve)
    if calibration is not None:
        require(len(calibration) > 0, "calibration needs at least one image")
        _calibrate(legacy_model, model, places, np.asarray(calibration, "float32"))
    refresh_weight_ranges(model)
    return QuantizedTraining(ready, places, model)


def relative_rms(model: Any, copy: keras.Model, images: np.ndarray) -> float:
    """The rms of the outputs' differences over the rms of the tf_keras model's outputs."""
    expected = compare.arrays(model(images, training=False))
    got = compare.arrays(keras_outputs(copy, images))
    square = sum(float(((a - b) ** 2).sum()) for a, b in zip(expected, got, strict=True))
    return float(np.sqrt(square / max(sum(float((a**2).sum()) for a in expected), 1e-12)))


def refresh_weight_ranges(model: Any) -> None:
    """Sets the range of every kernel from the kernel, as the next training step would."""
    for layer in model.layers:
        for weight, quantizer, variables in getattr(layer, "_weight_vars", ()):
            quantizer(weight, True, variables)


def _calibrate(
    legacy_model: Any, model: Any, places: dict[str, QuantSpec], images: np.ndarray
) -> None:
    """Sets the activations' ranges to those of the float model, at inference.

    They are means over batches of the batches' extremes, to which TFMOT's moving averages would
    come in some thousand steps; inputs get the extremes of all.
    """
    import tensorflow as tf

    wrapped = {layer.layer.name: layer for layer in model.layers if hasattr(layer, "layer")}
    names = [name for name, place in places.items() if place.output in ("range", "input")]
    calls = [(name, node.outputs) for name in names
             for node in _nodes(legacy_model, name)]  # fmt: skip
    watched = tf_keras().Model(legacy_model.inputs, [output for _, output in calls])

    @tf.function(reduce_retracing=True, autograph=False)
    def ends(batch: Any) -> Any:
        values = watched(batch, training=False)
        values = values if isinstance(values, list | tuple) else [values]
        return [(tf.reduce_min(value), tf.reduce_max(value)) for value in values]

    batches = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    found = np.array([[[float(x) for x in pair] for pair in ends(batch)] for batch in batches])
    for name in names:
        mine = [index for index, (owner, _) in enumerate(calls) if owner == name]
        low, high = found[:, mine, 0].min(1), found[:, mine, 1].max(1)
        inputs = places[name].output == "input"
        lowest = min(0.0, float(low.min() if inputs else low.mean()))
        highest = max(0.0, float(high.max() if inputs else high.mean()))
        variables = wrapped[name]._output_quantizer_vars
        variables["min_var"].assign(lowest)
        variables["max_var"].assign(max(highest, lowest + _SMALLEST))


def _nodes(model: Any, name: str) -> list[Any]:
    """The calls of a layer within a tf_keras model."""
    return [node for node in every_node(model) if node.layer.name == name]
