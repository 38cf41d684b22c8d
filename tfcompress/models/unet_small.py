"""Builds a thin U-Net, which gives a class for each pixel."""

from __future__ import annotations

from typing import Any

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, drop, scaled

NATIVE_SIZE = 128

# Filters of each step down; the last is the bottom.
_FILTERS = (16, 32, 64, 128)


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.1,
) -> keras.Model:
    """Builds three steps down and three up, two 3x3 convolutions each, joined across.

    The paper's network with a quarter of its filters, one step less, batch normalisation, and
    convolutions that keep the size, so that the output has that of the input. At 128x128x3 with 2
    classes: 482,754 parameters and 580,124,672 MACs.

    Args:
        input_shape: (height, width, channels).
        num_classes: classes of a pixel.
        width: scales all channels.
        dropout: share of the features dropped at the bottom.

    Returns:
        A model from (batch, height, width, channels) to logits (batch, height, width,
        num_classes).

    Reference:
        Ronneberger et al. 2015, "U-Net", arXiv:1505.04597, section 2.
    """
    x = inputs = keras.Input(input_shape, name="image")
    *steps, bottom = (scaled(filters, width) for filters in _FILTERS)
    across = []
    for number, filters in enumerate(steps, start=1):
        x = _two_convolutions(x, filters, f"down{number}")
        across.append(x)
        # An odd side is rounded up, and what is too much is cut on the way up.
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"down{number}_pool")(x)
    x = _two_convolutions(x, bottom, "bottom")
    x = drop(x, dropout, "dropout")
    for number, filters in reversed(list(enumerate(steps, start=1))):
        name = f"up{number}"
        x = keras.layers.Conv2DTranspose(filters, 2, strides=2, name=name)(x)
        x = _cropped(x, across[number - 1].shape, f"{name}_crop")
        x = keras.layers.Concatenate(name=f"{name}_join")([across[number - 1], x])
        x = _two_convolutions(x, filters, name)
    outputs = keras.layers.Conv2D(num_classes, 1, name="logits")(x)
    return keras.Model(inputs, outputs, name="unet_small")


def _two_convolutions(x: Any, filters: int, name: str) -> Any:
    """Applies two 3x3 convolutions with batch normalisation and ReLU."""
    for number in (1, 2):
        x = conv_bn_relu(x, filters, 3, f"{name}_conv{number}", padding="same", use_bias=False)
    return x


def _cropped(x: Any, shape: tuple[int, ...], name: str) -> Any:
    """Cuts rows and columns at the end that the other half of a join lacks."""
    rows, columns = (x.shape[axis] - shape[axis] for axis in (1, 2))
    if not (rows or columns):
        return x
    return keras.layers.Cropping2D(((0, rows), (0, columns)), name=name)(x)
