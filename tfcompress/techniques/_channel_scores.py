"""Scores the channels of a model, by its weights or by what real examples show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import require
from tfcompress.ops import importance

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group
    from tfcompress.techniques.base import Candidate

Array = np.ndarray
# Which channels of a group some entries belong to (-1 for others), and each entry's score.
Part = tuple[Array, Array]
Parts = dict[str, list[Part]]

# Scores of a layer's filters, from these as (filters, weights).
_BY_WEIGHTS: dict[str, Callable[[Array], Array]] = {
    "l1": importance.l1,
    "l2": importance.l2,
    "fpgm": importance.median_distance,
}
_BY_GRADIENTS = ("taylor", "obd")
BY_EXAMPLES = (*_BY_GRADIENTS, "apoz", "hrank", "thinet")
CRITERIA = (*_BY_WEIGHTS, "bn_scale", "random", *BY_EXAMPLES)


def chosen(criterion: str, candidate: Candidate) -> str:
    """Returns the criterion that `auto` stands for, or the one given.

    Raises:
        InputError: it looks at examples, and there are none.
    """
    examples = candidate.samples is not None or candidate.data is not None
    if criterion == "auto":
        return "taylor" if examples else "l2"
    require(
        criterion not in BY_EXAMPLES or examples,
        f"channels with criterion={criterion} needs training examples: use tfcompress.compress or "
        "the command, not transform, or criterion=l2",
    )
    return criterion


def scores(
    graph: ChannelGraph, criterion: str, seed: int, candidate: Candidate | None = None
) -> dict[str, Array]:
    """Returns a score for each channel of each group that isn't frozen; as `scored`."""
    return scored(graph, criterion, seed, candidate)[0]


def scored(
    graph: ChannelGraph, criterion: str, seed: int, candidate: Candidate | None = None
) -> tuple[dict[str, Array], dict[str, str]]:
    """Scores each channel of each group that isn't frozen; high ones stay.

    A channel's score is the mean of its scores in all layers that it is scored in, each divided by
    its layer's mean, so that layers and groups can be compared.

    Args:
        graph: of the model.
        criterion: one of `CRITERIA`; a group that it finds nothing to score in, such as one
            without batch normalisation where its scales are asked for, is scored by `l2`.
        seed: of `random`.
        candidate: holds the examples, for criteria that look at them.

    Returns:
        Groups' names to their channels' scores, and to the criterion that they are by.

    Raises:
        InputError: a score is no finite number.
    """
    free = {name: group for name, group in graph.groups.items() if not group.frozen}
    if criterion == "random":
        rng = np.random.default_rng(seed)
        drawn = {name: rng.random(group.size) for name, group in free.items()}
        return drawn, dict.fromkeys(free, criterion)
    parts = _parts(graph, free, criterion, candidate)
    missing = {name: group for name, group in free.items() if not parts.get(name)}
    parts = parts | _parts(graph, missing, "l2", None)
    criteria = {name: "l2" if name in missing else criterion for name in free}
    scores = {name: _mean(parts[name], group.size) for name, group in free.items()}
    for name, values in scores.items():
        require(
            bool(np.isfinite(values).all()),
            f"the channels of '{name}' have scores by {criteria[name]} that aren't finite numbers: "
            "do the model's weights and its outputs have such?",
        )
    return scores, criteria


def _mean(parts: list[Part], size: int) -> Array:
    """Returns each channel's mean score over its layers."""
    total, count = np.zeros(size), np.zeros(size)
    for channels, values in parts:
        own = channels >= 0
        values = values[own] / (values[own].mean() or 1.0)
        np.add.at(total, channels[own], values)
        np.add.at(count, channels[own], 1)
    return np.asarray(total / np.maximum(count, 1))


def _parts(
    graph: ChannelGraph, groups: dict[str, Group], criterion: str, candidate: Candidate | None
) -> Parts:
    """Returns the entries that the groups' scores are taken from, and a value for each."""
    if criterion in BY_EXAMPLES:
        from tfcompress.techniques import _channel_features, _channel_gradients

        assert candidate is not None
        room = _channel_gradients if criterion in _BY_GRADIENTS else _channel_features
        return room.parts(graph, groups, criterion, candidate)
    return {name: _of_weights(graph, group, criterion) for name, group in groups.items()}


def _of_weights(graph: ChannelGraph, group: Group, criterion: str) -> list[Part]:
    """Returns the filters of a group's layers, or the scales behind them, with their scores."""
    parts = []
    for part in group.slices:
        layer = graph.model.get_layer(part.layer)
        weight = np.asarray(keras.ops.convert_to_numpy(layer.weights[part.weight]), np.float32)
        if criterion == "bn_scale":
            if part.role == "passed" and part.path.endswith("gamma"):
                parts.append((part.channels, np.abs(weight)))
        elif part.role == "made" and weight.ndim > 1:
            parts.append((part.channels, _BY_WEIGHTS[criterion](filters(weight, part.axis))))
    return parts


def filters(weight: Array, axis: int) -> Array:
    """Returns a weight as (entries of an axis, others)."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
