"""Builds Network in Network for CIFAR-10, with BN."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, drop, scaled

NATIVE_SIZE = 32

# Filters and kernel sizes of the three mlpconv blocks; the classes' convolution ends the last.
_BLOCKS = (((192, 5), (160, 1), (96, 1)), ((192, 5), (192, 1), (192, 1)), ((192, 3), (192, 1)))


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.5,
) -> keras.Model:
    """Builds three blocks of one spatial and two 1x1 convolutions, then a global mean.

    At 32x32x3 with 10 classes: 969,802 parameters (966,986 without batch normalisation's, as the
    paper has it) and 222,486,528 MACs. The paper's network has no batch normalisation; the one
    here is what public XNOR-Net code for CIFAR-10 starts from, with its order for a float network:
    convolution, BN, ReLU. That code's dropout stands before the second and third block, as the
    paper's does. Its poolings (maximum after the first block, mean after the second) are the
    widely used configuration's: the paper says maximum, and its text doesn't give their size.

    Args:
        input_shape: (height, width, channels), of any size.
        num_classes: filters of the last convolution.
        width: scales all channels.
        dropout: share of the features dropped after the first and second block.

    Reference:
        Lin, Chen, Yan 2013, "Network In Network", arXiv:1312.4400, sections 3 and 4.2; Rastegari
        et al. 2016, "XNOR-Net", arXiv:1603.05279.
    """
    x = inputs = keras.Input(input_shape, name="image")
    for block, convs in enumerate(_BLOCKS, start=1):
        for number, (filters, kernel_size) in enumerate(convs, start=1):
            name = f"block{block}_conv{number}"
            x = conv_bn_relu(x, scaled(filters, width), kernel_size, name, padding="same")
        if block < len(_BLOCKS):
            pool = keras.layers.MaxPooling2D if block == 1 else keras.layers.AveragePooling2D
            x = pool(3, 2, padding="same", name=f"block{block}_pool")(x)
            x = drop(x, dropout, f"block{block}_dropout")
    x = keras.layers.Conv2D(num_classes, 1, activation="relu", name="block3_conv3")(x)
    outputs = keras.layers.GlobalAveragePooling2D(name="logits")(x)
    return keras.Model(inputs, outputs, name="nin")
