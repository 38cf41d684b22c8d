"""2D convolution that computes some of its outputs and copies them to their neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
from keras import ops

from tfcompress.layers._builtin import add_bias_and_activate, with_weights
from tfcompress.layers._perforation import Perforation, Window
from tfcompress.layers.arguments import pair, positive, sliding_window, whole_numbers
from tfcompress.layers.channel_rules import ChannelRules, of_kernel
from tfcompress.ops.perforation import scattered

Shape = tuple[int | None, ...]
MASKS = ("grid", "rows", "columns", "uniform")


@keras.saving.register_keras_serializable("tfcompress")
class PerforatedConv2D(keras.layers.Layer):
    """Convolves at a share `1 - rate` of the output's positions; the others repeat the nearest one.

    ```
    forward   y[p] = activation(sum over taps t of K[t] * x[p + t] + b)    for p in the mask
              y[p] = y[n(p)], n(p) the nearest position in the mask        for the others
    gradient  dL/dy of a position in the mask is summed over all that repeat it
    ```

    `mask="grid"` computes the crossings of evenly spaced rows and columns; `"rows"` and `"columns"`
    compute some of one kind, whole; `"uniform"` computes random positions, for which a file copies
    the pixels of every window. The paper's grid is spaced by pseudo-random numbers, and it has no
    whole rows. Of a position as near to two rows or columns, the later one counts.

    Args:
        filters, kernel_size: as in `keras.layers.Conv2D`.
        rate: the share of positions that aren't computed, from 0 to below 1. Of a grid, numbers of
            rows and columns are rounded.
        strides, padding, dilation_rate, activation, use_bias: as in `keras.layers.Conv2D`.
        mask: `"grid"`, `"rows"`, `"columns"` or `"uniform"`.
        mask_seed: of the uniform mask.
        positions: the positions to be computed, counted row by row, in place of `rate` and `mask`.
        interpolate: whether the others are filled in. If not, the output holds what is computed:
            of a grid its rows and columns, else one row of all positions. `fill_indices` are what
            `NearestFill2D` takes to fill them in later.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Conv2D`.

    Input shape:
        `(batch, height, width, channels)`, all but the batch known.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = PerforatedConv2D(16, 3, rate=0.75, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 3))).shape == (1, 8, 8, 16)
    True
    >>> layer.macs((1, 8, 8, 3), (1, 8, 8, 16)) == 4 * 4 * 3 * 3 * 3 * 16
    True

    Raises:
        ValueError: an argument is out of its range, the input's height and width aren't known, or
            `positions` lie outside of the output.

    Reference:
        Figurnov, Ibraimova, Vetrov, Kohli 2016, "PerforatedCNNs: Acceleration through Elimination
        of Redundant Convolutions", arXiv:1504.08362, section 3.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        rate: float = 0.75,
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        dilation_rate: int | tuple[int, int] = (1, 1),
        mask: str = "grid",
        mask_seed: int = 0,
        positions: Sequence[int] | None = None,
        interpolate: bool = True,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = positive("filters", filters)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides, self.padding, self.dilation_rate = sliding_window(
            strides, padding, dilation_rate
        )
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be in [0, 1). Received: rate={rate}")
        if mask not in MASKS:
            raise ValueError(f"mask must be one of {', '.join(MASKS)}. Received: mask={mask!r}")
        self.rate, self.mask, self.mask_seed = rate, mask, mask_seed
        self.positions = positions
        if positions is not None:  # In order, each once.
            self.positions = sorted(set(whole_numbers("positions", positions)))
        self.interpolate = interpolate
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @classmethod
    def from_conv(cls, conv: keras.layers.Conv2D, input_shape: Shape, **options: Any) -> Self:
        """Makes the layer that computes some of a trained convolution's outputs.

        Args:
            conv: a built `keras.layers.Conv2D` without groups that takes channels last.
            input_shape: what it is called with: (batch, height, width, channels).
            options: arguments of this layer that aren't the convolution's, such as `rate`.
        """
        names = (
            *("filters", "kernel_size", "strides", "padding", "dilation_rate", "activation"),
            *("use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer"),
            *("bias_regularizer", "name", "trainable"),
        )
        like = {name: getattr(conv, name) for name in names}
        layer = cls(**{**like, "dtype": conv.dtype_policy, **options})
        layer.build(input_shape)
        layer.set_weights(conv.get_weights())
        return layer

    def build(self, input_shape: Shape) -> None:
        """Makes the kernel and the bias, for images of this size alone."""
        height, width, channels = input_shape[1:]
        if height is None or width is None or channels is None:
            raise ValueError(
                "PerforatedConv2D needs the input's height, width and channels. Received: input "
                f"shape {tuple(input_shape)}"
            )
        self._perforation(input_shape)  # Refuses positions outside of the output.
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={1: height, 2: width, -1: channels})
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self.built = True

    def _window(self, input_shape: Shape) -> Window:
        """Returns the geometry of the whole convolution; unknown sizes count as 0."""
        height, width = (n or 0 for n in input_shape[1:3])
        window = Window(
            (height, width), self.kernel_size, self.strides, self.padding, self.dilation_rate
        )
        if min(window.output_size) < 1:
            raise ValueError(
                f"the kernel {self.kernel_size} doesn't fit into an input of shape "
                f"{tuple(input_shape)}"
            )
        return window

    def _perforation(self, input_shape: Shape) -> Perforation:
        """Returns where the convolution is computed, for inputs of this shape."""
        window = self._window(input_shape)
        if self.positions is not None:
            return Perforation.of_positions(window, self.positions)
        if self.mask == "uniform":
            positions = scattered(*window.output_size, self.rate, self.mask_seed)
            return Perforation.of_positions(window, positions)
        return Perforation.of_grid(window, self.rate, self.mask)

    def fill_indices(self, input_shape: Shape) -> tuple[list[int], list[int]]:
        """Returns the rows and columns that fill the output in, as `NearestFill2D` takes them.

        Of a mask that is no grid, the one row then holds all positions, row by row.
        """
        return self._perforation(input_shape).fill_indices

    def computed_size(self, input_shape: Shape) -> tuple[int, int]:
        """Returns height and width of what is computed: of a grid its rows and columns."""
        return self._perforation(input_shape).computed_size

    def output_size(self, input_shape: Shape) -> tuple[int, int]:
        """Returns height and width of the whole output."""
        return self._window(input_shape).output_size

    def call(self, inputs: Any) -> Any:
        """Maps (batch, height, width, channels) to (batch, new_height, new_width, filters)."""
        perforation = self._perforation(inputs.shape)

        def convolve(x: Any) -> Any:
            x = ops.conv(
                x,
                perforation.kernel(ops.convert_to_tensor(self.kernel)),
                strides=perforation.strides,
                padding=perforation.padding,
                data_format="channels_last",
            )
            return add_bias_and_activate(x, self.bias, self.activation)

        return self._perforated(perforation, convolve, inputs)

    def _perforated(self, perforation: Perforation, convolve: Callable[[Any], Any], x: Any) -> Any:
        x = convolve(perforation.windows(x))
        return perforation.filled(x) if self.interpolate else x

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function: a built-in convolution between `keras.ops` that copy pixels.

        Args:
            options: for other layers' `lower`; none has a meaning here.

        Returns:
            A function of a Keras tensor; the convolution in it is made once.
        """
        sizes = self.input_spec.axes
        perforation = self._perforation((None, sizes[1], sizes[2], sizes[-1]))
        kernel = perforation.kernel(ops.convert_to_tensor(self.kernel))
        conv = keras.layers.Conv2D(
            self.filters,
            kernel.shape[:2],
            strides=perforation.strides,
            padding=perforation.padding,
            data_format="channels_last",
            activation=self.activation,
            use_bias=self.use_bias,
            dtype=self.dtype_policy,
            name=self.name,
        )
        with_weights(conv, kernel, self.bias)
        return lambda x: self._perforated(perforation, conv, x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (batch, new_height, new_width, filters)."""
        whole = self.interpolate
        size = self.output_size(input_shape) if whole else self.computed_size(input_shape)
        return (input_shape[0], *size, self.filters)

    def macs(self, input_shape: Shape, output_shape: Shape) -> int:
        """Counts multiply-accumulates for one image: those of the positions that are computed."""
        return math.prod(
            (
                *self.computed_size(input_shape),
                *self.kernel_size,
                input_shape[-1] or 1,
                self.filters,
            )
        )

    def channel_rules(self) -> ChannelRules:
        """Says that the kernel holds the channels taken and the filters, as Conv2D's does."""
        return of_kernel("filters")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        serialise = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "rate": self.rate,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "mask": self.mask,
            "mask_seed": self.mask_seed,
            "positions": self.positions,
            "interpolate": self.interpolate,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": serialise(self.kernel_initializer),
            "bias_initializer": serialise(self.bias_initializer),
            "kernel_regularizer": serialise(self.kernel_regularizer),
            "bias_regularizer": serialise(self.bias_regularizer),
        }
