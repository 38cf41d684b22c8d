"""Builds VGG-16 for CIFAR-10: thirteen 3x3 convolutions with BN and one dense layer."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, scaled

NATIVE_SIZE = 32

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build(
    input_shape: tuple[int, int, int], num_classes: int, *, width: float = 1.0
) -> keras.Model:
    """Builds the 13 convolutions of VGG-16 with BN and ReLU, five pools, and a dense layer.

    At 32x32x3 with 10 classes: 14,728,266 parameters and 313,201,664 MACs.

    Args:
        input_shape: (height, width, channels), at least 32x32.
        num_classes: units of the last layer.
        width: scales all channels.

    Reference:
        Simonyan and Zisserman 2014, arXiv:1409.1556, table 1, configuration D, with one dense
        layer in place of three, as usual for CIFAR-10.
    """
    x = inputs = keras.Input(input_shape, name="image")
    for block, (filters, depth) in enumerate(_BLOCKS, start=1):
        for number in range(1, depth + 1):
            x = conv_bn_relu(
                x, scaled(filters, width), 3, f"block{block}_conv{number}", padding="same"
            )
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="vgg16")
