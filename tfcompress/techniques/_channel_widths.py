"""Chooses which channels of a model stay: by scores, within a share of the multiply-accumulates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import InputError, grouped

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group

Array = np.ndarray
Widths = dict[str, Array]

# Of a group's channels, those that stay at least.
_LEAST_SHARE = 0.1
# From this width on, numbers of channels are multiples of twice the rounding.
_WIDE = 64
# Multiples of 8 are as fast on processors with shorter vectors, and slower with AVX-512.
ROUND_TO = 16


@dataclasses.dataclass(frozen=True)
class Rules:
    """Holds what the choice goes by; see `ChannelOptions`.

    Attributes:
        macs_ratio: the multiply-accumulates that stay, as a share.
        scope: `global` or `layer`.
        min_channels: that each group keeps, and a tenth of its channels.
        round_to: numbers of channels are multiples of it, above 64 of twice as much.
    """

    macs_ratio: float
    scope: str
    min_channels: int
    round_to: int

    def least(self, group: Group) -> int:
        """Returns how many channels a group keeps at least."""
        wanted = max(self.min_channels, math.ceil(_LEAST_SHARE * group.size), len(group.fixed))
        return min(wanted, group.size)

    def rounded(self, count: int, group: Group) -> int:
        """Returns the number of channels that stay where `count` would be enough.

        Rounded to the nearest multiple, and then raised to the least: no group is left out because
        it has few channels.
        """
        return max(min(self.multiple(count), group.size), self.least(group))

    def multiple(self, count: int) -> int:
        """Returns the nearest multiple of the rounding; a number below it as it is."""
        step = self.round_to * (2 if count > _WIDE else 1)
        return step * ((2 * count + step) // (2 * step)) if count >= step else count


# A weight's shape, and what the axes that hold channels hold: group names, with the channel in each
# entry.
_Entry = tuple[tuple[int, ...], dict[int, list[tuple[str, Array]]]]


class Cost:
    """Counts the multiply-accumulates of a model some of whose channels are gone.

    Those of a layer's kernels follow the number of their weights, which is exact for built-in
    layers and for those of ours whose kernels all work at the same positions; of attention, the
    products of queries, keys and values follow the number of heads.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        from tfcompress.graph import count

        macs: dict[str, int] = {}
        for row in count(graph.model):
            macs[row.name] = macs.get(row.name, 0) + row.macs
        self.whole = sum(macs.values())
        held: dict[tuple[str, int], dict[int, list[tuple[str, Array]]]] = {}
        for group in graph.groups.values():
            for part in group.slices:
                axes = held.setdefault((part.layer, part.weight), {})
                axes.setdefault(part.axis, []).append((group.name, part.channels))
        self._weights: list[_Entry] = []
        # Of each layer that has any its multiply-accumulates, by what their number follows.
        self._macs: dict[str, list[tuple[float, _Entry]]] = {}
        products = _attention_products(graph)
        for layer in graph.model.layers:
            entries = [
                (tuple(weight.shape), held.get((layer.name, index), {}))
                for index, weight in enumerate(layer.weights)
            ]
            self._weights += entries
            if not macs.get(layer.name):
                continue
            kernels = [
                entry
                for entry, weight in zip(entries, layer.weights, strict=True)
                if len(entry[0]) > 1 and weight.name != "bias"
            ]
            size = sum(math.prod(shape) for shape, _ in kernels) or 1
            alone, heads = products.get(layer.name, (0, ((1,), {})))
            left = macs[layer.name] - alone
            own = [(left * math.prod(entry[0]) / size, entry) for entry in kernels]
            self._macs[layer.name] = [*own, (float(alone), heads)]

    def of(self, alive: Mapping[str, Array]) -> float:
        """Returns the multiply-accumulates where these channels of the groups named stay.

        Args:
            alive: of each channel whether it stays, or how many stand in its place.
        """
        return sum(self.by_layer(alive).values())

    def by_layer(self, alive: Mapping[str, Array]) -> dict[str, float]:
        """Returns those of each layer that has any."""
        return {
            layer: sum(macs * _share_left([entry], alive) for macs, entry in parts)
            for layer, parts in self._macs.items()
        }

    def weights_left(self, alive: Mapping[str, Array]) -> float:
        """Returns the share of the model's weights that are left, biases and statistics too."""
        return _share_left(self._weights, alive)

    def terms(self, of: str) -> list[tuple[float, list[tuple[int, list[tuple[str, Array]]]]]]:
        """Returns what the model's cost is made of, each part with what it follows.

        Args:
            of: `macs` or `size`.

        Returns:
            The part's share of the whole cost; and for each axis that holds channels its length,
            and group names with the channel in each entry.
        """
        if of == "macs":
            parts = [part for layer in self._macs.values() for part in layer]
        else:
            parts = [(float(math.prod(entry[0])), entry) for entry in self._weights]
        whole = sum(cost for cost, _ in parts) or 1.0
        return [
            (cost / whole, [(shape[axis], held) for axis, held in axes.items()])
            for cost, (shape, axes) in parts
            if axes and cost
        ]


