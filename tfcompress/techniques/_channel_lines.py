"""Says for the report which layers lost channels, and why others kept theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.techniques._channel_widths import Widths
from tfcompress.techniques.base import LayerLine, LayerWidth

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group


def lines(
    whole: ChannelGraph,
    graph: ChannelGraph,
    kept: Widths,
    errors: Mapping[str, float],
    criteria: Mapping[str, str],
) -> list[LayerLine]:
    """Returns a line for each layer: its width before and after, or why it kept it.

    Args:
        whole: of the model before its first channel was cut out.
        graph: of the model before the last cut.
        kept: the channels that this cut left.
        errors: layer name to the error of the responses of layers that were refitted.
        criteria: group names to what their channels were scored by.
    """
    result = [
        _made(
            whole,
            graph,
            name,
            layer,
            kept,
            f" by {criteria[name]}" if name in criteria else "",
            errors,
        )
        for name, group in graph.groups.items()
        for layer in group.producers
    ]
    named = {line.name for line in result}
    result += [line for line in _passed(whole, graph, kept) if line.name not in named]
    narrowed = {line.name for line in result if line.action == "narrowed"}
    for layer in errors.keys() - narrowed:
        result = [line for line in result if line.name != layer]
    return result + [
        LayerLine(
            layer, _kind(graph, layer), "refitted", f"takes fewer channels{_error(errors, layer)}"
        )
        for layer in errors
        if layer not in narrowed
    ]


def _made(
    whole: ChannelGraph,
    graph: ChannelGraph,
    name: str,
    layer: str,
    kept: Widths,
    criterion: str,
    errors: Mapping[str, float],
) -> LayerLine:
    """Returns the line of a layer that makes a group's channels."""
    group, kind = graph.groups[name], _kind(graph, layer)
    before, after = _width(whole, graph, name, layer, kept)
    if after < before:
        what = name.partition(":")[2].replace("_", " ") or "channels"
        text = f"{before} -> {after} {what}{criterion}{_tied(group, layer)}"
        text += _error(errors, layer)
        return LayerLine(layer, kind, "narrowed", text)
    return LayerLine(layer, kind, "kept", group.frozen or f"all {before} channels are left")


def layer_widths(whole: ChannelGraph, graph: ChannelGraph, kept: Widths) -> list[LayerWidth]:
    """Returns how many channels each layer makes before and after.

    Args:
        whole: of the model before its first channel was cut out.
        graph: of the model before the last cut.
        kept: the channels that this cut left.
    """
    return [
        LayerWidth(
            title(name, layer),
            *_width(whole, graph, name, layer, kept),
            group.frozen or "",
        )
        for name, group in graph.groups.items()
        for layer in group.producers
    ]


def title(group: str, layer: str) -> str:
    """Returns a layer's name, with the word of its channels where it makes several kinds."""
    return layer + group[len(group.partition(":")[0]) :]


def _width(
    whole: ChannelGraph, graph: ChannelGraph, name: str, layer: str, kept: Widths
) -> tuple[int, int]:
    """Returns how many of a group's channels a layer makes before and after."""
    group = graph.groups[name]
    before, after = filters(group, layer, kept.get(name, range(group.size)))
    if name in whole.groups:
        before, _ = filters(whole.groups[name], layer, ())
    return before, after


def _passed(whole: ChannelGraph, graph: ChannelGraph, kept: Widths) -> list[LayerLine]:
    """Returns lines of layers with kernels that make no channels of their own."""
    everything = {name: np.arange(group.size) for name, group in graph.groups.items()}
    before, after = _given(whole, {}), _given(graph, everything | kept)
    norms = {name for group in graph.groups.values() for name in group.statistics}
    result = []
    for layer in graph.model.layers:
        name, kind = layer.name, type(layer).__name__
        if name not in norms and not any(len(weight.shape) > 1 for weight in layer.weights):
            continue
        if name not in after:
            line = LayerLine(name, kind, "kept", "no rule says which channels it has")
        elif after[name] < before.get(name, after[name]):
            text = f"{before[name]} -> {after[name]} channels, those that it is given"
            if name in norms:
                text += "; its statistics are now of these, so the network has to be trained"
            line = LayerLine(name, kind, "narrowed", text)
        else:
            line = LayerLine(name, kind, "kept", "is given all of its channels")
        result.append(line)
    return result


def _given(graph: ChannelGraph, kept: Widths) -> dict[str, int]:
    """Returns how many channels each layer passes on; of groups that aren't named, all."""
    return {
        part.layer: int(np.isin(part.channels, kept.get(name, np.arange(group.size))).sum())
        for name, group in graph.groups.items()
        for part in group.slices
        if part.role == "passed"
    }


def filters(group: Group, layer: str, kept: Collection[int]) -> tuple[int, int]:
    """Returns how many filters of a layer belong to a group, and how many of them stay."""
    made = made_by(group, layer)
    return len(made), int(np.isin(made, list(kept)).sum())


def made_by(group: Group, layer: str) -> np.ndarray:
    """Returns which of a group's channels a layer makes."""
    made = next(s for s in group.slices if (s.layer, s.role) == (layer, "made")).channels
    return made[made >= 0]


def _kind(graph: ChannelGraph, layer: str) -> str:
    return type(graph.model.get_layer(layer)).__name__


def _tied(group: Group, layer: str) -> str:
    """Says with which layer's channels a layer's live and die."""
    others = [name for name in group.producers if name != layer]
    return (
        f", with those of {', '.join(others[:2])}{' ...' if others[2:] else ''}" if others else ""
    )


def _error(errors: Mapping[str, float], layer: str) -> str:
    return f"; error of the responses {errors[layer]:.3f}" if layer in errors else ""
