"""A layer that rounds each image's activations to 256 levels between their ends, in floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.ops import minmax


@keras.saving.register_keras_serializable("tfcompress")
class MinMaxQuantize(keras.layers.Layer):
    """Rounds its input to evenly spaced levels between its least and largest value.

    ```
    step      s = (max(x) - min(x)) / (2^num_bits - 1)
    forward   y = min(x) + s * floor((x - min(x)) / s + 0.5)
    gradient  dL/dx = dL/dy
    ```

    Minimum and maximum are each image's own, so that an image's outputs don't depend on the rest of
    its batch, and a file for single images computes the same. This is a simulation: the values stay
    32-bit floats, and nothing becomes smaller or faster.

    Args:
        num_bits: 2 to 16; there are `2^num_bits` levels.

    Input shape:
        `(batch, ...)`.

    Output shape:
        The input's.

    Example:
    >>> import numpy as np
    >>> layer = MinMaxQuantize(num_bits=2)
    >>> np.asarray(layer(np.array([[0.0, 0.4, 0.6, 3.0]], "float32"))).tolist()
    [[0.0, 0.0, 1.0, 3.0]]

    Raises:
        ValueError: `num_bits` isn't 2 to 16.

    Reference:
        Lagrange and Pedersoli, a study of compact and quantised VGG-16 on CIFAR-10: its 8-bit
        network is quantised linearly between minimum and maximum and simulated in floats. The
        scheme is that of Vanhoucke, Senior, Mao 2011, "Improving the speed of neural networks on
        CPUs", section 3.
    """

    def __init__(self, num_bits: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_bits not in range(2, 17):
            raise ValueError(f"num_bits must be from 2 to 16. Received: num_bits={num_bits}")
        self.num_bits = int(num_bits)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Rounds to the nearest levels, with the gradient passed straight through."""
        # In this order the sum is exact: what is added is 0.
        passed = inputs - ops.stop_gradient(inputs)
        return ops.stop_gradient(self._rounded(inputs)) + passed

    def _rounded(self, inputs: Any) -> Any:
        """Rounds each image of `(batch, ...)` to levels of its own."""
        return minmax.minmax_quantize(
            inputs, self.num_bits, axis=tuple(range(1, len(inputs.shape)))
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same rounding in `keras.ops`, without the gradient."""
        return self._rounded

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "num_bits": self.num_bits}