def _attention_products(graph: ChannelGraph) -> dict[str, tuple[int, _Entry]]:
    """Returns what attention layers multiply without weights, and the heads that this follows."""
    from tfcompress.graph.layer_macs import attention_products
    from tfcompress.graph.nodes import call_arguments, nodes

    result: dict[str, tuple[int, _Entry]] = {}
    for node in nodes(graph.model):
        layer = node.operation
        if isinstance(layer, keras.layers.MultiHeadAttention):
            args, kwargs = call_arguments(node)
            query, value = (*args, *kwargs.values())[:2]
            before = result.get(layer.name, (0, None))[0]
            parts = [
                (group.name, part.channels)
                for group in graph.groups.values()
                for part in group.slices
                if (part.layer, part.path, part.axis) == (layer.name, "_query_dense.kernel", 1)
            ]
            heads: _Entry = ((layer.num_heads,), {0: parts} if parts else {})
            products = attention_products(layer, tuple(query.shape), tuple(value.shape))
            result[layer.name] = before + products, heads
    return result


def _share_left(weights: Iterable[_Entry], alive: Mapping[str, Array]) -> float:
    """Returns the share of some weights that are left where these channels of the groups stay."""
    before = after = 0
    for shape, axes in weights:
        sizes = list(shape)
        for axis, parts in axes.items():
            sizes[axis] += sum(
                int((alive[name][channels[channels >= 0]] - 1).sum())
                for name, channels in parts
                if name in alive
            )
        before += math.prod(shape)
        after += math.prod(sizes)
    return after / (before or 1)


def choose(graph: ChannelGraph, by_group: Mapping[str, Array], rules: Rules) -> Widths:
    """Returns which channels of which groups stay: as many as the multiply-accumulates allow.

    Args:
        graph: of the model.
        by_group: the scores.
        rules: see there.

    Raises:
        InputError: nothing can be cut, or not so much.
    """
    check(graph, rules)
    cost = Cost(graph)
    limit = cost.whole * rules.macs_ratio
    measure = _comparable(by_group, rules)
    # The groups' numbers, in the order in which their channels go.
    owners = np.repeat(np.arange(len(measure)), [len(values) for values in measure.values()])
    order = owners[np.argsort(np.concatenate([*measure.values()]), kind="stable")]

    def alive(gone: int) -> Widths:
        counts = np.bincount(order[:gone], minlength=len(measure))
        return {
            name: _best(values, graph.groups[name], len(values) - int(count), rules)
            for (name, values), count in zip(measure.items(), counts, strict=True)
        }

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cost.of(alive(middle)) <= limit else (middle + 1, high)
    chosen = alive(low)
    revive(graph, measure, chosen)
    _fill(graph, measure, chosen, rules, lambda masks: cost.of(masks) <= limit)
    return _channels(chosen)


def widen(
    graph: ChannelGraph,
    by_group: Mapping[str, Array],
    kept: Widths,
    rules: Rules,
    fits: Callable[[Widths], bool],
) -> Widths:
    """Widens groups by a step of the rounding each, as long as that fits.

    Args:
        graph: of the model.
        by_group: the scores.
        kept: group names to channels that stay.
        rules: see there.
        fits: says of channels that stay whether they may.
    """
    alive = masks(graph, kept)
    measure = _comparable(by_group, rules)
    _fill(graph, measure, alive, rules, lambda wider: fits(_channels(wider)))
    return _channels(alive)


