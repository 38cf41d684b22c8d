"""Keeps as many channels of each layer as somebody says, whatever share of the network that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.errors import InputError, require, unknown_name
from tfcompress.techniques._channel_widths import Array, Widths, check_any_free, revive

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph

# Layer names to numbers of channels.
Counts = Mapping[str, int]


def parsed(given: Counts | Sequence[str]) -> dict[str, int]:
    """Returns numbers of channels by layer name from either form.

    Raises:
        InputError: something else, or a layer that is named twice.

    >>> parsed(("conv3:64", "attention:heads:2"))
    {'conv3': 64, 'attention:heads': 2}
    """
    counts: dict[str, int] = {}
    for pair in given.items() if isinstance(given, Mapping) else given:
        try:
            name, count = pair.rsplit(":", 1) if isinstance(pair, str) else pair
            good = int(count) >= 1 and int(count) == float(count)
        except (TypeError, ValueError):
            good = False
        require(good, f"option widths takes layer:channels, as in widths=conv3:64; got {given!r}")
        require(name not in counts, f"option widths names '{name}' twice")
        counts[name] = int(count)
    return counts


def check(graph: ChannelGraph, counts: Counts) -> None:
    """Raises if a model can't have these numbers of channels.

    Raises:
        InputError: it has no such layer, whose channels could go, or the layer not so many, or
            it must keep more.
    """
    check_any_free(graph)
    free = {name: group for name, group in graph.groups.items() if not group.frozen}
    for name, count in counts.items():
        if name not in graph.groups:
            raise unknown_name("layer in option widths", name, free)
        group = graph.groups[name]
        if group.frozen and count != group.size:
            raise InputError(
                f"option widths={name}:{count}: all {group.size} channels have to stay: "
                f"{group.frozen}"
            )
        least = max(len(group.fixed), 1)
        require(
            least <= count <= group.size,
            f"option widths={name}:{count}: the layer has {group.size} channels"
            + (f", {least} of which have to stay" if least > 1 else ""),
        )


def choose(graph: ChannelGraph, by_group: Mapping[str, Array], counts: Counts) -> Widths:
    """Returns the channels with the highest scores: so many of the layers named, of others all.

    Where a tensor would be left without channels its best one stays, too.

    Args:
        graph: of the model.
        by_group: the scores.
        counts: how many stay.

    Raises:
        InputError: as `check`.
    """
    check(graph, counts)
    alive = {}
    for name, values in by_group.items():
        group = graph.groups[name]
        mask = np.zeros(group.size, bool)
        first = np.array(sorted(group.fixed), np.int64)
        order = np.argsort(-values, kind="stable")
        ranked = np.concatenate([first, order[~np.isin(order, first)]])
        mask[ranked[: counts.get(name, group.size)]] = True
        alive[name] = mask
    revive(graph, by_group, alive)
    return {name: np.flatnonzero(mask) for name, mask in alive.items()}
