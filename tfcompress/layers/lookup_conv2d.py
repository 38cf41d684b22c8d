"""2D convolution whose kernel is made of a few vectors of a dictionary at each of its places."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Shape, Stage
from tfcompress.layers.arguments import positive
from tfcompress.layers.channel_rules import TAKEN, ChannelRules
from tfcompress.ops import dictionary


@keras.saving.register_keras_serializable("tfcompress")
class LookupConv2D(FactorisedConv2D):
    """Convolves in two steps: 1x1 with a dictionary, then a window of few weights that aren't 0.

    ```
    kernel    K[i, j, c, n] = sum_t P[i, j, t, n] * D[c, index[i, j, t, n]],  t < coefficients
    forward   y = conv_dxd(conv_1x1(x, D), P') + b,  P'[i, j, k, n] = P[i, j, t, n] at k = index
    weights   C*k + d^2*s*N; Conv2D: d^2*C*N
    per pixel C*k + d^2*k*N multiply-accumulates, C*k + d^2*s*N of them not with 0
    ```

    for C channels, N filters, the dictionary's k vectors of length C and s coefficients at each
    place of each filter. D and P are trained, and gradients are the chain rule's through both
    steps; which vectors a place takes is chosen once, by `from_conv`, and stays. Before, they count
    up.

    It departs from the paper in that the zeros of P' are multiplied, too, and in that the vectors
    are chosen for a trained kernel, and not by a penalty as the network learns.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, activation, use_bias: as in
            `keras.layers.Conv2D`.
        rank: vectors k of the dictionary.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Conv2D`; the kernel's are for dictionary and coefficients each.
        coefficients: s, at most `rank`; None for as many.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = LookupConv2D(64, 3, rank=16, coefficients=3, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 32))).shape == (1, 8, 8, 64)
    True
    >>> layer.kernel_parameters((3, 3, 32, 64)) == 32 * 16 + 9 * 3 * 64
    True

    Raises:
        ValueError: a size isn't positive, or strides and dilation are both above 1.

    Reference:
        Bagherinezhad, Rastegari, Farhadi 2017, "LCNN: Lookup-based Convolutional Neural Network",
        arXiv:1611.06473, section 3.
    """

    structure = ("coefficients",)

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        rank: int,
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        dilation_rate: int | tuple[int, int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        coefficients: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            rank,
            strides,
            padding,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            **kwargs,
        )
        if coefficients is not None:
            coefficients = min(positive("coefficients", coefficients), self.rank)
        self.coefficients = coefficients or self.rank

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns the rank at which any kernel is held exactly, if all coefficients are there.

        A larger dictionary would take more multiply-accumulates than the kernel itself.
        """
        return shape[2]

    @classmethod
    def decompose(
        cls, kernel: np.ndarray, rank: int, *, coefficients: int | None = None, **options: Any
    ) -> tuple[int, list[np.ndarray], float]:
        """Decomposes by `tfcompress.ops.dictionary.sparse_sums`, whose options these are."""
        height, width, channels, filters = kernel.shape
        rank = min(rank, channels)
        count = min(coefficients or rank, rank)
        vectors = kernel.transpose(0, 1, 3, 2).reshape(-1, channels)
        found = dictionary.sparse_sums(vectors, rank, count, **options)
        vectors, *codes = found.factors
        window = (height, width, filters, count)
        coefs, index = (code.reshape(window).transpose(0, 1, 3, 2) for code in codes)
        return rank, [vectors.T[None, None], coefs, index], found.error

    def _build_factors(self, channels: int) -> None:
        window = (*self.kernel_size, self.coefficients, self.filters)

        def counting(shape: tuple[int, ...], dtype: Any = None) -> Any:
            _, _, place, unit = np.indices(shape)
            return ops.cast((place + unit) % self.rank, dtype)

        self.dictionary = self._add_factor("dictionary", (1, 1, channels, self.rank))
        self.kernel_coefficients = self._add_factor("kernel_coefficients", window)
        self.index = self._add_numbers("index", window, counting)

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns 1x1, dxd."""
        return (
            Stage("dictionary", (1, 1, channels, self.rank)),
            Stage(
                "lookup",
                (*self.kernel_size, self.rank, self.filters),
                strides=self.strides,
                padding=self.padding,
                dilation_rate=self.dilation_rate,
            ),
        )

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages, the second with its zeros."""
        places = ops.cast(self.index, "int32")
        window = 0.0
        for place in range(self.coefficients):
            chosen = ops.one_hot(places[:, :, place], self.rank, axis=2)
            coefs = self.kernel_coefficients[:, :, place, None]  # (height, width, 1, filters)
            window = ops.add(window, ops.cast(chosen, coefs.dtype) * coefs)
        return self.dictionary, window

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the factors in place of a kernel of this shape."""
        height, width, channels, filters = shape
        return channels * self.rank + height * width * self.coefficients * filters

    def macs_without_zeros(self, input_shape: Shape, output_shape: Shape) -> int:
        """Counts multiply-accumulates for one image as the paper does, without those with 0."""
        positions = math.prod(n or 1 for n in output_shape[1:-1])
        zeros = (self.rank - self.coefficients) * math.prod(self.kernel_size) * self.filters
        return self.macs(input_shape, output_shape) - positions * zeros

    def channel_rules(self) -> ChannelRules:
        """Says that the dictionary holds the channels taken, and the coefficients the filters."""
        window = (None, None, None, "filters")
        return ChannelRules(
            weights={
                "dictionary": (None, None, TAKEN, None),
                "kernel_coefficients": window,
                "index": window,
                "bias": ("filters",),
            },
            outputs=("filters",),
            sizes={"filters": "filters"},
        )

    def logical_kernel(self) -> Any:
        """Returns the kernel that the chain stands for: (height, width, channels, filters)."""
        vectors, window = self.stage_kernels()
        # (height, width, rank, filters) by (channels, rank): channels come last
        kernel = ops.tensordot(window, vectors[0, 0], ([2], [1]))
        return ops.transpose(kernel, (0, 1, 3, 2))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "coefficients": self.coefficients}
