"""Dense layer as a product of two thin ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._builtin import add_bias_and_activate, with_weights
from tfcompress.layers._factorised_dense import FactorisedDense
from tfcompress.layers.channel_rules import ChannelRules, of_product
from tfcompress.ops import factorize


@keras.saving.register_keras_serializable("tfcompress")
class LowRankDense(FactorisedDense):
    """Computes a dense layer in two steps: to `rank` values, then to `units`.

    ```
    forward   y = (x @ U) @ V + b
    weights   rank * (inputs + units) in place of inputs * units
    ```

    Gradients are the chain rule's through both steps.

    Args:
        units, activation, use_bias: as in `keras.layers.Dense`.
        rank: values between the two steps; `from_dense` lowers one above full rank to that.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Dense`; the kernel's are for each factor.

    Input shape:
        `(batch, ..., inputs)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    >>> import keras
    >>> layer = LowRankDense(100, rank=4)
    >>> layer(keras.ops.ones((2, 50))).shape == (2, 100)
    True
    >>> layer.count_params() == 4 * (50 + 100) + 100
    True

    Raises:
        ValueError: units or rank aren't positive whole numbers.

    Reference:
        Denton, Zaremba, Bruna, LeCun, Fergus 2014, "Exploiting Linear Structure Within
        Convolutional Networks for Efficient Evaluation", arXiv:1404.0736, section 3.2.
    """

    def __init__(
        self,
        units: int,
        rank: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            rank,
            activation,
            use_bias,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            **kwargs,
        )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns the rank at which any kernel of this shape is held exactly."""
        return min(shape)

    @classmethod
    def matrices(cls, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the one matrix whose rank is this layer's."""
        return (kernel,)

    def _decomposed(self, kernel: np.ndarray) -> tuple[int, list[np.ndarray], float]:
        decomposition = factorize.svd(kernel, self.rank)
        return decomposition.factors[0].shape[1], list(decomposition.factors), decomposition.error

    def _build_factors(self, inputs: int) -> None:
        self.kernel_in = self._add_factor("kernel_in", (inputs, self.rank))
        self.kernel_out = self._add_factor("kernel_out", (self.rank, self.units))

    def call(self, inputs: Any) -> Any:
        """Maps (batch, ..., inputs) to (batch, ..., units)."""
        outputs = ops.matmul(ops.matmul(inputs, self.kernel_in), self.kernel_out)
        return add_bias_and_activate(outputs, self.bias, self.activation)

    def channel_rules(self) -> ChannelRules:
        """Says that the first factor holds the channels taken, and the last one the units."""
        return of_product("kernel_in", "kernel_out", "units", taps=0)

    def logical_kernel(self) -> Any:
        """Returns the kernel that the product stands for: (inputs, units)."""
        return ops.matmul(self.kernel_in, self.kernel_out)

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the factors in place of a kernel of this shape."""
        return self.rank * sum(shape)

    def _row_macs(self, inputs: int) -> int:
        return self.rank * (inputs + self.units)

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function as two built-in `Dense` layers.

        Args:
            options: for other layers' `lower`; none has a meaning here.

        Returns:
            A function of a Keras tensor. The layers in it are made once: two calls share their
            weights.
        """
        first = keras.layers.Dense(
            self.rank, use_bias=False, dtype=self.dtype_policy, name=f"{self.name}_in"
        )
        second = keras.layers.Dense(
            self.units,
            activation=self.activation,
            use_bias=self.use_bias,
            dtype=self.dtype_policy,
            name=self.name,
        )
        with_weights(first, self.kernel_in)
        with_weights(second, self.kernel_out, self.bias)
        return lambda x: second(first(x))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), "kernel_initializer": initializer}
