"""Prunes Keras 3 models by TFMOT's magnitude pruning."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.bridge import train
from tfcompress.bridge.legacy import tfmot
from tfcompress.bridge.to_keras import copy_back
from tfcompress.bridge.wrappers import kernel, wrapped
from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.outputs import ends_in_softmax


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerPruning:
    """Says how one layer is pruned, in TFMOT's words.

    Attributes:
        schedule: `polynomial` (`PolynomialDecay`) or `constant` (`ConstantSparsity`).
        initial_sparsity: share of zeros at `begin_step`; of `polynomial`.
        final_sparsity: share of zeros from `end_step` on, or of `constant` always.
        begin_step: first step whose weights are masked.
        end_step: last step at which the masks change.
        frequency: steps between two changes of the masks.
        power: of the polynomial.
        block_size: height and width of the blocks of a dense kernel that are zero together.
        m_by_n: zeros in so many consecutive weights; None for anywhere.
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

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of TFMOT's `prune_low_magnitude`."""
        sparsity = tfmot().sparsity.keras
        if self.schedule == "constant" or self.m_by_n:
            schedule = sparsity.ConstantSparsity(
                target_sparsity=self.final_sparsity,
                begin_step=self.begin_step,
                end_step=self.end_step,
                frequency=self.frequency,
            )
        else:
            schedule = sparsity.PolynomialDecay(
                initial_sparsity=self.initial_sparsity,
                final_sparsity=self.final_sparsity,
                begin_step=self.begin_step,
                end_step=self.end_step,
                power=self.power,
                frequency=self.frequency,
            )
        return {
            "pruning_schedule": schedule,
            "block_size": self.block_size,
            "sparsity_m_by_n": self.m_by_n,
        }


def prune(
    model: keras.Model,
    data: Data,
    training: Training,
    pruning: Mapping[str, LayerPruning],
    context: TrainingContext = DEFAULT_CONTEXT,
) -> tuple[keras.Model, list[Row]]:
    """Trains a model while TFMOT's wrappers turn its smallest weights to zero.

    Args:
        model: flat, functional, of built-in layers; it stays as it is.
        data: as in `training.fit`.
        training: epochs, optimizer and rates.
        pruning: how layers are pruned, by name; others stay dense.
        context: as in `training.fit`.

    Returns:
        A Keras 3 model with the zeros, and one row an epoch.

    Raises:
        BridgeError: the model can't be converted to tf_keras.
        TrainingError, Stopped: as in `training.fit`.

    Reference:
        Zhu and Gupta 2017, "To prune, or not to prune", arXiv:1710.01878, section 3.
    """
    sparsity = tfmot().sparsity.keras
    trainee = wrapped_for_pruning(model, pruning)
    rows = train.fit(
        trainee,
        data,
        training,
        context,
        softmax=ends_in_softmax(model),
        callbacks=[sparsity.UpdatePruningStep()],
    )
    return copy_back(sparsity.strip_pruning(trainee), model), rows


def wrapped_for_pruning(model: keras.Model, pruning: Mapping[str, LayerPruning]) -> Any:
    """Returns a tf_keras copy of a Keras 3 model with pruning wrappers around the named layers."""
    sparsity = tfmot().sparsity.keras
    functions = {
        name: functools.partial(sparsity.prune_low_magnitude, **settings.arguments())
        for name, settings in pruning.items()
    }
    return wrapped(model, functions)


def zeros(model: keras.Model, names: Mapping[str, Any]) -> dict[str, float]:
    """Returns the share of zeros in each of these layers' kernels, 0 to 1."""
    return {name: float(np.mean(kernel(model, name) == 0)) for name in names}
