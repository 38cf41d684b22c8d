"""Deals channels out anew: ShuffleNet's channel shuffle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.layers.arguments import positive


def channel_shuffle(x: Any, groups: int) -> Any:
    """Moves channel g*n + i of (..., groups * n) to i*groups + g.

    >>> import numpy as np
    >>> np.asarray(channel_shuffle(np.arange(6.0).reshape(1, 1, 1, 6), 3)).ravel().tolist()
    [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]
    """
    shape = ops.shape(x)
    each = x.shape[-1] // groups
    if None in x.shape[1:-1]:  # Sizes only known as it runs: one more dimension each.
        split = ops.reshape(x, (*shape[:-1], groups, each))
        swapped = ops.transpose(split, (*range(len(shape) - 1), len(shape), len(shape) - 1))
        return ops.reshape(swapped, shape)
    pixels = 1
    for size in x.shape[1:-1]:
        pixels *= size
    split = ops.reshape(x, (-1, pixels, groups, each))
    return ops.reshape(ops.transpose(split, (0, 1, 3, 2)), (-1, *x.shape[1:]))


@keras.saving.register_keras_serializable("tfcompress")
class ChannelShuffle(keras.layers.Layer):
    """Deals the channels out anew, so that each group of the next layer sees all groups.

    ```
    y[i * groups + g] = x[g * n + i],    n = channels / groups,  g < groups,  i < n
    ```

    It has no weights and does no arithmetic, but a file copies every value: three ops.

    Args:
        groups: into how many equal groups the channels are divided.

    Input shape:
        `(batch, ..., channels)`, channels a multiple of `groups`.

    Output shape:
        The input's.

    Example:
    >>> import numpy as np
    >>> np.asarray(ChannelShuffle(2)(np.arange(4.0).reshape(1, 1, 1, 4))).ravel().tolist()
    [0.0, 2.0, 1.0, 3.0]

    Raises:
        ValueError: `groups` is below 1, or doesn't divide the channels.

    Reference:
        Zhang et al. 2017, "ShuffleNet", arXiv:1707.01083, section 3.1.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = positive("groups", groups)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Refuses channels that can't be divided."""
        if (input_shape[-1] or 0) % self.groups:
            raise ValueError(
                f"the channels must be a multiple of groups. Received: groups={self.groups}, "
                f"input shape {tuple(input_shape)}"
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the inputs with their channels in another order."""
        return channel_shuffle(inputs, self.groups)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return tuple(input_shape)

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function in `keras.ops`; `options` are for other layers."""
        return lambda inputs: channel_shuffle(inputs, self.groups)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "groups": self.groups}
