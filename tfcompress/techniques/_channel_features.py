"""Scores channels by their values for real examples: no labels, no gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.deferred import keras
from tfcompress.graph import Graph
from tfcompress.ops import importance
from tfcompress.techniques import _layer_inputs as layer_inputs
from tfcompress.techniques._channel_scores import Array, Part, Parts
from tfcompress.techniques.base import SAMPLES

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group
    from tfcompress.graph.channels.groups import Output, Slice
    from tfcompress.techniques.base import Candidate

_RECTIFIERS = frozenset({"relu", "relu6"})
# Ranks are stable over batches, and dear.
_RANKED = 64


def parts(
    graph: ChannelGraph, groups: Mapping[str, Group], criterion: str, candidate: Candidate
) -> Parts:
    """Returns for each group the entries that it is scored by, and each entry's score.

    Args:
        graph: of the model.
        groups: of it.
        criterion: `apoz`, `hrank` or `thinet`.
        candidate: holds the examples.
    """
    samples = candidate.samples
    if samples is None:
        assert candidate.data is not None
        samples = candidate.data.representative(SAMPLES)
    if criterion == "thinet":
        return _by_responses(graph, groups, samples)
    if criterion == "apoz":
        rectified = [each for each in graph.outputs() if _function(each.operation) in _RECTIFIERS]
        places = {name: [out for out in rectified if name in out.channels] for name in groups}
        return _by_outputs(graph, places, samples, _positive)
    few = keras.tree.map_structure(lambda x: x[:_RANKED], samples)
    return _by_outputs(graph, _activations(graph, groups), few, _ranks)


def _by_outputs(
    graph: ChannelGraph,
    places: Mapping[str, list[Output]],
    samples: Any,
    score: Callable[[Array], Array],
) -> Parts:
    """Scores the channels of some outputs.

    Args:
        graph: of the model.
        places: group names to the outputs that they are scored in.
        samples: examples.
        score: from a batch's values (examples, ..., channels) to a score of each channel.
    """
    names = {out.operation.name: out for outs in places.values() for out in outs}
    scores: dict[str, Any] = {}
    for name, values in layer_inputs.outputs(graph.model, set(names), samples):
        values = np.moveaxis(values, names[name].axis, -1)
        scores[name] = scores.get(name, 0.0) + len(values) * score(values)
    return {
        group: [(out.channels[group], scores[out.operation.name]) for out in outs]
        for group, outs in places.items()
    }


def _positive(values: Array) -> Array:
    """Returns the share of each channel's values that aren't 0."""
    return np.asarray((values != 0).reshape(-1, values.shape[-1]).mean(axis=0))


def _ranks(values: Array) -> Array:
    """Returns the mean rank of each channel's maps; of further axes the first ones are rows."""
    columns = values.shape[-2] if values.ndim > 2 else 1
    return importance.mean_ranks(values.reshape(len(values), -1, columns, values.shape[-1]))


def _activations(graph: ChannelGraph, groups: Mapping[str, Group]) -> dict[str, list[Output]]:
    """Returns the activations behind each group; without any, what its layers give."""
    every = graph.outputs()
    known = {name.replace("_", "") for name in dir(keras.activations)} | {"prelu", "leakyrelu"}
    behind = [out for out in every if _function(out.operation) in known - {"linear"}]
    result = {}
    for name, group in groups.items():
        own = [out for out in behind if name in out.channels]
        result[name] = own or [
            out for out in every if out.operation.name in group.producers and name in out.channels
        ]
    return result


def _function(operation: Any) -> str:
    """Returns the name of the function that an operation ends in, without underscores."""
    function = getattr(operation, "activation", None)
    name = getattr(function, "__name__", None) or type(operation).__name__
    return str(name).lower().replace("_", "")


def _by_responses(graph: ChannelGraph, groups: Mapping[str, Group], samples: Any) -> Parts:
    """Scores channels by the order in which the layers that take them miss them least."""
    calls = Graph.of(graph.model).calls
    taken: dict[str, list[tuple[str, Slice]]] = {}
    for name, group in groups.items():
        for part in group.slices:
            layer = graph.model.get_layer(part.layer)
            fits = layer_inputs.can_be_fitted(layer) and calls[part.layer] == 1
            if fits and part.role == "taken" and part.path == "kernel":
                taken.setdefault(part.layer, []).append((name, part))
    grams: dict[tuple[str, str], Any] = {}
    for layer, rows in layer_inputs.rows(graph.model, set(taken), samples):
        kernel = layer_inputs.as_matrix(graph.model.get_layer(layer).kernel)
        for name, part in taken[layer]:
            channels = np.tile(part.channels, len(kernel) // len(part.channels))
            gram = importance.contributions(rows, kernel, channels)
            grams[name, layer] = grams.get((name, layer), 0.0) + gram
    result: dict[str, list[Part]] = {name: [] for name in groups}
    for layer, parts in taken.items():
        for name, part in parts:
            order = importance.removal_order(grams[name, layer])
            places = np.empty(len(order))
            places[order] = np.arange(1, len(order) + 1)
            present = np.unique(part.channels[part.channels >= 0])
            result[name].append((present, places))
    return result
