"""What the layers with hashed weights share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from tfcompress.ops import hashing as hashes


class HashedWeights:
    """Stands before a stock layer in the bases of one with hashed weights.

    The layer's `build` sets `positions`, which says where each stored weight stands.
    """

    def _set_hashing(
        self: Any,
        compression_ratio: float,
        hashing: str,
        hash_seed: int,
        hash_bias: bool,
        gradient_scale: float | None,
    ) -> None:
        """Keeps the arguments.

        Raises:
            ValueError: says what was received and what is expected.
        """
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
        if self.lora_rank:
            raise ValueError(
                "LoRA isn't available for layers with hashed weights. Received: "
                f"lora_rank={self.lora_rank}"
            )
        self.compression_ratio = float(compression_ratio)
        self.hashing = hashing
        self.hash_seed = hash_seed
        self.hash_bias = hash_bias
        self.gradient_scale = gradient_scale

    def _add_weights(
        self: Any, logical_shape: tuple[int, ...], stored_shape: tuple[int, ...]
    ) -> None:
        """Makes stored kernel and bias, with the variance that the logical ones would have."""

        def initial(shape: tuple[int, ...], dtype: Any = None) -> Any:
            # An initializer takes fans from the shape: it must be the logical one.
            values = self.kernel_initializer(logical_shape, dtype=dtype)
            return ops.reshape(ops.reshape(values, (-1,))[: math.prod(shape)], shape)

        # Keras's own attribute: saving, loading and the property `kernel` read it.
        self._kernel = self.add_weight(
            name="kernel",
            shape=stored_shape,
            initializer=initial,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if not self.use_bias:
            return
        units = logical_shape[-1]
        shape = (units,)
        if self.hash_bias:
            self.bias_positions = hashes.ElementwiseHash(
                1, units, self.compression_ratio, self.hash_seed
            )
            shape = self.bias_positions.stored_shape
        self.bias = self.add_weight(
            name="bias",
            shape=shape,
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def _trained(self: Any, weights: Any) -> Any:
        """Stored weights with the gradient that training sees."""
        factor = self.gradient_scale or math.sqrt(self.compression_ratio)
        return hashes.scaled_gradient(weights, factor)

    def logical_bias(self: Any) -> Any:
        """The bias that is added, one value for each output channel."""
        if not self.hash_bias:
            return ops.convert_to_tensor(self.bias)
        return self.bias_positions.expand(self._trained(self.bias))[0]

    def project(self: Any, kernel: np.ndarray, bias: np.ndarray | None = None) -> None:
        """Sets the stored weights whose logical ones are nearest to given ones (least squares).

        Args:
            kernel: of the stock layer's shape.
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

    def _file_gains(self: Any) -> bool:
        """Whether stored weights and positions of permutations are fewer than logical weights."""
        rows, columns = self.positions.shape
        taps = math.prod(self.kernel.shape[:-2])
        stored = math.prod(self.kernel.shape) + rows * self.positions.blocks
        return stored < taps * rows * columns

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Not for stored weights.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("LoRA isn't available for layers with hashed weights")

    def get_config(self: Any) -> dict[str, Any]:
        """The arguments that make this layer again."""
        names = ("compression_ratio", "hashing", "hash_seed", "hash_bias", "gradient_scale")
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, **{name: getattr(self, name) for name in names}}
