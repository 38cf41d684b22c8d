"""Builds MobileNet, version 1."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import conv_bn_relu, drop, scaled

NATIVE_SIZE = 224

# Filters and strides of the depthwise separable convolutions.
_SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    use_bias: bool = False,
    dropout: float = 0.001,
) -> keras.Model:
    """Builds a convolution, 13 depthwise separable ones, a global mean and a dense layer.

    At 224x224x3 with 1000 classes: 4,231,976 parameters and 568,740,352 MACs at width 1; 470,072
    and 41 M at width 0.25. The paper's table gives its last block stride 2 and an unchanged size, a
    misprint; the stride here is 1, as in the authors' release, and the activation ReLU, as in the
    paper (the release has ReLU6).

    The reference model of MLPerf Tiny's visual wake words has these layers at 96x96x3 with 2
    classes, `width=0.25` and `use_bias=True`: 216,322 parameters (221,794 with batch
    normalisation's moving statistics) and 7,489,664 MACs. It was trained on pixels from 0 to 1.

    Args:
        input_shape: (height, width, channels), at least 32x32; the paper's resolution multiplier.
        num_classes: units of the last layer.
        width: the paper's width multiplier alpha, which scales all channels.
        use_bias: whether the convolutions have biases, which batch normalisation cancels.
        dropout: share of the features dropped before the last layer (the release's figure; the
            paper has none).

    Reference:
        Howard et al. 2017, "MobileNets", arXiv:1704.04861, section 3.2 and table 1.
        Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597, section 4.
    """
    from tfcompress.layers import DepthwiseSeparable

    x = inputs = keras.Input(input_shape, name="image")
    options = {"strides": 2, "padding": "same", "use_bias": use_bias}
    x = conv_bn_relu(x, scaled(32, width), 3, "conv1", **options)
    for number, (filters, strides) in enumerate(_SEPARABLE, start=2):
        block = DepthwiseSeparable(
            scaled(filters, width), 3, strides, use_bias=use_bias, name=f"conv{number}"
        )
        x = block(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = drop(x, dropout, "dropout")
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="mobilenet_v1")
