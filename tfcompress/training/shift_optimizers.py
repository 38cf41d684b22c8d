"""Optimizers that shift where others multiply."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.ops import fixed_point


@keras.saving.register_keras_serializable("tfcompress")
class IntegerSGD(keras.optimizers.Optimizer):
    """Moves weights by whole steps of a fixed-point grid, as many as chance rounds gradients to.

    ```
    g <- Shift(rate) * g / Shift(max |g|)
    w <- clip(w - s * sign(g) * (floor |g| + b), -largest, largest),  s = 2^(1 - num_bits)
    b <- 1 with probability |g| - floor |g|, else 0
    ```

    with `Shift(x) = 2^round(log2 x)` and the maximum over one weight's gradient. The weights are
    rounded to the grid before each step. All trainable weights are trained so: those of
    `tfcompress.layers.WageWeights`.

    Args:
        learning_rate: in steps of the grid, or a schedule of such; the next power of two is taken.
        num_bits: of the weights as they are trained, 2 to 16.
        largest: where the weights stop; None for 1 - s, the last one of the grid. The authors' code
            has the last one of the grid that layers compute with: 1/2 for 2 bits.
        seed: of the chance.
        name: of the optimizer.
        kwargs: as of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: another number of bits, an end that isn't on the grid between 0 and 1, or weight
            decay, which isn't a whole step.

    Reference:
        Wu, Li, Chen, Shi 2018, "Training and Inference with Integers in Deep Neural Networks",
        arXiv:1802.04680, section 3.3.4, equations 11 and 12.
    """

    def __init__(
        self,
        learning_rate: Any = 8.0,
        num_bits: int = 8,
        largest: float | None = None,
        seed: int = 0,
        name: str = "integer_sgd",
        **kwargs: Any,
    ) -> None:
        if num_bits not in range(2, 17):
            raise ValueError(f"num_bits must be from 2 to 16. Received: num_bits={num_bits}")
        if kwargs.get("weight_decay"):
            raise ValueError(f"{type(self).__name__} has no weight decay")
        steps = 2 ** (num_bits - 1)
        if largest is not None and largest * steps not in range(1, steps):
            raise ValueError(
                f"largest must be a multiple of {1 / steps:g} between 0 and 1. Received: "
                f"largest={largest}"
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.num_bits = int(num_bits)
        self.largest = 1.0 - 1.0 / steps if largest is None else float(largest)
        self.seed = int(seed)
        self._chance = keras.random.SeedGenerator(self.seed)
        # Keras tracks the variables of an optimizer's attributes: checkpoints hold the state.
        self.chance_state = [self._chance.state]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one weight by whole steps."""
        step = fixed_point.step(self.num_bits)
        gradient = ops.cast(gradient, "float32")
        rate = fixed_point.power_of_two(ops.cast(learning_rate, "float32"))
        wanted = rate * gradient / fixed_point.largest_shift(gradient)
        whole = ops.floor(ops.abs(wanted))
        drawn = keras.random.uniform(ops.shape(wanted), dtype="float32", seed=self._chance)
        more = ops.cast(drawn < ops.abs(wanted) - whole, "float32")
        # In steps of the grid, so that nothing is lost between them.
        before = ops.round(ops.cast(variable, "float32") / step)
        after = (before - ops.sign(wanted) * (whole + more)) * step
        after = ops.clip(after, -self.largest, self.largest)
        self.assign(variable, ops.cast(after, variable.dtype))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this optimizer again."""
        names = ("num_bits", "largest", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("tfcompress")
class ShiftAdamax(keras.optimizers.Adamax):
    """Adamax whose rate and norms are powers of two, so that each step shifts the mean gradient.

    ```
    m <- beta_1 * m + (1 - beta_1) * g
    u <- max(beta_2 * u, |g|)
    w <- w - AP2(rate / (1 - beta_1^t)) * m / AP2(u),  AP2(x) = sign(x) * 2^round(log2 |x|)
    ```

    Weights stay where they are as long as all their gradients were 0.

    Args:
        learning_rate: a number or a schedule.
        beta_1: 1 - 2^-3, as in the paper.
        beta_2: 1 - 2^-10, likewise.
        name: of the optimizer.
        kwargs: as of `keras.optimizers.Adamax`.

    Reference:
        Hubara, Courbariaux, Soudry, El-Yaniv, Bengio 2016, "Quantized Neural Networks",
        arXiv:1609.07061, section 2.5, algorithm 4.
    """

    def __init__(
        self,
        learning_rate: Any = 2.0**-10,
        beta_1: float = 1 - 2.0**-3,
        beta_2: float = 1 - 2.0**-10,
        name: str = "shift_adamax",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1=beta_1, beta_2=beta_2, name=name, **kwargs)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one weight."""
        index = self._get_variable_index(variable)
        mean, norm = self._m[index], self._u[index]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign_add(mean, (gradient - mean) * (1 - self.beta_1))
        self.assign(norm, ops.maximum(self.beta_2 * norm, ops.abs(gradient)))
        taken = ops.cast(self.iterations + 1, "float32")
        rate = ops.cast(learning_rate, "float32") / (1 - ops.power(self.beta_1, taken))
        divisor = fixed_point.power_of_two(ops.convert_to_tensor(norm))
        shifted = mean / ops.where(divisor > 0, divisor, ops.ones_like(divisor))
        rate = ops.cast(fixed_point.power_of_two(rate), variable.dtype)
        self.assign_sub(variable, rate * shifted)
