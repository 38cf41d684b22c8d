"""Builds VGG-S with batch normalisation, as the 2017 study of compression methods ran it."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, drop, scaled

NATIVE_SIZE = 224


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.5,
) -> keras.Model:
    """Builds five convolutions with BN and ReLU, three pools, two dense layers of 4048, a last one.

    At 224x224x3 with 8 classes: 97,571,944 parameters (372.2 MiB of float32). The poolings round
    sizes up (Keras's `same`, which at 224x224 equals the original's ceil mode).

    Args:
        input_shape: (height, width, channels), at least 17x17.
        num_classes: units of the last layer.
        width: scales all channels and hidden units.
        dropout: share of the hidden units dropped.

    Reference:
        Chatfield et al. 2014, "Return of the Devil in the Details", arXiv:1405.3531, table 1;
        Rassadin and Savchenko 2017, whose variant has 4048 units and BN.
    """
    x = inputs = keras.Input(input_shape, name="image")
    x = keras.layers.ZeroPadding2D(1, name="pad1")(x)
    x = conv_bn_relu(x, scaled(96, width), 7, "conv1", strides=2)
    x = keras.layers.MaxPooling2D(3, 3, padding="same", name="pool1")(x)
    x = keras.layers.ZeroPadding2D(1, name="pad2")(x)
    x = conv_bn_relu(x, scaled(256, width), 5, "conv2")
    x = keras.layers.MaxPooling2D(2, 2, padding="same", name="pool2")(x)
    for number in (3, 4, 5):
        x = conv_bn_relu(x, scaled(512, width), 3, f"conv{number}", padding="same")
    x = keras.layers.MaxPooling2D(3, 3, padding="same", name="pool5")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for number in (6, 7):
        x = keras.layers.Dense(scaled(4048, width), activation="relu", name=f"fc{number}")(x)
        x = drop(x, dropout, f"dropout{number}")
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="vgg_s")
