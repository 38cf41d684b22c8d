"""Builds the larger residual network of MLPerf Tiny's image classification."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.models.blocks import scaled
from tfcompress.models.resnet8 import residual_network

NATIVE_SIZE = 32

# Filters of the three stages.
_FILTERS = (40, 80, 160)


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: float = 1.0,
) -> keras.Model:
    """Builds `resnet8` with 40, 80 and 160 filters in place of 16, 32 and 64.

    The benchmark's reference model since version 1.4, with logits as output. At 32x32x3 with 10
    classes: 481,530 parameters (482,730 with batch normalisation's moving statistics) and
    76,473,920 MACs. Inputs are those of `resnet8`: pixels from 0 to 255.

    Args:
        input_shape: (height, width, channels).
        num_classes: units of the last layer.
        width: scales all channels.

    Reference:
        Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597, section 4; the model stands
        in github.com/mlcommons/tiny.
    """
    filters = [scaled(count, width) for count in _FILTERS]
    return residual_network(input_shape, num_classes, filters, name="resnet8_large")
