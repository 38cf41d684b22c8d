"""Builds compact VGG-16 for CIFAR-10: all but the first convolution depthwise separable."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, scaled

NATIVE_SIZE = 32

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build(
    input_shape: tuple[int, int, int], num_classes: int, *, width: float = 1.0
) -> keras.Model:
    """Builds VGG-16 with convolutions 2 to 13 depthwise and pointwise, BN and ReLU after both.

    At 32x32x3 with 10 classes: 1,698,378 parameters, gamma and beta of batch normalisation
    included, and 38,018,048 MACs. Both parts of a convolution have biases, though batch
    normalisation cancels them, since the publication counts them. Its second convolution
    has 4,800 parameters that way (9*64 + 64 depthwise, 64*64 + 64 pointwise; 256 more in the two
    batch normalisations) and 4,784,128 MACs.

    Args:
        input_shape: (height, width, channels), at least 32x32.
        num_classes: units of the last layer.
        width: scales all channels.

    Reference:
        Lagrange and Pedersoli, compact VGG-16 for CIFAR-10; after Howard et al. 2017, "MobileNets",
        arXiv:1704.04861, section 3.1.
    """
    from tfcompress.layers import DepthwiseSeparable

    x = inputs = keras.Input(input_shape, name="image")
    for block, (filters, depth) in enumerate(_BLOCKS, start=1):
        for number in range(1, depth + 1):
            name = f"block{block}_conv{number}"
            if (block, number) == (1, 1):
                x = conv_bn_relu(x, scaled(filters, width), 3, name, padding="same")
            else:
                x = DepthwiseSeparable(scaled(filters, width), 3, use_bias=True, name=name)(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="compact_vgg16")
