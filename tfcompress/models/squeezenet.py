"""Builds SqueezeNet 1.1."""

from __future__ import annotations

from typing import Any

from tfcompress.deferred import keras
from tfcompress.models.blocks import drop, scaled

NATIVE_SIZE = 224

# Squeeze filters and expand filters (of each kind) of fire2 to fire9; a pool stands before 4, 6.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def _fire(x: Any, squeeze: int, expand: int, name: str) -> Any:
    """Adds the parts of the layer `Fire` as layers of the network itself."""
    from tfcompress.layers.fire import fire, fire_parts

    def make(kind: type[keras.layers.Layer], *args: Any, **kwargs: Any) -> keras.layers.Layer:
        return kind(*args, **kwargs)

    return fire(x, fire_parts(squeeze, expand, expand, make, prefix=f"{name}_"))


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.5,
) -> keras.Model:
    """Builds a convolution, eight fire modules, a 1x1 convolution to the classes, a global mean.

    At 224x224x3 with 8 classes: 726,600 parameters (2.8 MiB of float32).

    Args:
        input_shape: (height, width, channels), at least 3x3.
        num_classes: filters of the last convolution.
        width: scales all channels.
        dropout: share of the features dropped before the last convolution.

    Reference:
        Iandola et al. 2016, "SqueezeNet", arXiv:1602.07360; version 1.1 of the authors'
        repository, which needs 2.4 times fewer operations.
    """
    x = inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(scaled(64, width), 3, strides=2, activation="relu", name="conv1")(x)
    x = keras.layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    for number, (squeeze, expand) in enumerate(_FIRES, start=2):
        if number in (4, 6):
            x = keras.layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number - 1}")(x)
        x = _fire(x, scaled(squeeze, width), scaled(expand, width), f"fire{number}")
    x = drop(x, dropout, "dropout")
    x = keras.layers.Conv2D(num_classes, 1, activation="relu", name="conv10")(x)
    outputs = keras.layers.GlobalAveragePooling2D(name="logits")(x)
    return keras.Model(inputs, outputs, name="squeezenet")
