"""Prunes a Keras 3 model while anybody trains it: by `fit`, or by a loop of one's own.

A constraint of the kernel does after each step what TFMOT's wrapper does at the beginning of the
next one: it changes the mask if it is time to, by the magnitudes of all weights, and sets the
masked ones to zero.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.graph import clone
from tfcompress.ops import pruning
from tfcompress.training.constraints import SteppedConstraint, constraints, state
from tfcompress.training.context import Row, TrainingContext
from tfcompress.training.fit import fit


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerPruning:
    """Says how one layer is pruned, in TFMOT's words.

    Attributes:
        schedule: `polynomial` (`PolynomialDecay`) or `constant` (`ConstantSparsity`).
        initial_sparsity: share of zeros at `begin_step`; of `polynomial`.
        final_sparsity: share of zeros from `end_step` on, or of `constant` always.
        begin_step: first step whose weights are masked.
        end_step: last step at which the masks change; -1 for no end, of `constant` alone.
        frequency: steps between two changes of the masks.
        power: of the polynomial.
        block_size: height and width of the blocks of a dense kernel that are zero together.
        m_by_n: zeros in so many consecutive weights, chosen at the first step; None for anywhere.
    """

    schedule: str
    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    frequency: int
    power: float = 3.0
    block_size: tuple[int, int] = (1, 1)
    m_by_n: tuple[int, int] | None = None

    @classmethod
    def at_once(cls, sparsity: float) -> LayerPruning:
        """Returns settings with this share of zeros from the first step on, chosen before it."""
        return cls(
            schedule="constant",
            initial_sparsity=sparsity,
            final_sparsity=sparsity,
            begin_step=1,
            end_step=1,
            frequency=1,
        )

    def once(self) -> LayerPruning:
        """Returns settings with all zeros from the first step on."""
        return dataclasses.replace(self, schedule="constant", begin_step=1, end_step=1, frequency=1)

    def changes_at(self, step: Any) -> Any:
        """Says whether the mask changes at a step, counted from 1."""
        if self.m_by_n:
            return ops.equal(step, 1)
        return pruning.changes_at(step, self.begin_step, self.end_step, self.frequency)

    def mask(self, weights: Any, step: Any) -> Any:
        """Returns the mask, 0 or 1 for each weight, that is made at a step."""
        if self.m_by_n:
            return pruning.m_by_n_mask(weights, *self.m_by_n)
        share: Any = self.final_sparsity
        if self.schedule == "polynomial":
            share = pruning.polynomial_sparsity(
                step,
                self.initial_sparsity,
                self.final_sparsity,
                self.begin_step,
                self.end_step,
                self.power,
            )
        if self.block_size == (1, 1):
            return pruning.magnitude_mask(weights, share)
        return pruning.block_mask(weights, share, self.block_size)


class MagnitudePruning(SteppedConstraint):
    """Keeps the weights at zero that magnitude pruning chooses, step by step.

    The weights behind a step are those with which the next one begins: masked already by the mask
    of that step. Training with it gives TFMOT's masks and weights.

    Args:
        kernel: the variable that is pruned; a constraint that it has is applied first.
        settings: when and how.

    Reference:
        Zhu and Gupta 2017, "To prune, or not to prune", arXiv:1710.01878, section 3.
    """

    def __init__(self, kernel: keras.Variable, settings: LayerPruning) -> None:
        super().__init__(kernel)
        self.settings = settings
        self.mask = state("ones", kernel.shape, kernel.dtype, "pruning_mask")
        # The number of steps at which the epoch ends (-1 if it isn't known).
        self.epoch_end = state(keras.initializers.Constant(-1), (), "int32", "epoch_end")

    @property
    def variables(self) -> list[keras.Variable]:
        """The state, of which a backend without side effects carries the values."""
        return [self.mask, self.step, self.epoch_end]

    def __call__(self, kernel: Any) -> Any:
        """Returns the weights, masked, with which the next step begins.

        Raises:
            InputError: nobody carries the mask from step to step (on JAX).
        """
        weights = self.inner(kernel)
        taken = ops.convert_to_tensor(self.step) + 1
        old = ops.convert_to_tensor(self.mask)
        # At the end of an epoch TFMOT masks the weights and only then, with the next step, changes
        # the mask: `begin_epoch` does.
        changes = ops.logical_and(
            self.settings.changes_at(taken + 1), ops.not_equal(taken, self.epoch_end)
        )
        mask = ops.cond(changes, lambda: self.settings.mask(weights, taken + 1), lambda: old)
        self.step.assign(taken)
        self.mask.assign(mask)
        return weights * mask

    def begin_epoch(self, steps: int | None) -> None:
        """Makes the mask of an epoch's first step, if one is due.

        Args:
            steps: of the epoch; None if nobody knows, as of a generator: its end is then a step as
                any other, and a mask that is due with the next epoch is made before this one is
                judged.
        """
        taken = int(ops.convert_to_numpy(self.step))
        if bool(self.settings.changes_at(taken + 1)):
            self.mask.assign(self.settings.mask(ops.convert_to_tensor(self.weight), taken + 1))
        self.weight.assign(self.weight * self.mask)
        self.epoch_end.assign(-1 if steps is None else taken + steps)

    def end_epoch(self) -> None:
        """Forgets when the epoch ends."""
        self.epoch_end.assign(-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the settings."""
        return dataclasses.asdict(self.settings)


def attach(
    kernels: Mapping[str, Sequence[keras.Variable]], plan: Mapping[str, LayerPruning]
) -> None:
    """Has optimizers prune these kernels from now on.

    A frozen layer, whose weights no step changes, has all its zeros at once: TFMOT's schedule ends
    with the same ones.

    Args:
        kernels: each layer's, by its name.
        plan: how each is pruned, by layer name.
    """
    for name, settings in plan.items():
        for kernel in kernels[name]:
            constraint = MagnitudePruning(kernel, settings if kernel.trainable else settings.once())
            kernel.constraint = constraint
            constraint.begin_epoch(None)


def train_pruned(
    model: keras.Model,
    kernels: Mapping[str, Sequence[keras.Variable]],
    plan: Mapping[str, LayerPruning],
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[keras.Model, list[Row]]:
    """Trains a model in place with masks, and returns a copy without them.

    Args:
        model: functional.
        kernels: of it, each layer's that is pruned, by its name.
        plan: how each is pruned, by layer name.
        data: as of `training.fit`, like the rest.
        training: epochs and rates.
        context: seed, teacher, callbacks.

    Returns:
        The copy, and one row an epoch as `training.fit` does.
    """
    attach(kernels, plan)
    rows = fit(model, data, training, context)
    return finished(model), rows


def finished(model: keras.Model) -> keras.Model:
    """Returns a copy without masks and schedules, whose masked weights are zero."""
    for constraint in constraints(model):
        if isinstance(constraint, MagnitudePruning):
            constraint.weight.assign(constraint.weight * constraint.mask)
    return clone(model)
