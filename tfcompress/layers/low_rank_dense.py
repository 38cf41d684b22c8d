"""Dense layer as a product of two thin ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from tfcompress.layers.arguments import positive
from tfcompress.ops import factorize


@keras.saving.register_keras_serializable("tfcompress")
class LowRankDense(keras.layers.Layer):
    """Dense layer in two steps: to `rank` values, then to `units`.

    ```
    forward   y = (x @ U) @ V + b
    weights   rank * (inputs + units) in place of inputs * units
    ```

    Gradients are the chain rule's through both steps.

    Args:
        units, activation, use_bias: as in `keras.layers.Dense`.
        rank: values between the two steps.
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
        super().__init__(**kwargs)
        self.units = positive("units", units)
        self.rank = positive("rank", rank)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        # Of a layer made from another one: how far its kernel is from that one's.
        self.decomposition_error: float | None = None

    @classmethod
    def refusal(cls, dense: keras.layers.Layer) -> str | None:
        """Why a layer can't be replaced by this one, or None if it can."""
        if type(dense) is not keras.layers.Dense:
            return f"{type(dense).__name__} has no {cls.__name__} form: only Dense has"
        return None

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """The rank at which any kernel of this shape is held exactly."""
        return min(shape)

    @classmethod
    def rank_at(cls, step: int, shape: tuple[int, ...]) -> int:
        """The rank at a step of the way from 1 to full rank."""
        return step

    @classmethod
    def matrices(cls, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        """The matrix whose rank is this layer's."""
        return (kernel,)

    @classmethod
    def like(cls, dense: keras.layers.Dense, rank: int) -> Self:
        """A new layer of a dense layer's form, without weights."""
        return cls(
            dense.units,
            rank,
            activation=dense.activation,
            use_bias=dense.use_bias,
            bias_initializer=dense.bias_initializer,
            bias_regularizer=dense.bias_regularizer,
            dtype=dense.dtype_policy,
            name=dense.name,
        )

    @classmethod
    def from_dense(cls, dense: keras.layers.Dense, rank: int) -> Self:
        """The layer nearest to a trained dense layer.

        Bias, activation, name and dtype policy are the dense layer's; its regulariser and
        constraint aren't kept: they would mean something else on factors.

        Args:
            dense: a built `keras.layers.Dense`.
            rank: as of this layer; above full rank it is lowered to that.

        Returns:
            A built layer; its `decomposition_error` is `||W - W~|| / ||W||`.

        Raises:
            ValueError: the layer isn't built or isn't a Dense.
        """
        why = cls.refusal(dense)
        if why or not dense.built:
            raise ValueError(f"layer '{dense.name}': {why or 'it has no weights yet: build it'}")
        kernel = np.asarray(ops.convert_to_numpy(dense.kernel), np.float32)
        found = factorize.svd(kernel, positive("rank", rank))
        layer = cls.like(dense, found.factors[0].shape[1])
        layer.build((None, kernel.shape[0]))
        bias = [ops.convert_to_numpy(dense.bias)] if dense.use_bias else []
        layer.set_weights([*found.factors, *bias])
        layer.trainable = dense.trainable
        layer.decomposition_error = found.error
        return layer

    from_layer = from_dense

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes both factors."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"the size of the last axis must be known. Received: {tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: inputs})
        kernels = []
        for name, shape in (
            ("kernel_in", (inputs, self.rank)),
            ("kernel_out", (self.rank, self.units)),
        ):
            initializer = self.kernel_initializer
            if isinstance(initializer, keras.initializers.Initializer):
                initializer = initializer.clone()  # The same object gives the same values twice.
            kernels.append(
                self.add_weight(
                    name=name,
                    shape=shape,
                    initializer=initializer,
                    regularizer=self.kernel_regularizer,
                )
            )
        self.kernel_in, self.kernel_out = kernels
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def call(self, inputs: Any) -> Any:
        """(batch, ..., inputs) to (batch, ..., units)."""
        x = ops.matmul(ops.matmul(inputs, self.kernel_in), self.kernel_out)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return self.activation(x)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As of `keras.layers.Dense`."""
        return (*input_shape[:-1], self.units)

    def logical_kernel(self) -> Any:
        """The kernel that the product stands for: (inputs, units)."""
        return ops.matmul(self.kernel_in, self.kernel_out)

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Weights of the factors in place of a kernel of this shape."""
        return self.rank * sum(shape)

    def macs(
        self, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]
    ) -> int:
        """Multiply-accumulates for one example; sizes that aren't known count as 1."""
        inputs = input_shape[-1]
        assert inputs is not None
        return math.prod(n or 1 for n in input_shape[1:-1]) * self.rank * (inputs + self.units)

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """The same function as two stock `Dense` layers.

        Args:
            options: of other layers' lowering; none means anything here.

        Returns:
            A function of a Keras tensor. The layers in it are made once: two calls share their
            weights.
        """
        shared = {"dtype": self.dtype_policy}
        first = keras.layers.Dense(self.rank, use_bias=False, name=f"{self.name}_in", **shared)
        second = keras.layers.Dense(
            self.units,
            activation=self.activation,
            use_bias=self.use_bias,
            name=self.name,
            **shared,
        )
        kernels = [ops.convert_to_numpy(k) for k in (self.kernel_in, self.kernel_out)]
        bias = [ops.convert_to_numpy(self.bias)] if self.use_bias else []
        first.build((None, kernels[0].shape[0]))
        second.build((None, self.rank))
        first.set_weights(kernels[:1])
        second.set_weights([kernels[1], *bias])
        return lambda x: second(first(x))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            "rank": self.rank,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }
