"""Dense layer whose kernel is a tensor-train matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers import _tensor_train as trains
from tfcompress.layers._builtin import add_bias_and_activate
from tfcompress.layers._factorised_dense import FactorisedDense, Shape
from tfcompress.layers.arguments import positive
from tfcompress.ops import factorize

ORDER = 3


@keras.saving.register_keras_serializable("tfcompress")
class TTDense(FactorisedDense):
    """Computes a dense layer as a chain of small products.

    ```
    kernel    W[(i1 ... id), (j1 ... jd)] = G1[i1, j1] @ G2[i2, j2] @ ... @ Gd[id, jd]
    forward   y = x @ W + b, core by core, without ever making W
    weights   sum_k r_(k-1) * m_k * n_k * r_k in place of inputs * units
    ```

    with inputs = m1 * ... * md, units = n1 * ... * nd and bonds r of at most `rank`. Gradients are
    the chain rule's through each product. It saves weights rather than time: between the products
    the values are reordered, so that time falls less than the multiply-accumulates, and at high
    ranks these exceed the dense layer's.

    Args:
        units, activation, use_bias: as in `keras.layers.Dense`.
        rank: the largest bond; bonds that need less get less.
        input_modes: the sizes m, whose product is the number of inputs; chosen as equal as may be
            if None.
        output_modes: the sizes n, as many, whose product is `units`.
        bias_initializer, kernel_regularizer, bias_regularizer: as in `keras.layers.Dense`; the
            kernel's is for each core. The cores start normal, so that W has Glorot's variance.

    Input shape:
        `(batch, ..., inputs)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    >>> import keras
    >>> layer = TTDense(64, rank=4, input_modes=(8, 16), output_modes=(8, 8))
    >>> layer(keras.ops.ones((2, 128))).shape == (2, 64)
    True
    >>> layer.count_params() == 8 * 8 * 4 + 4 * 16 * 8 + 64
    True

    Raises:
        ValueError: a size isn't positive, or the modes don't multiply to the sizes.

    Reference:
        Novikov, Podoprikhin, Osokin, Vetrov 2015, "Tensorizing Neural Networks",
        arXiv:1509.06569, sections 3 and 4.
    """

    def __init__(
        self,
        units: int,
        rank: int,
        input_modes: Sequence[int] | None = None,
        output_modes: Sequence[int] | None = None,
        activation: Any = None,
        use_bias: bool = True,
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
        self.input_modes, self.output_modes = checked_modes(input_modes, output_modes, self.units)

    def core_shapes(self, inputs: int) -> list[tuple[int, int, int, int]]:
        """Returns (bond, input mode, output mode, next bond) of each core."""
        modes = self.input_modes or trains.balanced_modes(inputs, len(self.output_modes))
        sizes = [m * n for m, n in zip(modes, self.output_modes, strict=True)]
        return trains.core_shapes(modes, self.output_modes, (1, *trains.bonds(sizes, self.rank), 1))

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns a rank that holds any kernel of this shape exactly, with the default modes."""
        modes = zip(*(trains.balanced_modes(size, ORDER) for size in shape), strict=True)
        return max(factorize.full_bonds([m * n for m, n in modes]))

    def _decomposed(self, kernel: np.ndarray) -> tuple[int, list[np.ndarray], float]:
        shapes = self.core_shapes(kernel.shape[0])
        order = len(shapes)
        tensor = kernel.reshape([m for _, m, _, _ in shapes] + [n for _, _, n, _ in shapes])
        # (m1 ... md, n1 ... nd) -> (m1 * n1, ..., md * nd)
        pairs = [axis for at in range(order) for axis in (at, at + order)]
        decomposition = factorize.tensor_train(
            tensor.transpose(pairs).reshape([m * n for _, m, n, _ in shapes]), self.rank
        )
        cores = [
            core.reshape(bond * m, n * following)
            for core, (bond, m, n, following) in zip(decomposition.factors, shapes, strict=True)
        ]
        return self.rank, cores, decomposition.error

    def _checked_inputs(self, input_shape: Shape) -> int:
        inputs = input_shape[-1]
        modes = self.input_modes
        if inputs is None or (modes and math.prod(modes) != inputs):
            raise ValueError(
                f"the last axis must be known and the product of input_modes={modes}. Received: "
                f"{tuple(input_shape)}"
            )
        return inputs

    def _build_factors(self, inputs: int) -> None:
        shapes = self.core_shapes(inputs)
        # Glorot's variance is a product of the cores' and of the bonds that are summed over.
        variance = 2 / (inputs + self.units) / math.prod(bond for bond, *_ in shapes)
        self.cores = self._add_cores([(b * m, n * after) for b, m, n, after in shapes], variance)

    def call(self, inputs: Any) -> Any:
        """Maps (batch, ..., inputs) to (batch, ..., units)."""
        return self._apply(inputs, self.cores, ops.matmul, self.bias)

    def _apply(self, x: Any, kernels: Sequence[Any], product: trains.Product, bias: Any) -> Any:
        size = x.shape[-1]
        between = ops.shape(x)[1:-1]
        x = ops.reshape(x, (-1, size))
        x = trains.products(x, kernels, self.core_shapes(size), product)
        if between:
            x = ops.reshape(x, (-1, *between, self.units))
        return add_bias_and_activate(x, bias, self.activation)

    def logical_kernel(self) -> Any:
        """Returns the kernel that the cores stand for: (inputs, units)."""
        return trains.matrix(self.cores, self.core_shapes(self.input_spec.axes[-1]))[0]

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the cores in place of a kernel of this shape."""
        return sum(math.prod(core) for core in self.core_shapes(shape[0]))

    def _row_macs(self, inputs: int) -> int:
        return trains.product_macs(self.core_shapes(inputs))

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function with a `Dense` layer for each core, `keras.ops` between them.

        Args:
            options: for other layers' `lower`; none has a meaning here.

        Returns:
            A function of a Keras tensor. The layers in it are made once: two calls share their
            weights.
        """
        dense = trains.dense_layers(self.cores, self.name, self.dtype_policy)
        bias = ops.convert_to_numpy(self.bias) if self.use_bias else None
        return lambda x: self._apply(x, dense, lambda rows, layer: layer(rows), bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "input_modes": self.input_modes,
            "output_modes": self.output_modes,
        }


def checked_modes(
    inputs: Sequence[int] | None, outputs: Sequence[int] | None, units: int
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Returns both modes as tuples, those of the outputs chosen if they aren't given."""
    modes = None if inputs is None else tuple(positive("input_modes", m) for m in inputs)
    if outputs is None:
        chosen = trains.balanced_modes(units, len(modes) if modes else ORDER)
    else:
        chosen = tuple(positive("output_modes", n) for n in outputs)
    if math.prod(chosen) != units or (modes and len(modes) != len(chosen)):
        raise ValueError(
            f"output_modes must be as many as input_modes, and their product {units}. Received: "
            f"input_modes={modes}, output_modes={chosen}"
        )
    return modes, chosen
