"""The pieces that the QAT-ready pass builds with: named layers, and affine maps as convolutions."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from tfcompress.bridge.built_in import free_name


class Maker:
    """Makes layers whose names are free, and remembers the arrays that they are to have.

    A layer that is called twice in a model is replaced by parts that are called twice as well:
    `once` keeps them.

    Args:
        taken: names in use.
    """

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self._made: dict[tuple[str, str], Any] = {}
        self._weights: list[tuple[Any, list[np.ndarray]]] = []

    def once(self, owner: str, part: str, kind: str, **config: Any) -> Any:
        """The part of an owner: made at the first call, the same one at later calls.

        Args:
            owner: name of the layer that it stands for.
            part: what it is called behind that name; empty for the owner's own name.
            kind: the class, of `keras.layers`.
            config: its arguments.
        """
        key = owner, part
        if key not in self._made:
            name = owner if not part else free_name(f"{owner}_{part}", self.taken)
            self.taken.add(name)
            self._made[key] = getattr(layers, kind)(name=name, **config)
        return self._made[key]

    def weights(self, layer: Any, *arrays: np.ndarray) -> None:
        """Gives a layer these weights, once it is built."""
        self._weights.append((layer, [np.asarray(array, "float32") for array in arrays]))

    def finish(self) -> None:
        """Puts the weights in place."""
        for layer, arrays in self._weights:
            layer.set_weights(arrays)

    def affine(self, owner: str, part: str, x: Any, scale: Any, offset: Any = 0.0) -> Any:
        """`scale * x + offset` for each channel (the last axis), as a 1x1 depthwise convolution.

        That is one integer op, while a product and a sum would be two and leave the value between
        them without a range. The one weight of a channel is held exactly by its own scale.
        """
        channels = int(x.shape[-1])
        kernel = np.broadcast_to(np.asarray(scale, "float32").reshape(-1), (channels,))
        bias = np.broadcast_to(np.asarray(offset, "float32").reshape(-1), (channels,))
        layer = self.once(owner, part, "DepthwiseConv2D", kernel_size=1)
        inner, back = x, None
        if len(x.shape) != 4:
            rest = tuple(x.shape)[1:-1]
            side = -1 if None in rest else math.prod(rest)
            inner = self.once(owner, f"{part}_in", "Reshape", target_shape=(side, 1, channels))(x)
            shape = tuple(-1 if size is None else size for size in tuple(x.shape)[1:])
            back = self.once(owner, f"{part}_out", "Reshape", target_shape=shape)
        result = layer(inner)
        self.weights(layer, kernel.reshape(1, 1, channels, 1), bias)
        return back(result) if back else result


def normalization(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of a batch normalisation at inference, one for each channel."""
    mean, variance = (np.asarray(keras.ops.convert_to_numpy(w), "float64")
                      for w in (layer.moving_mean, layer.moving_variance))  # fmt: skip
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * np.asarray(keras.ops.convert_to_numpy(layer.gamma), "float64")
    offset = -mean * scale
    if layer.center:
        offset = offset + np.asarray(keras.ops.convert_to_numpy(layer.beta), "float64")
    return scale, offset


def folded(
    kind: str, kernel: np.ndarray, bias: np.ndarray | None, scale: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a product that has `scale * x + offset` behind it, folded in.

    Args:
        kind: class name of the layer.
        kernel: its own.
        bias: its own, or None.
        scale: one for each of its channels.
        offset: likewise.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3.2, equation 14.
    """
    if kind == "Conv2DTranspose":  # (height, width, filters, channels)
        factors = scale[:, None]
    elif kind == "DepthwiseConv2D":  # (height, width, channels, multiplier)
        factors = scale.reshape(kernel.shape[2:])
    else:
        factors = scale
    own = np.zeros_like(scale) if bias is None else np.asarray(bias, "float64")
    return (kernel * factors).astype("float32"), (own * scale + offset).astype("float32")
