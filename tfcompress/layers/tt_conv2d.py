"""2D convolution whose kernel is a tensor-train."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers import _tensor_train as trains
from tfcompress.layers._builtin import add_bias_and_activate, with_weights
from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Shape, Stage
from tfcompress.layers.arguments import positions
from tfcompress.layers.tt_dense import checked_modes
from tfcompress.ops import factorize

ORDER = 2


@keras.saving.register_keras_serializable("tfcompress")
class TTConv2D(FactorisedConv2D):
    """Convolves with a small kernel that all channels share, then multiplies by a chain of cores.

    ```
    kernel    K[i, j, (c1 ... cd), (n1 ... nd)] = G0[i, j] @ G1[c1, n1] @ ... @ Gd[cd, nd]
    forward   y = products(dw(x, G0), G1, ..., Gd) + b, core by core
    weights   h * w * r_0 + sum_k r_(k-1) * m_k * n_k * r_k in place of h * w * channels * filters
    ```

    with channels = m1 * ... * md, filters = n1 * ... * nd and bonds r of at most `rank`; dw is a
    depthwise convolution that makes r_0 values of each channel. Gradients are the chain rule's.

    It saves weights rather than time: at high ranks its multiply-accumulates exceed the
    convolution's, and depthwise convolutions with several values a channel and products that
    reorder values are slow on most runtimes. A lowered layer holds G0 once for each channel.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, activation, use_bias: as in
            `keras.layers.Conv2D`; the strides of both axes are the same.
        rank: the largest bond; bonds that need less get less.
        input_modes: the sizes m, whose product is the number of channels; two of them, as equal as
            may be, if None.
        output_modes: the sizes n, as many, whose product is `filters`.
        kernel_initializer: has no effect; the cores start normal, so that K has Glorot's variance.
        bias_initializer, kernel_regularizer, bias_regularizer: as in `keras.layers.Conv2D`; the
            kernel's is for each core.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = TTConv2D(64, 3, rank=4, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 32))).shape == (1, 8, 8, 64)
    True
    >>> layer.count_params() == 9 * 4 + 4 * (4 * 8) * 4 + 4 * (8 * 8) + 64
    True

    Raises:
        ValueError: a size isn't positive, the strides differ, strides and dilation are both above
            1, or the modes don't multiply to the sizes.

    Reference:
        Garipov, Podoprikhin, Novikov, Vetrov 2016, "Ultimate tensorization: compressing
        convolutional and FC layers alike", arXiv:1611.03214, section 4.
    """

    one_stride = True

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
        input_modes: Sequence[int] | None = None,
        output_modes: Sequence[int] | None = None,
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
        if output_modes is None and input_modes is None:
            output_modes = trains.balanced_modes(self.filters, ORDER)
        self.input_modes, self.output_modes = checked_modes(input_modes, output_modes, self.filters)

    def core_shapes(self, channels: int) -> list[tuple[int, int, int, int]]:
        """Returns (bond, input mode, output mode, next bond) of each core but the first."""
        modes = self.input_modes or trains.balanced_modes(channels, len(self.output_modes))
        sizes = [m * n for m, n in zip(modes, self.output_modes, strict=True)]
        bonds = trains.bonds([math.prod(self.kernel_size), *sizes], self.rank)
        return trains.core_shapes(modes, self.output_modes, (*bonds, 1))

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns a rank that holds any kernel of this shape exactly, with the default modes."""
        modes = zip(*(trains.balanced_modes(size, ORDER) for size in shape[2:]), strict=True)
        return max(factorize.full_bonds([shape[0] * shape[1], *(m * n for m, n in modes)]))

    @classmethod
    def decompose(
        cls, kernel: np.ndarray, rank: int, **options: Any
    ) -> tuple[int, list[np.ndarray], float]:
        """Decomposes by `tfcompress.ops.factorize.tensor_train`, which takes no options."""
        height, width, channels, filters = kernel.shape
        ins, outs = (trains.balanced_modes(size, ORDER) for size in (channels, filters))
        tensor = kernel.reshape(height * width, *ins, *outs)
        # (taps, m1 ... md, n1 ... nd) -> (taps, m1 * n1, ..., md * nd)
        pairs = [axis for at in range(1, ORDER + 1) for axis in (at, at + ORDER)]
        sizes = [m * n for m, n in zip(ins, outs, strict=True)]
        decomposition = factorize.tensor_train(
            tensor.transpose(0, *pairs).reshape(height * width, *sizes), rank
        )
        first, *cores = decomposition.factors
        weights: list[np.ndarray] = [first.reshape(height, width, 1, -1)]
        for core, m, n in zip(cores, ins, outs, strict=True):
            weights.append(core.reshape(core.shape[0] * m, n * core.shape[2]))
        return rank, weights, decomposition.error

    def build(self, input_shape: Shape) -> None:
        """Makes the cores."""
        modes = self.input_modes
        if modes and math.prod(modes) != input_shape[-1]:
            raise ValueError(
                f"the channels must be the product of input_modes={modes}. Received: "
                f"{tuple(input_shape)}"
            )
        super().build(input_shape)

    def _build_factors(self, channels: int) -> None:
        shapes = self.core_shapes(channels)
        taps = math.prod(self.kernel_size)
        # Glorot's variance is a product of the cores' and of the bonds that are summed over.
        variance = 2 / (taps * (channels + self.filters)) / math.prod(b for b, *_ in shapes)
        self.cores = self._add_cores(
            [
                (*self.kernel_size, 1, shapes[0][0]),
                *((bond * m, n * following) for bond, m, n, following in shapes),
            ],
            variance,
        )

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns the depthwise convolution that stands before the products."""
        bond = self.core_shapes(channels)[0][0]
        return (
            Stage(
                "spatial",
                (*self.kernel_size, channels, bond),
                depthwise=True,
                strides=self.strides,
                padding=self.padding,
                dilation_rate=self.dilation_rate,
            ),
        )

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the first core, once for each channel."""
        channels = self.input_spec.axes[-1]
        return (ops.tile(self.cores[0], (1, 1, channels, 1)),)

    def call(self, inputs: Any) -> Any:
        """Maps (batch, height, width, channels) to (batch, new_height, new_width, filters)."""
        x = self.stages(inputs.shape[-1])[0](inputs, self.stage_kernels()[0])
        return self._apply(x, self.cores[1:], ops.matmul, self.bias)

    def _apply(self, x: Any, kernels: Sequence[Any], product: trains.Product, bias: Any) -> Any:
        """Multiplies each pixel's (channels * bond) values by the cores."""
        height, width, size = ops.shape(x)[1:]
        shapes = self.core_shapes(self.input_spec.axes[-1])
        x = trains.products(ops.reshape(x, (-1, size)), kernels, shapes, product)
        x = ops.reshape(x, (-1, height, width, self.filters))
        return add_bias_and_activate(x, bias, self.activation)

    def logical_kernel(self) -> Any:
        """Returns the kernel that the cores stand for: (height, width, channels, filters)."""
        products = trains.matrix(self.cores[1:], self.core_shapes(self.input_spec.axes[-1]))
        bond, channels, filters = products.shape
        # (taps, bond) @ (bond, channels * filters)
        first = ops.reshape(self.cores[0], (-1, bond))
        kernel = ops.matmul(first, ops.reshape(products, (bond, channels * filters)))
        return ops.reshape(kernel, (*self.kernel_size, channels, filters))

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the cores in place of a kernel of this shape."""
        shapes = self.core_shapes(shape[2])
        return math.prod(self.kernel_size) * shapes[0][0] + sum(map(math.prod, shapes))

    def macs(self, input_shape: Shape, output_shape: Shape) -> int:
        """Counts multiply-accumulates for one image; unknown sizes count as 1."""
        channels = input_shape[-1]
        assert channels is not None
        each = trains.product_macs(self.core_shapes(channels))
        return super().macs(input_shape, output_shape) + positions(output_shape) * each

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function in a depthwise convolution and a `Dense` layer for each core.

        Args:
            options: for other layers' `lower`; none has a meaning here.

        Returns:
            A function of a Keras tensor. The layers in it are made once: two calls share their
            weights.
        """
        (stage,) = self.stages(self.input_spec.axes[-1])
        spatial = stage.layer(f"{self.name}_spatial", use_bias=False, dtype=self.dtype_policy)
        with_weights(spatial, *self.stage_kernels())
        dense = trains.dense_layers(self.cores[1:], self.name, self.dtype_policy)
        bias = ops.convert_to_numpy(self.bias) if self.use_bias else None
        return lambda x: self._apply(spatial(x), dense, lambda rows, layer: layer(rows), bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "input_modes": self.input_modes,
            "output_modes": self.output_modes,
        }
