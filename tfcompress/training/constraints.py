"""Constraints that change from step to step, and what carries their state while a model trains.

Keras's optimizers apply a weight's constraint after each step, on every backend.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.errors import InputError
from tfcompress.ops.binarize import kernel_scale


class SteppedConstraint(keras.constraints.Constraint):
    """Is the base of constraints that count the steps.

    Args:
        weight: the variable that is constrained; a constraint that it has is applied first.

    Attributes:
        step: steps taken.
    """

    def __init__(self, weight: keras.Variable) -> None:
        self.weight = weight
        self.step = state("zeros", (), "int32", "constraint_step")
        self._inner = weight.constraint

    @property
    def variables(self) -> list[keras.Variable]:
        """The state, of which a backend without side effects carries the values."""
        return [self.step]

    def inner(self, weight: Any) -> Any:
        """Returns the weights as the constraint that they had before leaves them.

        Raises:
            InputError: nobody carries the state from step to step (on JAX).
        """
        self._check_carried()
        return ops.convert_to_tensor(weight if self._inner is None else self._inner(weight))

    def begin_epoch(self, steps: int | None) -> None:
        """Is called as an epoch of so many steps begins; None if nobody knows how many."""

    def end_epoch(self) -> None:
        """Is called behind the last step of an epoch."""

    def _check_carried(self) -> None:
        """Refuses a step without side effects whose optimizer doesn't hold the state."""
        with keras.StatelessScope(initialize_variables=False) as scope:
            outer = scope.original_scope
        if outer is not None and outer.get_current_value(self.step) is None:
            raise InputError(
                "the optimizer doesn't carry the state of the weights' constraints: give fit "
                "callbacks=tfcompress.callbacks(model); in a loop of your own with "
                "stateless_apply compile the model and call, before the first step, "
                "set_model(model) and on_train_begin() of each of these callbacks"
            )


class GrowingDecay(SteppedConstraint):
    """Shrinks some entries of a weight after each step, by more from step to step.

    ```
    w <- w * max(0, 1 - growth * t)
    ```

    after step t: what the gradient of a growing L2 penalty does, in the decoupled form of
    Loshchilov and Hutter 2019 (arXiv:1711.05101), which no optimizer's scaling of gradients takes
    back. After T steps the product of the factors is about exp(-growth*T*T/2).

    Args:
        weight: the variable.
        growth: of the decay, a step.
        chosen: which entries shrink, bool; of the weight's shape or broadcast to it.

    Reference:
        Wang et al. 2021, "Neural Pruning via Growing Regularization", arXiv:2012.09243, section
        3.1 (GReg-1).
    """

    def __init__(self, weight: keras.Variable, growth: float, chosen: np.ndarray) -> None:
        super().__init__(weight)
        self.growth = growth
        self.chosen = chosen.astype("float32")

    def __call__(self, weight: Any) -> Any:
        """Returns the weights with which the next step begins."""
        weight = self.inner(weight)
        taken = ops.convert_to_tensor(self.step) + 1
        self.step.assign(taken)
        share = ops.minimum(1.0, self.growth * ops.cast(taken, "float32"))
        return weight * ops.cast(1 - share * self.chosen, weight.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the growth; what else there is belongs to one variable."""
        return {"growth": self.growth}


class TailClamp(SteppedConstraint):
    """Clips each filter's weights to quantiles of a Laplace distribution that move outwards.

    ```
    tau  <- 0.85 + 0.14 * (exp(t / T) - 1) / (e - 1)
    w    <- clip(w, -q, q),  q = -b * ln(2 - 2 * tau),  b = mean |w| of the filter
    ```

    after step t of T: q is the quantile tau of the distribution with scale b around 0.

    Args:
        weight: the variable; its last axis is the filter's.
        steps: of the whole training, T.

    Reference:
        Xu et al. 2021, "ReCU: Reviving the Dead Weights in Binary Neural Networks",
        arXiv:2103.12369, section 3; the schedule is that of its authors' code. There it is a part
        of the forward pass, on weights of equal spread in each filter.
    """

    def __init__(self, weight: keras.Variable, steps: int) -> None:
        super().__init__(weight)
        self.steps = steps

    def __call__(self, weight: Any) -> Any:
        """Returns the weights with which the next step begins."""
        weight = self.inner(weight)
        taken = ops.convert_to_tensor(self.step) + 1
        self.step.assign(taken)
        passed = ops.minimum(1.0, ops.cast(taken, "float32") / self.steps)
        tau = 0.85 + 0.14 * (ops.exp(passed) - 1) / (math.e - 1)
        bound = -ops.log(2 - 2 * tau) * ops.cast(kernel_scale(weight), "float32")
        bound = ops.cast(bound, weight.dtype)
        return ops.clip(weight, -bound, bound)

    def get_config(self) -> dict[str, Any]:
        """Returns the number of steps; what else there is belongs to one variable."""
        return {"steps": self.steps}


def state(initializer: Any, shape: Any, dtype: Any, name: str) -> keras.Variable:
    """Makes a variable that a constraint keeps from step to step."""
    return keras.Variable(initializer, shape=shape, dtype=dtype, trainable=False, name=name)


class ConstraintCallback(keras.callbacks.Callback):
    """Hands the constraints' state to the optimizer, and tells them when epochs begin and end.

    Args:
        constraints: of the model that is trained.
    """

    def __init__(self, constraints: list[SteppedConstraint]) -> None:
        super().__init__()
        self._constraints = constraints

    def on_train_begin(self, logs: Any = None) -> None:
        """Hands the state to the optimizer, so that checkpoints hold it and JAX carries it."""
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # Of mixed_float16.
        # Keras tracks the variables of an optimizer's attributes.
        optimizer.constraint_state = [v for each in self._constraints for v in each.variables]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Tells them that an epoch begins, and of how many steps."""
        for constraint in self._constraints:
            constraint.begin_epoch(self.params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Tells them that an epoch is over."""
        for constraint in self._constraints:
            constraint.end_epoch()


def constraints(model: keras.Model) -> list[SteppedConstraint]:
    """Returns a model's constraints that count steps; empty if it has none."""
    found = [variable.constraint for variable in model.variables]
    return [each for each in found if isinstance(each, SteppedConstraint)]


def callbacks(model: keras.Model) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that a model's training needs; none without such constraints."""
    found = constraints(model)
    return [ConstraintCallback(found)] if found else []
