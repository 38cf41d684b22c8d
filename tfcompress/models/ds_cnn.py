"""Builds the depthwise separable network for keyword spotting."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, drop, scaled

NATIVE_SIZE = 49


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    blocks: int = 4,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds a 10x4 convolution, depthwise separable ones, a global mean and a dense layer.

    The paper's DS-CNN-S: 64 channels, strides of 2 in the first layer and 1 behind it. At its
    49x10x1 with 12 classes: 23,180 parameters (22,604 with batch normalisation folded into biases,
    which with two activations of 8,000 bytes are the paper's 38.6 KB) and 2,656,768 MACs (the
    paper: 5.4 M operations). No convolution has a bias.

    Args:
        input_shape: (frames, bins, 1) of spectrograms, or any (height, width, channels).
        num_classes: units of the last layer.
        width: scales all channels.
        blocks: depthwise separable convolutions.
        dropout: share of the features dropped before the dense layer.

    Reference:
        Zhang et al. 2017, "Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128,
        its DS-CNN of the smallest size.
    """
    from tfcompress.layers import DepthwiseSeparable

    filters = scaled(64, width)
    x = inputs = keras.Input(input_shape, name="spectrogram")
    options = {"strides": 2, "padding": "same", "use_bias": False}
    x = conv_bn_relu(x, filters, (10, 4), "conv1", **options)
    for number in range(2, blocks + 2):
        x = DepthwiseSeparable(filters, 3, name=f"conv{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = drop(x, dropout, "dropout")
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="ds_cnn")
