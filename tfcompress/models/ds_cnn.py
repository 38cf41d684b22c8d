"""Builds the depthwise separable network for keyword spotting."""

from __future__ import annotations

from typing import Any

from tfcompress.deferred import keras
from tfcompress.errors import require
from tfcompress.models.blocks import conv_bn_relu, drop, scaled

NATIVE_SIZE = 49


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
    blocks: int = 4,
    use_bias: bool = False,
    pool: tuple[int, ...] = (),
    first_dropout: float = 0.0,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds a 10x4 convolution, depthwise separable ones, a global mean and a dense layer.

    The paper's DS-CNN-S: 64 channels, strides of 2 in the first layer and 1 behind it. At its
    49x10x1 with 12 classes: 23,180 parameters (22,604 with batch normalisation folded into biases,
    which with two activations of 8,000 bytes are the paper's 38.6 KB) and 2,656,768 MACs (the
    paper: 5.4 M operations).

    The reference model of MLPerf Tiny's keyword spotting has these layers with `use_bias=True`,
    `pool=(24, 5)`, `first_dropout=0.2` and `dropout=0.4`: 23,756 parameters (24,908 with batch
    normalisation's moving statistics) and as many MACs. Its inputs are 10 mel-frequency cepstral
    coefficients of each of 49 frames, not normalised, and it drops features before the mean.

    Args:
        input_shape: (frames, bins, 1) of spectrograms, or any (height, width, channels).
        num_classes: units of the last layer.
        width: scales all channels.
        blocks: depthwise separable convolutions.
        use_bias: whether the convolutions have biases, which batch normalisation cancels.
        pool: height and width of the window whose mean is taken, as in (24, 5); by default the
            mean of everything. A row that no window fits in is left out.
        first_dropout: share of the features dropped behind the first convolution.
        dropout: share of the features dropped before the dense layer.

    Raises:
        InputError: a window that isn't height and width, or is larger than what it slides over.

    Reference:
        Zhang et al. 2017, "Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128,
        its DS-CNN of the smallest size. Banbury et al. 2021, "MLPerf Tiny Benchmark",
        arXiv:2106.07597, section 4.
    """
    from tfcompress.layers import DepthwiseSeparable

    filters = scaled(64, width)
    x = inputs = keras.Input(input_shape, name="spectrogram")
    options = {"strides": 2, "padding": "same", "use_bias": use_bias}
    x = conv_bn_relu(x, filters, (10, 4), "conv1", **options)
    if first_dropout:
        x = drop(x, first_dropout, "conv1_dropout")
    for number in range(2, blocks + 2):
        x = DepthwiseSeparable(filters, 3, use_bias=use_bias, name=f"conv{number}")(x)
    x = _mean(x, tuple(pool))
    x = drop(x, dropout, "dropout")
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="ds_cnn")


def _mean(x: Any, window: tuple[int, ...]) -> Any:
    """Takes the mean of everything, or of each place of a window, side by side."""
    if not window:
        return keras.layers.GlobalAveragePooling2D(name="pool")(x)
    size = x.shape[1:3]
    fits = len(window) == 2 and all(
        1 <= side <= whole for side, whole in zip(window, size, strict=True)
    )
    require(fits, f"pool must be height and width of a window of at most {size}; got {window}")
    x = keras.layers.AveragePooling2D(window, name="pool")(x)
    return keras.layers.Flatten(name="flatten")(x)
