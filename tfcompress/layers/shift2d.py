"""ShiftNet's shift: channels moved by whole pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers.arguments import positive


@keras.saving.register_keras_serializable("tfcompress")
class Shift2D(keras.layers.Layer):
    """Moves each channel by a fixed number of whole pixels: a spatial filter without weights.

    ```
    y[h, w, c] = x[h + i(c), w + j(c), c],  0 outside of the image
    (i, j) in {-r..r} x {-r..r},  r = (kernel_size - 1) / 2
    ```

    Each of the d^2 directions gets `channels // d^2` channels, in order; those left over don't
    move, as those of the middle direction. Which channel moves where doesn't matter between two
    1x1 convolutions, which can permute them. The gradient is the opposite shift. The layer has no
    weights, and no multiply-accumulates are counted.

    In a file it is a depthwise convolution whose kernels have a single 1: that multiplies, but is
    faster than padding, slices and a concatenation.

    Args:
        kernel_size: d, odd; a channel moves by `d // 2` pixels at most.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        The input's.

    Example:
    >>> import numpy as np
    >>> x = np.zeros((1, 3, 3, 9), "float32")
    >>> x[0, 1, 1] = 1  # Each of 9 channels moves the 1 to another pixel.
    >>> np.asarray(Shift2D()(x)).argmax(axis=-1)[0].tolist()
    [[8, 7, 6], [5, 4, 3], [2, 1, 0]]

    Raises:
        ValueError: `kernel_size` is even or below 1, or the input has fewer than `kernel_size ** 2`
            channels: none would move.

    Reference:
        Wu et al. 2017, "Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions",
        arXiv:1711.08141, section 3.1.
    """

    def __init__(self, kernel_size: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size = positive("kernel_size", kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd. Received: kernel_size={kernel_size}")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Refuses inputs with too few channels to move any."""
        if (input_shape[-1] or 0) < self.kernel_size**2:
            raise ValueError(
                f"Shift2D with kernel_size={self.kernel_size} takes {self.kernel_size**2} channels "
                f"or more. Received: input shape {tuple(input_shape)}"
            )
        self.built = True

    def shifts(self, channels: int) -> list[tuple[int, int, int]]:
        """Returns (i, j, channels) of each direction, in the order of the channels.

        >>> Shift2D().shifts(20)[3:6]
        [(0, -1, 2), (0, 0, 4), (0, 1, 2)]
        """
        reach = self.kernel_size // 2
        each, left = divmod(channels, self.kernel_size**2)
        steps = range(-reach, reach + 1)
        return [(i, j, each + (left if i == j == 0 else 0)) for i in steps for j in steps]

    def call(self, inputs: Any) -> Any:
        """Moves the channels, by slices of the padded images."""
        reach = self.kernel_size // 2
        padded = ops.pad(inputs, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
        moved = []
        first = 0
        for i, j, channels in self.shifts(inputs.shape[-1]):
            rows = slice(reach + i, (i - reach) or None)
            columns = slice(reach + j, (j - reach) or None)
            moved.append(padded[:, rows, columns, first : first + channels])
            first += channels
        return ops.concatenate(moved, axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return tuple(input_shape)

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function as one built-in depthwise convolution.

        Args:
            options: for other layers' `lower`; none has a meaning here.

        Returns:
            A function of a Keras tensor; the layer in it is made once.
        """
        conv = keras.layers.DepthwiseConv2D(
            self.kernel_size,
            padding="same",
            use_bias=False,
            data_format="channels_last",
            trainable=False,
            name=f"{self.name}_depthwise",
        )

        def apply(x: Any) -> Any:
            if not conv.built:
                conv.build(x.shape)
                conv.set_weights([self._kernels(x.shape[-1])])
            return conv(x)

        return apply

    def _kernels(self, channels: int) -> np.ndarray:
        """Returns kernels with a single 1 for each channel: (height, width, channels, 1)."""
        reach = self.kernel_size // 2
        kernels = np.zeros((self.kernel_size, self.kernel_size, channels, 1), "float32")
        first = 0
        for i, j, each in self.shifts(channels):
            kernels[reach + i, reach + j, first : first + each] = 1
            first += each
        return kernels

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "kernel_size": self.kernel_size}
