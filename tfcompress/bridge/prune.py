"""Prunes Keras 3 models by TFMOT's magnitude pruning."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.bridge import train
from tfcompress.bridge.legacy import tfmot
from tfcompress.bridge.to_keras import copy_back
from tfcompress.bridge.wrappers import kernel_variables, kernels, wrapped
from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.outputs import ends_in_softmax
from tfcompress.training.pruning import LayerPruning


def arguments(settings: LayerPruning) -> dict[str, Any]:
    """Returns the arguments of TFMOT's `prune_low_magnitude`."""
    sparsity = tfmot().sparsity.keras
    if settings.schedule == "constant" or settings.m_by_n:
        schedule = sparsity.ConstantSparsity(
            target_sparsity=settings.final_sparsity,
            begin_step=settings.begin_step,
            end_step=settings.end_step,
            frequency=settings.frequency,
        )
    else:
        schedule = sparsity.PolynomialDecay(
            initial_sparsity=settings.initial_sparsity,
            final_sparsity=settings.final_sparsity,
            begin_step=settings.begin_step,
            end_step=settings.end_step,
            power=settings.power,
            frequency=settings.frequency,
        )
    return {
        "pruning_schedule": schedule,
        "block_size": settings.block_size,
        "sparsity_m_by_n": settings.m_by_n,
    }


def train_wrapped(
    trainee: Any,
    model: keras.Model,
    data: Data,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
) -> tuple[keras.Model, list[Row]]:
    """Trains a model while TFMOT's wrappers turn its smallest weights to zero.

    Args:
        trainee: as `wrapped_for_pruning` made it.
        model: of Keras 3, that it was made from; it stays as it is.
        data: as in `training.fit`.
        training: epochs, optimizer and rates.
        context: as in `training.fit`.

    Returns:
        A Keras 3 model with the zeros, and one row an epoch.

    Raises:
        TrainingError, Stopped: as in `training.fit`.

    Reference:
        Zhu and Gupta 2017, "To prune, or not to prune", arXiv:1710.01878, section 3.
    """
    sparsity = tfmot().sparsity.keras
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
    """Returns a tf_keras copy of a Keras 3 model with pruning wrappers around the named layers.

    Args:
        model: flat, functional, of built-in layers.
        pruning: how layers are pruned, by name; others stay dense.

    Raises:
        BridgeError: the model can't be converted to tf_keras.
    """
    sparsity = tfmot().sparsity.keras

    def wrap(layer: Any, settings: LayerPruning) -> Any:
        # What TFMOT asks layers that it doesn't know: it knows no recurrent layer of tf_keras.
        layer.get_prunable_weights = functools.partial(kernel_variables, layer)
        return sparsity.prune_low_magnitude(layer, **arguments(settings))

    functions = {
        name: functools.partial(wrap, settings=settings) for name, settings in pruning.items()
    }
    return wrapped(model, functions)


def zeros(model: keras.Model, names: Mapping[str, Any]) -> dict[str, float]:
    """Returns the share of zeros in these layers' kernels, 0 to 1, by layer name."""

    def share(name: str) -> float:
        return float(np.mean(np.concatenate([one.ravel() for one in kernels(model, name)]) == 0))

    return {name: share(name) for name in names}
