"""Reads batch normalisation as what it does at inference: a factor and an addend a channel."""

from __future__ import annotations

import keras
import numpy as np


def scale_and_offset(layer: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scale and offset of a batch normalisation at inference.

    ```
    scale    gamma / sqrt(moving_variance + epsilon)
    offset   beta - moving_mean * scale
    ```

    so that the layer computes `scale * x + offset`.

    Args:
        layer: a built batch normalisation; one without gamma counts as gamma = 1, one without
            beta as beta = 0.

    Returns:
        Two float64 arrays of shape (channels,).
    """

    def values(weight: object) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(weight), "float64")

    scale = 1 / np.sqrt(values(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * values(layer.gamma)
    offset = -values(layer.moving_mean) * scale
    if layer.center:
        offset = offset + values(layer.beta)
    return scale, offset
