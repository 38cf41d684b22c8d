"""Holds what the factorised convolutions share: a chain of small ones in place of a large one."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from tfcompress.layers._builtin import add_bias_and_activate, with_weights
from tfcompress.layers._factorised import Factorised
from tfcompress.layers.arguments import pair, positive, sliding_window
from tfcompress.ops.padding import output_length

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Stage:
    """Describes one convolution of a chain.

    Attributes:
        name: of its built-in layer, behind the layer's own name.
        shape: of its kernel, as Keras has it: (height, width, channels, filters), or for a
            depthwise convolution (height, width, channels, values a channel).
        depthwise: whether it is one.
        strides, padding, dilation_rate: as in `keras.layers.Conv2D`.
    """

    name: str
    shape: tuple[int, int, int, int]
    depthwise: bool = False
    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"
    dilation_rate: tuple[int, int] = (1, 1)

    def output_size(self, size: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns height and width of its output; None stays None."""
        return tuple(
            None if n is None else output_length(n, kernel, stride, self.padding, dilation)
            for n, kernel, stride, dilation in zip(
                size, self.shape[:2], self.strides, self.dilation_rate, strict=True
            )
        )

    def __call__(self, x: Any, kernel: Any) -> Any:
        """Convolves (batch, height, width, channels)."""
        function = ops.depthwise_conv if self.depthwise else ops.conv
        strides = self.strides
        if self.shape[:2] == (1, 1) and max(strides) > 1:
            # What isn't read goes first: oneDNN's gradient of such a convolution writes past its
            # buffers, as `training.unit_strides` tells.
            x, strides = x[:, :: strides[0], :: strides[1]], (1, 1)
        return function(
            x,
            kernel,
            strides=strides,
            padding=self.padding,
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )

    def layer(self, name: str, **options: Any) -> keras.layers.Layer:
        """Makes the built-in Keras layer that computes it."""
        shared = {
            "kernel_size": self.shape[:2],
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "data_format": "channels_last",
            "name": name,
            **options,
        }
        if self.depthwise:
            return keras.layers.DepthwiseConv2D(depth_multiplier=self.shape[3], **shared)
        return keras.layers.Conv2D(self.shape[3], **shared)


