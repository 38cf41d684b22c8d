"""Holds what HashedConv2D and HashedDense share."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._builtin import add_bias_and_activate, with_weights
from tfcompress.layers._logical_kernel import LogicalKernel
from tfcompress.ops import hashing as hashes


class HashedWeights(LogicalKernel, abc.ABC):
    """Gives a built-in layer hashed weights: stands before it among the bases.

    The layer's `build` sets `positions`, which says where each stored weight stands.
    """

    _stored = "hashed weights"

    def __init__(
        self,
        *args: Any,
        compression_ratio: float,
        hashing: str,
        hash_seed: int,
        hash_bias: bool,
        gradient_scale: float | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        hashes.check_ratio(compression_ratio, hashing)
        if not isinstance(hash_seed, int) or not 0 <= hash_seed < 2**32:
            raise ValueError(
                "hash_seed must be a whole number in 0..2**32 - 1. Received: "
                f"hash_seed={hash_seed!r}"
            )
        if gradient_scale is not None and not 0 < gradient_scale < float("inf"):
            raise ValueError(
                "gradient_scale must be a positive number, or None. Received: "
                f"gradient_scale={gradient_scale}"
            )
        self.compression_ratio = float(compression_ratio)
        self.hashing = hashing
        self.hash_seed = hash_seed
        self.hash_bias = hash_bias
        self.gradient_scale = gradient_scale

    def _add_weights(self, logical_shape: tuple[int, ...], stored_shape: tuple[int, ...]) -> None:
        """Makes stored kernel and bias, with the variance that the logical ones would have."""
        self._logical_shape = logical_shape
        # Keras's own attribute: saving, loading and the property `kernel` read it.
        self._kernel = self.add_weight(
            name="kernel",
            shape=stored_shape,
            initializer=self._initial,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        units = logical_shape[-1]
        shape: tuple[int, ...] = (units,)
        if self.use_bias and self.hash_bias:
            self.bias_positions = hashes.ElementwiseHash(
                1, units, self.compression_ratio, self.hash_seed
            )
            shape = self.bias_positions.stored_shape
        self._add_bias(shape)

    def _trained(self, weights: Any) -> Any:
        """Returns stored weights with the gradient that training sees."""
        factor = self.gradient_scale or math.sqrt(self.compression_ratio)
        return hashes.scaled_gradient(weights, factor)

    @abc.abstractmethod
    def logical_kernel(self) -> Any:
        """Returns the kernel V, of the built-in layer's shape."""

    def logical_bias(self) -> Any:
        """Returns the bias, one value for each output channel; None if there is none."""
        if self.bias is None:
            return None
        if not self.hash_bias:
            return ops.convert_to_tensor(self.bias)
        return self.bias_positions.expand(self._trained(self.bias))[0]

    def project(self, kernel: np.ndarray, bias: np.ndarray | None = None) -> None:
        """Sets the stored weights whose logical ones are nearest to given ones (least squares).

        Args:
            kernel: of the built-in layer's shape.
            bias: one value for each output channel; None for zeros.
        """
        kernel = np.asarray(kernel)
        if isinstance(self.positions, hashes.ElementwiseHash):
            kernel = kernel.reshape(self.positions.shape)
        weights = [self.positions.project(kernel)]
        if self.use_bias:
            bias = np.zeros(kernel.shape[-1]) if bias is None else np.asarray(bias)
            weights.append(self.bias_positions.project(bias[None]) if self.hash_bias else bias)
        self.set_weights(weights)

    def lower(self, **_: Any) -> Callable[[Any], Any]:
        """Returns the same function in built-in Keras layers.

        `"permutation"` becomes `keras.ops` (a gather from the inputs and their negatives, reshapes,
        for images transposes) around one built-in layer of R outputs, so that a file holds the
        stored weights and the gather's positions. Where these together aren't fewer than the
        logical weights, and for `"elementwise"`, it becomes one layer that holds the expanded
        kernel.

        Returns:
            A function of a Keras tensor. For `"permutation"`, of the tensor's sizes at most the
            batch's may be unknown. The layer in it is made once: two calls share it.
        """
        if isinstance(self.positions, hashes.PermutationHash) and self._file_gains():
            built_in = self._built_in_layer(
                self.positions.stored_shape[1], activation=None, use_bias=False
            )
            return self._lowered(self.positions, with_weights(built_in, self.kernel))
        built_in = self._built_in_layer(
            self.positions.shape[1], activation=self.activation, use_bias=self.use_bias
        )
        return with_weights(built_in, self.logical_kernel(), self.logical_bias())

    def _file_gains(self) -> bool:
        """Returns whether stored weights and positions are fewer than the logical weights."""
        rows, columns = self.positions.shape
        taps = math.prod(self.kernel.shape[:-2])
        stored = math.prod(self.kernel.shape) + rows * self.positions.blocks
        return stored < taps * rows * columns

    def _lowered(
        self, positions: hashes.PermutationHash, built_in: keras.layers.Layer
    ) -> Callable[[Any], Any]:
        """Returns the function around the built-in layer that holds the stored weights."""
        bias = None if self.bias is None else ops.convert_to_numpy(self.logical_bias())
        # Places in [x, -x]: signs cost no constants and no multiplication of their own.
        places = hashes.signed_places(positions.orders, positions.signs).T.ravel()

        def apply(x: Any) -> Any:
            if not self._reshapes(x.shape):
                raise ValueError(
                    f"layer '{self.name}' can't be lowered: of its input's sizes only the batch's "
                    f"may be unknown. Received: input shape {tuple(x.shape)}"
                )
            x = ops.take(ops.concatenate([x, -x], axis=-1), places, axis=-1)
            x = self._each_block(x, built_in, positions.blocks)
            units = positions.shape[1]
            if x.shape[-1] > units:  # The last block is cut.
                x = x[..., :units]
            return add_bias_and_activate(x, bias, self.activation)

        return apply

    @abc.abstractmethod
    def _built_in_layer(self, units: int, activation: Any, use_bias: bool) -> keras.layers.Layer:
        """Makes a built-in layer of the same form with so many outputs."""

    @abc.abstractmethod
    def _reshapes(self, shape: tuple[int | None, ...]) -> bool:
        """Returns whether enough of an input's sizes are known for `_each_block`."""

    @abc.abstractmethod
    def _each_block(self, x: Any, built_in: keras.layers.Layer, blocks: int) -> Any:
        """Returns the layer's outputs for each block of (..., blocks * inputs), side by side."""

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        names = ("compression_ratio", "hashing", "hash_seed", "hash_bias", "gradient_scale")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
