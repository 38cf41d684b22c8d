"""Holds what layers share that keep fewer weights than the kernel they compute with."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfcompress.layers.arguments import channels_last


class LogicalKernel(keras.layers.Layer):
    """Gives a built-in layer a kernel made of stored weights: stands before it among the bases.

    A subclass says in `_stored` what the layer stores, as in `hashed weights`, and its `build`
    sets `_logical_shape`.
    """

    _stored: str
    _logical_shape: tuple[int, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        channels_last(self)
        if getattr(self, "groups", 1) != 1:
            raise ValueError(f"{type(self).__name__} has no groups. Received: groups={self.groups}")
        if self.lora_rank:
            raise ValueError(f"{self._no_lora()}. Received: lora_rank={self.lora_rank}")

    def _no_lora(self) -> str:
        return f"LoRA isn't available for layers with {self._stored}"

    def logical_shape(self) -> tuple[int, ...]:
        """Returns the shape of the logical kernel, without making it."""
        return self._logical_shape

    def _initial(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Returns first values of stored weights, with the variance of the logical kernel's."""
        # An initializer takes fans from the shape: it must be the logical one.
        values = self.kernel_initializer(self._logical_shape, dtype=dtype)
        return ops.reshape(ops.reshape(values, (-1,))[: math.prod(shape)], shape)

    def _add_bias(self, shape: tuple[int, ...]) -> None:
        """Makes the bias, None without one."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=shape,
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def macs(
        self, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]
    ) -> int:
        """Counts multiply-accumulates of one call for one example: the built-in layer's.

        Fewer stored weights save storage; each is multiplied wherever the kernel has it.
        """
        positions = math.prod(size or 1 for size in output_shape[1:-1])
        return positions * math.prod(self._logical_shape)

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Refuses: stored weights have no LoRA.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(self._no_lora())
