"""Scores channels by the gradients of the loss: what it would change if they were gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.deferred import keras
from tfcompress.graph import Graph
from tfcompress.ops import importance
from tfcompress.techniques._channel_scores import Array, Parts, filters

if TYPE_CHECKING:
    from tfcompress.data.protocol import Batch
    from tfcompress.graph.channels import ChannelGraph, Group, Slice
    from tfcompress.techniques.base import Candidate
    from tfcompress.training.objective import Objective

_BATCH = 16
_BATCHES = 40
_SEED = 0
# Slices that are scored as one: the entries of the same channels, in weights of one layer.
_Member = list["Slice"]


def parts(
    graph: ChannelGraph, groups: Mapping[str, Group], criterion: str, candidate: Candidate
) -> Parts:
    """Returns for each group the entries that it is scored by, and each entry's score.

    Args:
        graph: of the model.
        groups: of it.
        criterion: `taylor` or `obd`.
        candidate: holds the examples.
    """
    from tfcompress.training.gradients import batch_gradients

    find = _gates if criterion == "taylor" else _filters
    members = {name: find(graph, group) for name, group in groups.items()}
    weights = {
        layer.name: [np.asarray(keras.ops.convert_to_numpy(w), np.float32) for w in layer.weights]
        for layer in graph.model.layers
    }
    sums = {name: [np.zeros(len(m[0].channels)) for m in own] for name, own in members.items()}
    for gradients in batch_gradients(graph.model, *examples(graph.model, candidate), _BATCH):
        for name, own in members.items():
            for total, member in zip(sums[name], own, strict=True):
                total += _score(member, weights, gradients, criterion)
    return {
        name: [(member[0].channels, total) for member, total in zip(own, sums[name], strict=True)]
        for name, own in members.items()
    }


def _score(
    member: _Member,
    weights: Mapping[str, list[Array]],
    gradients: Mapping[str, list[Array | None]],
    criterion: str,
) -> Array:
    """Returns the score of each entry of a member, by the gradients of one batch."""
    rows, slopes = [], []
    for part in member:
        gradient = gradients[part.layer][part.weight]
        if gradient is not None:
            rows.append(filters(weights[part.layer][part.weight], part.axis))
            slopes.append(filters(gradient, part.axis))
    if not rows:
        return np.zeros(len(member[0].channels))
    whole, slope = np.concatenate(rows, axis=1), np.concatenate(slopes, axis=1)
    if criterion == "taylor":
        return importance.taylor(whole, slope)
    return importance.optimal_brain_damage(whole, np.square(slope))


def _filters(graph: ChannelGraph, group: Group) -> list[_Member]:
    """Returns each layer's filters, with their biases."""
    members: dict[tuple[str, bytes], _Member] = {}
    for part in group.slices:
        if part.role == "made":
            members.setdefault((part.layer, part.channels.tobytes()), []).append(part)
    return [
        member
        for member in members.values()
        if any(len(graph.model.get_layer(p.layer).weights[p.weight].shape) > 1 for p in member)
    ]


def _gates(graph: ChannelGraph, group: Group) -> list[_Member]:
    """Returns the weights that all of a channel is multiplied by, or added to it.

    Those of the batch normalisation that alone takes a layer's outputs, or else the filters.
    """
    flow = Graph.of(graph.model)
    members = []
    for member in _filters(graph, group):
        norm = flow.only_consumer(member[0].layer)
        scales = [p for p in group.slices if p.layer == norm and p.path in ("gamma", "beta")]
        has_scale = any(part.path == "gamma" for part in scales)
        members.append(scales if has_scale else member)
    return members


def examples(
    model: keras.Model, candidate: Candidate, count: int = _BATCH * _BATCHES
) -> tuple[Batch, Objective]:
    """Returns training examples with targets, and the loss.

    Without targets those that the model makes itself.

    Args:
        model: whose loss it is.
        candidate: holds the examples.
        count: of the examples, where there are as many.
    """
    from tfcompress.data.protocol import Batch
    from tfcompress.training.gradients import own_targets
    from tfcompress.training.objective import inferred_objective

    data, goal = candidate.data, candidate.objective
    batch = Batch(candidate.samples) if data is None else data.sample(count, _SEED)
    if data is None or batch.y is None:
        return own_targets(model, batch.x, _SEED)
    if goal is None or not goal.users:
        goal = inferred_objective(model, data)
    return batch, goal