def masks(graph: ChannelGraph, kept: Widths) -> Widths:
    """Returns for each group a mask of the channels that stay."""
    return {name: np.isin(np.arange(graph.groups[name].size), left) for name, left in kept.items()}


def _channels(alive: Mapping[str, Array]) -> Widths:
    """Returns the channels of each group's mask."""
    return {name: np.flatnonzero(mask) for name, mask in alive.items()}


def _comparable(by_group: Mapping[str, Array], rules: Rules) -> dict[str, Array]:
    """Returns scores by which the channels of all groups can be ranked together."""
    return {
        name: values / (values.mean() or 1.0) if rules.scope == "global" else _ranks(values)
        for name, values in by_group.items()
    }


def _fill(
    graph: ChannelGraph,
    measure: Mapping[str, Array],
    alive: Widths,
    rules: Rules,
    fits: Callable[[Widths], bool],
) -> None:
    """Widens groups by a step each where that fits: rounding has left room.

    The group whose next channel is the best comes first.
    """
    full: set[str] = set()
    while True:
        best = {
            name: values[~alive[name]].max()
            for name, values in measure.items()
            if name not in full and not alive[name].all()
        }
        if not best:
            return
        name = max(best, key=lambda name: best[name])
        group = graph.groups[name]
        count = int(alive[name].sum())
        wider = next(n for n in range(count + 1, 3 * group.size) if rules.rounded(n, group) > count)
        mask = _best(measure[name], group, wider, rules) | alive[name]
        if fits({**alive, name: mask}):
            alive[name] = mask
        else:
            full.add(name)


def check(graph: ChannelGraph, rules: Rules) -> None:
    """Raises if a model has no channels to cut, or too few for the ratio.

    Raises:
        InputError: likewise.
    """
    check_any_free(graph)
    least, most = least_macs(graph, rules)
    if least > rules.macs_ratio:
        free = [name for name, group in graph.groups.items() if not group.frozen]
        some = ", ".join(free[:3]) + (", ..." if len(free) > 3 else "")
        raise InputError(
            f"option macs_ratio={rules.macs_ratio:g} is out of reach for model "
            f"'{graph.model.name}': with min_channels={rules.min_channels} in all layers that can "
            f"lose channels ({some}), {least:.3g} is left, most of it in '{most}'"
        )


def check_any_free(graph: ChannelGraph) -> None:
    """Raises if a model has no channels to cut.

    Raises:
        InputError: likewise.
    """
    if all(group.frozen for group in graph.groups.values()):
        reasons = grouped({name: str(group.frozen) for name, group in graph.groups.items()})
        raise InputError(
            f"no layer of model '{graph.model.name}' has channels that can be cut out "
            f"({reasons or 'none makes any'})"
        )


def least_macs(graph: ChannelGraph, rules: Rules) -> tuple[float, str]:
    """Returns the least share of the multiply-accumulates, and the layer that has most of it."""
    cost = Cost(graph)
    narrow = {
        name: np.arange(group.size) < rules.least(group)
        for name, group in graph.groups.items()
        if not group.frozen
    }
    left = cost.by_layer(narrow)
    return sum(left.values()) / (cost.whole or 1), max(left, key=lambda name: left[name])


def _ranks(values: Array) -> Array:
    """Returns each channel's place among its group's as a share: each loses the same share."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values)) / len(values)
    return ranks


def _best(values: Array, group: Group, count: int, rules: Rules) -> Array:
    """Returns a mask of the channels with the highest scores, and of those that have to stay."""
    mask = np.zeros(group.size, bool)
    mask[list(group.fixed)] = True
    order = np.argsort(-np.where(mask, np.inf, values), kind="stable")
    mask[order[: rules.rounded(count, group)]] = True
    return mask


def revive(graph: ChannelGraph, by_group: Mapping[str, Array], alive: Widths) -> None:
    """Keeps the best channel of each tensor that would have none."""
    for parts in graph.narrowest():
        if not any(alive[name][channels].any() for name, channels in parts.items()):
            name, channels = next(iter(parts.items()))
            alive[name][channels[np.argmax(by_group[name][channels])]] = True