def counting(count: int) -> Callable[..., Any]:
    """Returns an initializer for `_add_numbers`: numbers from 0 on, each for neighbours."""

    def initial(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return ops.cast(np.arange(shape[0]) * count // shape[0], dtype)

    return initial


class FactorisedConv2D(Factorised):
    """Computes a convolution as a chain of small ones, of whose kernels its own is the product.

    A subclass says what the chain is (`stages`), what kernel it stands for (`logical_kernel`) and
    how a kernel is decomposed (`decompose`); its docstring documents the arguments.

    Attributes:
        one_stride: whether the strides of both axes must be the same.
        structure: names of arguments that shape the factors beside the rank; they are the
            decomposition's, too.
    """

    replaces = keras.layers.Conv2D
    one_stride = False
    structure: tuple[str, ...] = ()

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        rank: int | tuple[int, int],
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        dilation_rate: int | tuple[int, int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            activation,
            use_bias,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            **kwargs,
        )
        self.filters = positive("filters", filters)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides, self.padding, self.dilation_rate = sliding_window(
            strides, padding, dilation_rate, type(self).__name__ if self.one_stride else None
        )
        self.rank = self._checked_rank(rank)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def _checked_rank(self, rank: Any) -> Any:
        return positive("rank", rank)

    @abc.abstractmethod
    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns the chain of convolutions for so many input channels."""

    @classmethod
    @abc.abstractmethod
    def decompose(
        cls, kernel: np.ndarray, rank: Any, **options: Any
    ) -> tuple[Any, list[np.ndarray], float]:
        """Returns the rank that was needed, the weights for it, and the relative error."""

    @classmethod
    def refusal(cls, conv: keras.layers.Layer) -> str | None:
        """Returns why a layer can't be replaced by this one, or None if it can."""
        why = super().refusal(conv)
        if why:
            return why
        if conv.groups != 1:
            return f"a grouped convolution (groups={conv.groups}) has no {cls.__name__} form"
        if conv.data_format != "channels_last":
            return f"data_format is {conv.data_format}; {cls.__name__} takes channels_last"
        if cls.one_stride and conv.strides[0] != conv.strides[1]:
            return f"strides {conv.strides} differ, and depthwise convolutions take one for both"
        return None

    @classmethod
    def from_conv(cls, conv: keras.layers.Conv2D, rank: Any, **options: Any) -> Self:
        """Makes the layer whose kernel is nearest to a trained convolution's.

        Strides, padding, dilation, bias, activation, name and dtype policy are the convolution's;
        its regulariser and constraint aren't kept: they would mean something else on factors.

        Args:
            conv: a built `keras.layers.Conv2D`.
            rank: as of this layer; above full rank it is lowered to that.
            options: for the decomposition, such as `seed` and `iterations` for CP, and of
                `structure`.

        Returns:
            A built layer; its `decomposition_error` is `||K - K~|| / ||K||`.

        Raises:
            ValueError: the layer isn't built or isn't a Conv2D, has groups, takes channels first,
                or has strides that this layer can't take.
        """
        kernel = cls._kernel_of(conv)
        structure = {name: options[name] for name in cls.structure if name in options}
        rank = cls.like(conv, rank, **structure).rank
        rank, weights, error = cls.decompose(kernel, rank, **options)
        return cls.like(conv, rank, **structure)._holding(weights, error, conv)

    from_layer = from_conv

    @classmethod
    def like(cls, conv: keras.layers.Conv2D, rank: Any, **structure: Any) -> Self:
        """Makes a layer of a convolution's geometry, without weights."""
        return cls._like(
            conv,
            filters=conv.filters,
            kernel_size=conv.kernel_size,
            rank=rank,
            strides=conv.strides,
            padding=conv.padding,
            dilation_rate=conv.dilation_rate,
            **structure,
        )

    def build(self, input_shape: Shape) -> None:
        """Makes the factors, each of which keeps the variance of its input at the start."""
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(
                f"the number of input channels must be known. Received: {tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})
        self._build_factors(channels)
        self._add_bias(self.filters)

    @abc.abstractmethod
    def _build_factors(self, channels: int) -> None:
        """Adds the factors, in the order that `decompose` gives them."""

    def _add_depthwise(self, name: str, shape: tuple[int, int, int, int]) -> Any:
        """Adds the factor of a depthwise convolution; the kernel initializer is for the others."""
        # Keras's initializers would count all channels as inputs of each.
        deviation = math.prod(shape[:2]) ** -0.5
        return self._add_factor(name, shape, keras.initializers.RandomNormal(stddev=deviation))

    def _add_numbers(self, name: str, shape: tuple[int, ...], initializer: Any) -> Any:
        """Adds numbers that say where a channel belongs; training leaves them as they are."""
        # Floats, for whoever copies a model's weights treats all alike.
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, trainable=False, autocast=False
        )

    @abc.abstractmethod
    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages."""

    def call(self, inputs: Any) -> Any:
        """Maps (batch, height, width, channels) to (batch, new_height, new_width, filters)."""
        x = inputs
        for stage, kernel in zip(self.stages(x.shape[-1]), self.stage_kernels(), strict=True):
            x = stage(x, kernel)
        return add_bias_and_activate(x, self.bias, self.activation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the output shape of a `keras.layers.Conv2D` of the same arguments."""
        size = Stage(
            "", (*self.kernel_size, 1, 1), False, self.strides, self.padding, self.dilation_rate
        ).output_size(tuple(input_shape[1:3]))
        if any(n is not None and n < 1 for n in size):
            raise ValueError(
                f"the kernel {self.kernel_size} doesn't fit into an input of shape "
                f"{tuple(input_shape)}"
            )
        return (input_shape[0], *size, self.filters)

    def logical_shape(self) -> tuple[int, int, int, int]:
        """Returns the shape of the logical kernel, without making it."""
        return (*self.kernel_size, self.input_spec.axes[-1], self.filters)

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the factors in place of a kernel of this shape."""
        return sum(math.prod(stage.shape) for stage in self.stages(shape[2]))

    def macs(self, input_shape: Shape, output_shape: Shape) -> int:
        """Counts multiply-accumulates for one image; unknown sizes count as 1."""
        size: tuple[int | None, ...] = tuple(input_shape[1:3])
        total = 0
        channels = input_shape[-1]
        assert channels is not None
        for stage in self.stages(channels):
            size = stage.output_size(size)
            total += math.prod(n or 1 for n in size) * math.prod(stage.shape)
        return total

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function as a chain of built-in Keras convolutions.

        Args:
            options: for other layers' `lower`; none has a meaning here.

        Returns:
            A function of a Keras tensor. The layers in it are made once: two calls share their
            weights.
        """
        channels = self.input_spec.axes[-1]
        stages = self.stages(channels)
        chain: list[keras.layers.Layer] = []
        for stage, kernel in zip(stages, self.stage_kernels(), strict=True):
            last = stage is stages[-1]
            built_in = stage.layer(
                self.name if last else f"{self.name}_{stage.name}",
                use_bias=last and self.use_bias,
                activation=self.activation if last else None,
                dtype=self.dtype_policy,
            )
            chain.append(with_weights(built_in, kernel, self.bias if last else None))

        def apply(x: Any) -> Any:
            for built_in in chain:
                x = built_in(x)
            return x

        return apply

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "rank": self.rank,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
