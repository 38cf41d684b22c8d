"""Holds what the factorised dense layers share: a chain of products in place of one."""

from __future__ import annotations

import abc
import math
from typing import Any, Self

import keras
import numpy as np

from tfcompress.layers._factorised import Factorised
from tfcompress.layers.arguments import positive

Shape = tuple[int | None, ...]


class FactorisedDense(Factorised):
    """Computes a dense layer whose kernel is a product of small ones; a subclass says which."""

    replaces = keras.layers.Dense

    def __init__(
        self,
        units: int,
        rank: int,
        activation: Any = None,
        use_bias: bool = True,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            activation, use_bias, bias_initializer, kernel_regularizer, bias_regularizer, **kwargs
        )
        self.units = positive("units", units)
        self.rank = positive("rank", rank)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    @classmethod
    def like(cls, dense: keras.layers.Dense, rank: int, **options: Any) -> Self:
        """Makes a layer of a dense layer's form, without weights."""
        return cls._like(dense, units=dense.units, rank=rank, **options)

    @classmethod
    def from_dense(cls, dense: keras.layers.Dense, rank: int, **options: Any) -> Self:
        """Makes the layer whose kernel is nearest to a trained dense layer's.

        Bias, activation, name and dtype policy are the dense layer's; its regulariser and
        constraint aren't kept: they would mean something else on factors.

        Args:
            dense: a built `keras.layers.Dense`.
            rank: as of this layer.
            options: further arguments of this layer, such as `TTDense`'s modes.

        Returns:
            A built layer; its `decomposition_error` is `||W - W~|| / ||W||`.

        Raises:
            ValueError: the layer isn't built or isn't a Dense, or an argument doesn't fit it.
        """
        kernel = cls._kernel_of(dense)
        wanted = cls.like(dense, rank, **options)
        wanted._checked_inputs((None, kernel.shape[0]))
        rank, weights, error = wanted._decomposed(kernel)
        return cls.like(dense, rank, **options)._holding(weights, error, dense)

    from_layer = from_dense

    @abc.abstractmethod
    def _decomposed(self, kernel: np.ndarray) -> tuple[int, list[np.ndarray], float]:
        """Returns the rank that was needed, the weights for it, and the relative error."""

    def build(self, input_shape: Shape) -> None:
        """Makes the factors."""
        inputs = self._checked_inputs(input_shape)
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: inputs})
        self._build_factors(inputs)
        self._add_bias(self.units)

    def _checked_inputs(self, input_shape: Shape) -> int:
        """Returns the size of the last axis; refuses one that isn't known."""
        if input_shape[-1] is None:
            raise ValueError(
                f"the size of the last axis must be known. Received: {tuple(input_shape)}"
            )
        return input_shape[-1]

    @abc.abstractmethod
    def _build_factors(self, inputs: int) -> None:
        """Adds the factors, in the order that `_decomposed` gives them."""

    def logical_shape(self) -> tuple[int, int]:
        """Returns the shape of the logical kernel, without making it."""
        return self.input_spec.axes[-1], self.units

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the output shape of a `keras.layers.Dense`."""
        return (*input_shape[:-1], self.units)

    @abc.abstractmethod
    def _row_macs(self, inputs: int) -> int:
        """Counts multiply-accumulates for one row of inputs."""

    def macs(self, input_shape: Shape, output_shape: Shape) -> int:
        """Counts multiply-accumulates for one example; unknown sizes count as 1."""
        inputs = input_shape[-1]
        assert inputs is not None
        return math.prod(n or 1 for n in input_shape[1:-1]) * self._row_macs(inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "units": self.units, "rank": self.rank}
