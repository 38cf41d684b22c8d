"""Builds the residual network of MLPerf Tiny's image classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, scaled

NATIVE_SIZE = 32

# Filters of the three stages.
_FILTERS = (16, 32, 64)


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
) -> keras.Model:
    """Builds a 3x3 convolution, three residual blocks, a mean over the image, a dense layer.

    The layers and parameters of the benchmark's reference model, which ends in a softmax: this one
    gives logits. At 32x32x3 with 10 classes: 78,186 parameters (78,666 with batch normalisation's
    moving statistics) and 12,501,632 MACs. It has biases in front of batch normalisation, as the
    reference has, and nothing that rescales its inputs: the reference was trained on pixels from 0
    to 255, which `--normalization=none` gives.

    Args:
        input_shape: (height, width, channels).
        num_classes: units of the last layer.
        width: scales all channels.

    Reference:
        Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597, section 4; its residual
        blocks are those of He et al. 2015, arXiv:1512.03385, with a convolution in the shortcut.
    """
    filters = [scaled(count, width) for count in _FILTERS]
    return residual_network(input_shape, num_classes, filters, name="resnet8")


def residual_network(
    input_shape: tuple[int, int, int], num_classes: int, filters: Sequence[int], *, name: str
) -> keras.Model:
    """Builds the network with other filters.

    Args:
        input_shape: (height, width, channels).
        num_classes: units of the last layer.
        filters: of each stage; from one to the next, height and width are halved.
        name: of the model.
    """
    x = inputs = keras.Input(input_shape, name="image")
    x = conv_bn_relu(x, filters[0], 3, "conv1", padding="same", **_he())
    for number, count in enumerate(filters, start=1):
        x = _residual_block(x, count, 1 if number == 1 else 2, f"block{number}")
    # The mean over the whole map, as the reference's pooling gives it of square images.
    x = keras.layers.AveragePooling2D(x.shape[1:3], name="pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    outputs = keras.layers.Dense(num_classes, name="logits", **_he())(x)
    return keras.Model(inputs, outputs, name=name)


def _residual_block(x: Any, filters: int, strides: int, name: str) -> Any:
    """Applies two 3x3 convolutions and adds what went in, convolved by 1x1 if strides are 2."""
    y = conv_bn_relu(x, filters, 3, f"{name}_conv1", strides=strides, padding="same", **_he())
    y = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2", **_he())(y)
    y = keras.layers.BatchNormalization(name=f"{name}_conv2_bn")(y)
    if strides > 1:
        options = {"strides": strides, "padding": "same", "name": f"{name}_shortcut"}
        x = keras.layers.Conv2D(filters, 1, **options, **_he())(x)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _he() -> dict[str, Any]:
    """Returns how the reference draws its kernels."""
    return {"kernel_initializer": "he_normal"}
