"""Builds Tiny Darknet: alternating 1x1 and 3x3 convolutions."""

from __future__ import annotations

from typing import Any

from tfcompress.deferred import keras
from tfcompress.models.blocks import scaled

NATIVE_SIZE = 224

# Filters and kernel sizes between the poolings.
_STAGES = (
    ((16, 3),),
    ((32, 3),),
    ((16, 1), (128, 3), (16, 1), (128, 3)),
    ((32, 1), (256, 3), (32, 1), (256, 3)),
    ((64, 1), (512, 3), (64, 1), (512, 3), (128, 1)),
)


def _conv(x: Any, filters: int, kernel_size: int, name: str) -> Any:
    """Applies convolution, BN, leaky ReLU."""
    x = keras.layers.Conv2D(filters, kernel_size, padding="same", use_bias=False, name=name)(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.LeakyReLU(negative_slope=0.1, name=f"{name}_leaky")(x)


def build(
    input_shape: tuple[int, int, int], num_classes: int, *, width: float = 1.0
) -> keras.Model:
    """Builds fifteen convolutions with BN and leaky ReLU, a 1x1 one to the classes, a mean.

    At 224x224x3 with 1000 classes: 1,042,104 parameters, or 4.0 MiB of float32, the size that the
    authors publish, and 491,524,096 MACs (their page counts operations, two for each). Batch
    normalisation's epsilon is Keras's; the original's source has another one.

    Args:
        input_shape: (height, width, channels), at least 16x16.
        num_classes: filters of the last convolution.
        width: scales all channels.

    Reference:
        Redmon 2016, "Tiny Darknet", pjreddie.com/darknet/tiny-darknet, and its configuration
        tiny.cfg; no paper.
    """
    x = inputs = keras.Input(input_shape, name="image")
    number = 0
    for stage, convs in enumerate(_STAGES, start=1):
        for filters, kernel_size in convs:
            number += 1
            x = _conv(x, scaled(filters, width), kernel_size, f"conv{number}")
        if stage < len(_STAGES):
            x = keras.layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    x = keras.layers.Conv2D(num_classes, 1, name=f"conv{number + 1}")(x)
    outputs = keras.layers.GlobalAveragePooling2D(name="logits")(x)
    return keras.Model(inputs, outputs, name="tiny_darknet")
