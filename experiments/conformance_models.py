"""The networks of `conformance.py`, small, and the same with every version of Keras.

Their weights and inputs are drawn by NumPy, whose generators' numbers don't change; batch
normalisations have the statistics of these inputs, and the last layer is fitted to the targets by
least squares. So nothing is trained, and answers aren't decided by a hair.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from user_models import (
    CLASSES,
    Examples,
    draw_pictures,
    fit_last_layer,
    scores_of,
    settle_batch_norms,
)

from tfcompress import models

# Three labels of these that change are more than 0.2 points.
ROWS = 1000
# Less than in `user_models`: features of networks without batch normalisation vary little.
RIDGE = 1e-3
# What is added to all scores, so that most are positive before a ReLU.
LIFT = 16.0
Draw = Callable[[np.random.Generator], Examples]


@dataclasses.dataclass(frozen=True)
class Network:
    """How a network and its data are made.

    Attributes:
        build: makes the network; its weights are drawn anew.
        draw: inputs and targets.
        classes: whether it scores classes.
    """

    build: Callable[[], keras.Model]
    draw: Draw
    classes: bool = True

    def make(self) -> tuple[keras.Model, Examples]:
        """Returns the network and its data."""
        model = self.build()
        # By the name, so that another network in the list changes nothing of this one.
        random = np.random.default_rng(zlib.crc32(model.name.encode()))
        examples = self.draw(random)
        _draw_weights(model, random)
        rates = {layer: layer.rate for layer in _innermost(model) if hasattr(layer, "rate")}
        for layer in rates:
            layer.rate = 0.0  # Keras's own random numbers would decide.
        settle_batch_norms(model, examples.x, random)
        for layer, rate in rates.items():
            layer.rate = rate
        # Positive ones, for those that end in a ReLU.
        wanted = scores_of(examples.y) + LIFT if self.classes else examples.y
        fit_last_layer(model, examples.x, wanted, RIDGE)
        return model, examples


def _draw_weights(model: keras.Model, random: np.random.Generator) -> None:
    """Draws kernels as He et al. 2015 do (arXiv:1502.01852, section 2.2), and small biases."""
    for layer in _innermost(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(random.uniform(0.8, 1.2, layer.gamma.shape))
            layer.beta.assign(0.1 * random.standard_normal(layer.beta.shape))
            continue
        for variable in layer.trainable_weights:
            shape = tuple(variable.shape)
            spread = 0.1
            if len(shape) > 1:
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                spread = (2 / np.prod(shape[:2] if depthwise else shape[:-1])) ** 0.5
            variable.assign(spread * random.standard_normal(shape))


def _innermost(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers that hold no other ones."""
    every = model._flatten_layers(include_self=False)
    return [layer for layer in every if len(list(layer._flatten_layers())) == 1]


def _images(side: int, low: float = -2.0, high: float = 2.0) -> Draw:
    def draw(random: np.random.Generator) -> Examples:
        drawn, kinds, _ = draw_pictures(random, side, count=ROWS)
        return Examples(low + (high - low) * drawn, kinds)

    return draw


def _spectra(random: np.random.Generator) -> Examples:
    """Draws pictures as narrow as spectra of speech: 49 by 10, of one channel."""
    drawn, kinds, _ = draw_pictures(random, 50, 1, count=ROWS)
    return Examples(4 * drawn[:, :49, ::5] - 2, kinds)


def _masks(random: np.random.Generator) -> Examples:
    """Draws pictures and the class of each pixel: in the disc's colours or not, of two kinds."""
    drawn, kinds, _ = draw_pictures(random, 16, count=ROWS)
    return Examples(4 * drawn - 2, 2 * (kinds % 2)[:, None, None] + (drawn.mean(-1) > 0.4))


def _table(random: np.random.Generator) -> Examples:
    rows = random.standard_normal((ROWS, 30)).astype("float32")
    return Examples(rows, np.tanh(rows[:, :1]) + rows[:, 1:2])


def _waves(random: np.random.Generator) -> Examples:
    """Draws sums of a few waves, which are to come out as they went in."""
    basis = np.sin(np.outer(np.arange(1, 7), np.linspace(0, np.pi, 64)))
    rows = (random.standard_normal((ROWS, 6)) @ basis).astype("float32")
    return Examples(rows, rows)


def _builder(name: str, shape: tuple[int, ...], outputs: int = CLASSES, **options: Any) -> Any:
    return functools.partial(models.build, name, shape, outputs, **options)


def _application(name: str, side: int, **options: Any) -> Any:
    def build() -> keras.Model:
        make = getattr(keras.applications, name)
        return make(weights=None, input_shape=(side, side, 3), classes=CLASSES, **options)

    return build


_IMAGE = (32, 32, 3)
NETWORKS: Mapping[str, Network] = {
    "vgg_small": Network(_builder("vgg_small", _IMAGE, width=0.25), _images(32)),
    "ds_cnn": Network(_builder("ds_cnn", (49, 10, 1), width=0.5), _spectra),
    "resnet8": Network(_builder("resnet8", _IMAGE, width=0.5), _images(32)),
    "toy_autoencoder": Network(
        _builder("toy_autoencoder", (64,), 64, width=0.25), _waves, classes=False
    ),
    "mlp": Network(_builder("mlp", (30,), 1, width=0.5), _table, classes=False),
    "unet_small": Network(_builder("unet_small", (16, 16, 3), width=0.5), _masks),
    "nin": Network(_builder("nin", _IMAGE, width=0.125), _images(32)),
    "squeezenet": Network(_builder("squeezenet", (64, 64, 3), width=0.25), _images(64)),
    "tiny_darknet": Network(_builder("tiny_darknet", (64, 64, 3), width=0.25), _images(64)),
    "compact_vgg16": Network(_builder("compact_vgg16", _IMAGE, width=0.125), _images(32)),
    "mobilenet_v1": Network(_builder("mobilenet_v1", _IMAGE, width=0.25), _images(32)),
    "mobilenet_v2": Network(_application("MobileNetV2", 32, alpha=0.35), _images(32, -1, 1)),
    "mobilenet_v3": Network(_application("MobileNetV3Small", 32), _images(32, 0, 255)),
    "efficientnet": Network(_application("EfficientNetV2B0", 32), _images(32, 0, 255)),
}
