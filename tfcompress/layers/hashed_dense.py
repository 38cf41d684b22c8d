"""Fully connected layer whose weights share a smaller number of stored ones."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._builtin import add_bias_and_activate
from tfcompress.layers._hashed import HashedWeights
from tfcompress.ops import hashing as hashes


@keras.saving.register_keras_serializable("tfcompress")
class HashedDense(HashedWeights, keras.layers.Dense):
    """Multiplies by a large logical kernel V made of few stored weights w: `y = x @ V + b`.

    ```
    "permutation"  V[p_q(i), q * R + r] = w[i, r] * xi_q(i)     y_q = (xi_q * x[p_q]) @ w
                   dL/dw[i, r] = s * sum over q of xi_q(i) * dL/dV[p_q(i), q * R + r]
    "elementwise"  V[i, j] = w[h(i, j)] * xi(i, j)
                   dL/dw[k] = s * sum over h(i, j) = k of xi(i, j) * dL/dV[i, j]
    ```

    `"elementwise"` is the paper's: a hash h chooses a bucket for every logical weight, another hash
    xi its sign. It saves bytes and costs time: each training step expands V, with 5 to 13 bytes of
    positions for each logical weight; a `.tflite` file holds w, expands it when it first runs, and
    then copies V in each inference. A share of exp(-1 / ratio) of the buckets stays empty.

    `"permutation"` isn't the paper's, but saves bytes and time. It cuts the outputs into blocks q
    of R = ceil(ratio * units) units; all blocks use the one matrix w of (inputs, R), each on its
    own permutation p_q of the inputs with its own signs xi_q. Where 1 / ratio divides the units,
    each stored weight stands in exactly 1 / ratio places. V is never expanded, and a file holds w
    and 4 bytes for each input and block. Small layers gain nothing: in space where R + 1 / ratio
    comes near to the units, in time below about 1024 units.

    Positions and signs are computed from `hash_seed` and not stored. The factor s,
    `gradient_scale`, is a departure from the paper: a stored weight sums the gradients of 1 / ratio
    logical ones, so that without it SGD diverges at a learning rate that suits the dense layer.
    Optimizers that divide by the gradient's size, such as Adam, train alike with any s.

    Args:
        units: as in `keras.layers.Dense`.
        compression_ratio: stored weights divided by logical ones, in (0, 1]; 1/8, the default,
            stores 8 times fewer. For `"permutation"`, 1 divided by a whole number.
        hashing: `"permutation"`, the default, or `"elementwise"`.
        hash_seed: of positions and signs, 0 or more; 0 by default.
        hash_bias: whether the biases share max(1, round(ratio * units)) stored ones, elementwise;
            False by default.
        gradient_scale: the factor s of the stored weights' and biases' gradients; None for
            sqrt(compression_ratio). 1.0 gives the gradient itself.
        activation, use_bias, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `keras.layers.Dense`;
            the kernel's act on the stored weights, unscaled.
        kernel_initializer: as in `keras.layers.Dense`; called with the shape of V, of which the
            first values are taken, so that variances are the logical layer's.

    Input shape:
        `(batch, ..., inputs)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    >>> import keras
    >>> layer = HashedDense(16, compression_ratio=1 / 4, use_bias=False)
    >>> layer(keras.ops.ones((2, 10))).shape == (2, 16)
    True
    >>> layer.count_params()  # Of 160.
    40

    Raises:
        ValueError: `compression_ratio` is outside (0, 1] or, for `"permutation"`, not 1 divided by
            a whole number; `hashing` is unknown; `hash_seed` is negative; `gradient_scale` isn't
            positive; or the layer is given a `lora_rank`.

    Reference:
        Chen, Wilson, Tyree, Weinberger, Chen 2015, "Compressing Neural Networks with the Hashing
        Trick", arXiv:1504.04788, section 4.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        compression_ratio: float = 1 / 8,
        hashing: str = "permutation",
        hash_seed: int = 0,
        hash_bias: bool = False,
        gradient_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            compression_ratio=compression_ratio,
            hashing=hashing,
            hash_seed=hash_seed,
            hash_bias=hash_bias,
            gradient_scale=gradient_scale,
            **kwargs,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the stored weights."""
        inputs: Any = input_shape[-1]
        self.positions = hashes.make(
            self.hashing, inputs, self.units, self.compression_ratio, self.hash_seed
        )
        self._add_weights((inputs, self.units), self.positions.stored_shape)
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: inputs})
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Maps (batch, ..., inputs) to (batch, ..., units)."""
        weights = self._trained(self.kernel)
        if isinstance(self.positions, hashes.PermutationHash):
            lead = ops.shape(inputs)[:-1]
            outputs = self.positions.product(ops.reshape(inputs, (-1, inputs.shape[-1])), weights)
            outputs = ops.reshape(outputs, (*lead, self.units))
        else:
            outputs = self.positions.product(inputs, weights)
        return add_bias_and_activate(outputs, self.logical_bias(), self.activation)

    def logical_kernel(self) -> Any:
        """Returns the matrix V that the inputs are multiplied with: (inputs, units)."""
        return self.positions.expand(ops.convert_to_tensor(self.kernel))

    def _built_in_layer(self, units: int, activation: Any, use_bias: bool) -> keras.layers.Layer:
        return keras.layers.Dense(units, activation=activation, use_bias=use_bias, name=self.name)

    def _reshapes(self, shape: tuple[int | None, ...]) -> bool:
        return shape.count(None) <= 1

    def _each_block(self, x: Any, built_in: keras.layers.Layer, blocks: int) -> Any:
        lead = [-1 if size is None else size for size in x.shape[:-1]]
        x = ops.reshape(x, (-1, x.shape[-1] // blocks))  # (batch * blocks, inputs)
        return ops.reshape(built_in(x), (*lead, blocks * built_in.units))
