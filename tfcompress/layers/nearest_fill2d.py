"""Rows and columns of an image repeated: what interpolates a perforated convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfcompress.layers.arguments import whole_numbers
from tfcompress.layers.channel_rules import TAKEN, ChannelRules


@keras.saving.register_keras_serializable("tfcompress")
class NearestFill2D(keras.layers.Layer):
    """Makes a larger image of a smaller one's rows and columns, each as often as it is named.

    ```
    y[i, j, c] = x[rows[i], columns[j], c]
    ```

    The gradient of a pixel is the sum of those of its copies. The layer has no weights and does no
    arithmetic; a file copies the values, in two ops.

    Args:
        rows: for each row of the output, which of the input's it is.
        columns: likewise.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, len(rows), len(columns), channels)`.

    Example:
    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    >>> np.asarray(NearestFill2D([0, 0, 1], [0, 1, 1])(x))[0, :, :, 0].tolist()
    [[1.0, 2.0, 2.0], [1.0, 2.0, 2.0], [3.0, 4.0, 4.0]]

    Raises:
        ValueError: a list is empty, or names a row or column that the input doesn't have.

    Reference:
        Figurnov, Ibraimova, Vetrov, Kohli 2016, "PerforatedCNNs", arXiv:1504.08362, section 3.1.
    """

    def __init__(self, rows: Sequence[int], columns: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = whole_numbers("rows", rows)
        self.columns = whole_numbers("columns", columns)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Refuses images that are smaller than what is named."""
        for name, numbers, size in zip(
            ("rows", "columns"), (self.rows, self.columns), input_shape[1:3], strict=True
        ):
            if size is not None and max(numbers) >= size:
                raise ValueError(
                    f"{name} must be below the input's {size}. Received: {max(numbers)} in {name}"
                )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns the image of the rows and columns that are named."""
        return fill(inputs, self.rows, self.columns)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, number of rows, number of columns, channels)."""
        return (input_shape[0], len(self.rows), len(self.columns), input_shape[-1])

    def channel_rules(self) -> ChannelRules:
        """Says that the channels given are those taken."""
        return ChannelRules(weights={}, outputs=(TAKEN,))

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function in `keras.ops`; `options` are for other layers."""
        return lambda inputs: fill(inputs, self.rows, self.columns)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "rows": self.rows, "columns": self.columns}


def fill(x: Any, rows: Sequence[int], columns: Sequence[int]) -> Any:
    """Returns these rows and columns of (batch, height, width, channels), repetitions included."""
    for axis, numbers in ((1, rows), (2, columns)):
        if list(numbers) != list(range(x.shape[axis] or 0)):
            x = ops.take(x, list(numbers), axis=axis)
    return x
