"""A layer that rounds activations to a few bits, by a step or a bound that may be trained."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops

from tfcompress.ops import few_bits

Trained = Literal["step", "clip"]
# Bounds that are tried at the start, as shares of the largest activation.
_SHARES = np.geomspace(1.0, 0.02, 40)


@keras.saving.register_keras_serializable("tfcompress")
class FewBitActivations(keras.layers.Layer):
    """Rounds its input to `2^num_bits` even levels, 0 among them.

    ```
    forward   y = s * round(clip(x / s, -Qn, Qp)),  Qn = 0, Qp = 2^num_bits - 1;
              signed: Qn = 2^(num_bits-1), Qp = Qn - 1
    step      LSQ: s is trained. dL/dx = dL/dy within the range, else 0, and dL/ds is the sum of
              dL/dy * (round(x/s) - x/s within, -Qn below, Qp above) / sqrt(n * Qp)
    clip      PACT: alpha = s * Qp is trained. dL/dx = dL/dy where 0 <= x < alpha, else 0, and
              dL/dalpha is the sum of dL/dy where x >= alpha
    None      DoReFa: as PACT, with alpha = maximum; signed: dL/dx = dL/dy within the range
    ```

    where n are the values of an example. Values stay 32-bit floats in Keras. In a file by
    `storage="int8"` they are integers of 8 bits on this very grid, of which they take `2^num_bits`;
    other storages round floats to it.

    Args:
        num_bits: of the integers, 1 to 8 (signed: 2 to 8). Fewer than 8 make no file smaller and
            no runtime faster.
        signed: whether negative values stay, for inputs that come from no ReLU; not with `clip`.
        trained: `step`, `clip`, or None for a bound that stays.
        maximum: the largest value at the start.
        clip_l2: factor of PACT's L2 penalty on alpha, which brings it down.

    Input shape:
        `(batch, ...)`.

    Output shape:
        The input's.

    Example:
    >>> import numpy as np
    >>> layer = FewBitActivations(num_bits=2, maximum=3.0)
    >>> np.asarray(layer(np.array([[-1.0, 0.4, 0.6, 9.0]], "float32"))).tolist()
    [[0.0, 0.0, 1.0, 3.0]]

    Raises:
        ValueError: another number of bits or word, `maximum` isn't positive, `clip_l2` is below 0,
            or `signed` with `clip`.

    Reference:
        Esser et al. 2020, "Learned Step Size Quantization", arXiv:1902.08153, section 2; Choi et
        al. 2018, "PACT", arXiv:1805.06085, section 3; Zhou et al. 2016, "DoReFa-Net",
        arXiv:1606.06160, section 2.4.
    """

    def __init__(
        self,
        num_bits: int = 4,
        *,
        signed: bool = False,
        trained: Trained | None = "step",
        maximum: float = 1.0,
        clip_l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_bits not in range(2 if signed else 1, 9):
            raise ValueError(
                f"num_bits must be from {2 if signed else 1} to 8. Received: num_bits={num_bits}"
            )
        if trained not in (None, *get_args(Trained)):
            raise ValueError(
                f"trained must be None, 'step' or 'clip'. Received: trained={trained!r}"
            )
        if signed and trained == "clip":
            raise ValueError(f"signed is for trained='step' or None. Received: trained={trained!r}")
        if not maximum > 0:
            raise ValueError(f"maximum must be positive. Received: maximum={maximum}")
        if not clip_l2 >= 0:
            raise ValueError(f"clip_l2 must be 0 or more. Received: clip_l2={clip_l2}")
        self.num_bits = int(num_bits)
        self.signed = bool(signed)
        self.trained = trained
        self.maximum = float(maximum)
        self.clip_l2 = float(clip_l2)
        self.supports_masking = True

    @property
    def integers(self) -> tuple[int, int]:
        """The lowest and the highest integer of the grid."""
        if not self.signed:
            return 0, 2**self.num_bits - 1
        return -(2 ** (self.num_bits - 1)), 2 ** (self.num_bits - 1) - 1

    @property
    def learned_scales(self) -> tuple[keras.Variable, ...]:
        """The trained step or bound, which weight decay would pull to 0."""
        return tuple(self.trainable_variables)

    def build(self, input_shape: Any) -> None:
        """Makes the step or the bound."""
        if self.trained is None:
            return
        share = self.integers[1] if self.trained == "step" else 1
        self.scale = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.maximum / share),
            regularizer=keras.regularizers.L2(self.clip_l2) if self.clip_l2 else None,
            autocast=False,
            name=self.trained,
        )

    def start(self, values: Any) -> None:
        """Sets the trained step or bound to that of the least squared error of some inputs.

        Args:
            values: an array of inputs, of any shape.
        """
        values = np.asarray(values, "float32").ravel()
        low, high = self.integers
        largest = float(np.abs(values).max(initial=0.0)) or 1.0
        steps = _SHARES * largest / high
        errors = [
            np.square(values - step * np.clip(np.round(values / step), low, high)).sum()
            for step in steps
        ]
        step = steps[int(np.argmin(errors))]
        if self.trained is not None:
            self.scale.assign(step if self.trained == "step" else step * high)

    def step_size(self) -> float:
        """Returns the step between two levels."""
        if self.trained is None:
            return self.maximum / self.integers[1]
        scale = max(float(ops.convert_to_numpy(self.scale)), 1e-8)
        return scale if self.trained == "step" else scale / self.integers[1]

    def call(self, inputs: Any) -> Any:
        """Rounds to the nearest levels."""
        values = ops.cast(inputs, self.variable_dtype)
        if self.trained == "step" or self.signed:
            axes = tuple(range(len(inputs.shape)))
            scale = self.scale if self.trained else self.step_size()
            step = ops.reshape(ops.cast(scale, self.variable_dtype), [1] * len(axes))
            rounded = few_bits.learned_step(values, step, axes, self.integers, batch=True)
        else:
            clip = ops.cast(self.scale if self.trained else self.maximum, self.variable_dtype)
            rounded = few_bits.learned_clip(values, clip, self.num_bits)
        return ops.cast(rounded, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def lower(self, **options: Any) -> Any:
        """Returns the same rounding in `keras.ops`, with the step as a constant and no gradient."""
        step, (low, high) = self.step_size(), self.integers

        def apply(x: Any) -> Any:
            return ops.round(ops.clip(x, low * step, high * step) / step) * step

        return apply

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        names = ("num_bits", "signed", "trained", "maximum", "clip_l2")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
