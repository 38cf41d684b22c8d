"""Holds what several builders share: scaled channels, dropout, the conv-BN-ReLU block."""

from __future__ import annotations

from typing import Any

from tfcompress.deferred import keras
from tfcompress.errors import require


def scaled(channels: int, width: float) -> int:
    """Returns `channels * width`, rounded to a multiple of 8 (at least 8) unless `width` is 1.

    Multiples of 8 keep every kernel's vector lanes full.

    >>> scaled(96, 1.0), scaled(96, 0.5), scaled(32, 0.1)
    (96, 48, 8)
    """
    require(0 < width < float("inf"), f"width must be a positive number; got {width}")
    if width == 1:
        return channels
    return max(8, 8 * round(channels * width / 8))


def drop(x: Any, rate: float, name: str) -> Any:
    """Applies a dropout layer; refuses a rate outside of [0, 1)."""
    require(0 <= rate < 1, f"dropout must be in [0, 1); got {rate}")
    return keras.layers.Dropout(rate, name=name)(x)


def conv_bn_relu(
    x: Any, filters: int, kernel_size: int | tuple[int, int], name: str, **options: Any
) -> Any:
    """Applies convolution, batch normalisation and ReLU, each as a layer of its own."""
    x = keras.layers.Conv2D(filters, kernel_size, name=name, **options)(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
