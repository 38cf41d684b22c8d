"""Builds the default network: four convolutions and one dense layer for small images."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, drop, scaled

NATIVE_SIZE = 32


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.3,
) -> keras.Model:
    """Builds 32, 64, 128 and 128 3x3 filters, each with BN, ReLU, 2x2 pool; dropout; dense.

    At 32x32x3 with 10 classes: 246,314 parameters (247,018 with batch normalisation's moving
    statistics) and 12,686,336 MACs. A VGG in shape (Simonyan and Zisserman 2014,
    arXiv:1409.1556), small enough to train in under a minute on two cores.

    Args:
        input_shape: (height, width, channels), at least 16x16.
        num_classes: units of the last layer.
        width: scales all channels.
        dropout: share of the features dropped before the dense layer.
    """
    x = inputs = keras.Input(input_shape, name="image")
    for number, filters in enumerate((32, 64, 128, 128), start=1):
        x = conv_bn_relu(
            x, scaled(filters, width), 3, f"conv{number}", padding="same", use_bias=False
        )
        x = keras.layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = drop(x, dropout, "dropout")
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="vgg_small")
