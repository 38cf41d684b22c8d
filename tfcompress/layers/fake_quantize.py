"""A layer that rounds activations to 8 bits, in floats."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import ops

from tfcompress.ops import fake_quantize as rounding

Adapt = Literal["moving_average", "extremes"]


@keras.saving.register_keras_serializable("tfcompress")
class FakeQuantize(keras.layers.Layer):
    """Rounds its input to the grid of an integer type, and passes gradients straight through.

    ```
    forward   y = s * round(clip(x, low, high) / s)
    gradient  dL/dx = dL/dy if low <= x <= high else 0
    ```

    with the step `s = (maximum - minimum) / (2^num_bits - 1)` (one less if `narrow_range`), and
    the ends `low` and `high` moved so that 0 is on the grid; halves are rounded up. A network with
    these layers behind its convolutions and dense layers computes in floats what an integer file of
    it computes in integers; exporting it needs no representative data set.

    The range is two weights without gradients. With `adapt` it follows the values that pass in
    training, before these are rounded, as TFMOT's quantizers do it; else it stays what it was set
    to. At inference it always stays.

    Args:
        minimum: the range's lower end at the start, at most 0.
        maximum: the range's upper end at the start, at least 0 and above `minimum`.
        num_bits: of the integers, 2 to 16.
        narrow_range: whether the lowest integer is left out, so that 0 is in the middle.
        adapt: how the range follows in training: `moving_average` of the batches' ends, or
            `extremes` of all batches; None for a range that stays.
        ema_decay: share of the old range in the moving average.
        nudge_values: whether values move with the ends: the range is divided into steps as it is,
            and what that gives is moved onto the grid, by up to half a step. Pixels that were
            normalised by any mean then stay apart; else those between two values of the grid would
            be rounded either way. Such layers are for the inputs of networks of signs.

    Input shape:
        Any.

    Output shape:
        The input's.

    Example:
    >>> import numpy as np
    >>> layer = FakeQuantize(-1.0, 2.0, num_bits=2)
    >>> np.asarray(layer(np.array([-3.0, 0.4, 0.6, 9.0], "float32"))).tolist()
    [-1.0, 0.0, 1.0, 2.0]

    Raises:
        ValueError: the range doesn't hold 0 or is empty, `num_bits` isn't 2 to 16, `adapt` is
            another word, `ema_decay` isn't between 0 and 1, or `nudge_values` meets `narrow_range`.

    Reference:
        Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference", arXiv:1712.05877, section 3; the rounding is that of
        TensorFlow's `fake_quant_with_min_max_vars`.
    """

    def __init__(
        self,
        minimum: float = -6.0,
        maximum: float = 6.0,
        *,
        num_bits: int = 8,
        narrow_range: bool = False,
        adapt: Adapt | None = None,
        ema_decay: float = 0.999,
        nudge_values: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not (minimum <= 0 <= maximum and minimum < maximum):
            raise ValueError(
                "minimum must be at most 0, maximum at least 0 and above it. Received: "
                f"minimum={minimum}, maximum={maximum}"
            )
        if num_bits not in range(2, 17):
            raise ValueError(f"num_bits must be from 2 to 16. Received: num_bits={num_bits}")
        if adapt not in (None, *get_args(Adapt)):
            raise ValueError(
                f"adapt must be None, 'moving_average' or 'extremes'. Received: adapt={adapt!r}"
            )
        if not 0 <= ema_decay <= 1:
            raise ValueError(f"ema_decay must be from 0 to 1. Received: ema_decay={ema_decay}")
        if nudge_values and narrow_range:
            raise ValueError(
                "nudge_values is for the whole range of integers. Received: narrow_range=True"
            )
        self.minimum = float(minimum)
        self.maximum = float(maximum)
        self.num_bits = int(num_bits)
        self.narrow_range = bool(narrow_range)
        self.adapt = adapt
        self.ema_decay = float(ema_decay)
        self.nudge_values = bool(nudge_values)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes the range."""
        self.low, self.high = (
            self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(value),
                trainable=False,
                name=name,
            )
            for name, value in (("low", self.minimum), ("high", self.maximum))
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Rounds to the nearest values of the grid; in training the range may move first."""
        low, high = self._ends()
        if training and self.adapt is not None:
            if self.adapt == "extremes":
                low, high = rounding.widened_range(low, high, inputs)
            else:
                low, high = rounding.moving_range(low, high, inputs, self.ema_decay)
            self.low.assign(low)
            self.high.assign(high)
        if self.nudge_values:
            return rounding.nudged_fake_quantize(inputs, low, high, self.num_bits)
        return rounding.fake_quantize(inputs, low, high, self.num_bits, self.narrow_range)

    def _ends(self) -> tuple[Any, Any]:
        """Returns the lower and upper end of the range as tensors."""
        return ops.convert_to_tensor(self.low), ops.convert_to_tensor(self.high)

    def range(self) -> tuple[float, float]:
        """Returns the lower and upper end of the range as numbers."""
        return float(ops.convert_to_numpy(self.low)), float(ops.convert_to_numpy(self.high))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def lower(self, **options: Any) -> Any:
        """Returns the same rounding in `keras.ops`, with the range as constants and no gradient."""
        low, high = self.range()
        if self.nudge_values:
            step, zero = map(float, rounding.nudged_grid(*self._ends(), self.num_bits))
        else:
            step, low, high = map(
                float, rounding.grid(*self._ends(), self.num_bits, self.narrow_range)
            )
            zero = float(round(-low / step))

        def apply(x: Any) -> Any:
            shifted = ops.clip(x, low, high) - low
            return ops.floor(shifted * (1.0 / step) + (0.5 - zero)) * step

        return apply

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        names = ("minimum", "maximum", "num_bits", "narrow_range", "adapt", "ema_decay")
        config = {name: getattr(self, name) for name in (*names, "nudge_values")}
        return {**super().get_config(), **config}
