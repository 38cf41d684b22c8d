"""MorphNet: a training learns how wide each layer should be, and the network is made anew so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.config import Training
from tfcompress.deferred import keras
from tfcompress.errors import InputError, require
from tfcompress.techniques import _channel_lines as report_lines
from tfcompress.techniques import _channel_sparse as sparse
from tfcompress.techniques import _channel_widths as widths
from tfcompress.techniques._channel_budget import check_ratios
from tfcompress.techniques.base import Candidate, LayerLine, LayerWidth, Technique

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group

# The multiplier is found to so many halvings.
_HALVINGS = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class MorphNetOptions:
    """What the network may cost, and how its widths are learned.

    Attributes:
        macs_ratio: the multiply-accumulates of the new network, by those of the old one; 1 where
            neither ratio is given, as in the paper: the same cost, otherwise spent.
        size_ratio: in its place, the bytes of the weights. The penalty is on what the ratio is of.
        sparse_epochs: of the training that learns the widths, with a penalty on the scales of batch
            normalisations, each by what its channel costs.
        strength: factor of the penalty, which is the cost as a share of the network's.
        threshold: a channel goes if its scale is at or below it.
        min_channels: that every layer keeps, beside a tenth of its own.
        round_to: layers have a multiple of so many channels where they have as many, twice that
            above 64.
    """

    macs_ratio: float | None = None
    size_ratio: float | None = None
    sparse_epochs: int = 10
    strength: float = 5.0
    threshold: float = 0.01
    min_channels: int = 4
    round_to: int = widths.ROUND_TO

    def __post_init__(self) -> None:
        """Refuses numbers that no network can have."""
        given = {"macs_ratio": self.macs_ratio, "size_ratio": self.size_ratio}
        check_ratios(**given)
        for name in ("sparse_epochs", "min_channels", "round_to"):
            value = getattr(self, name)
            require(value >= 1, f"option {name} must be 1 or more; got {value}")
        for name in ("strength", "threshold"):
            value = getattr(self, name)
            require(value > 0, f"option {name} must be above 0; got {value}")

    @property
    def resource(self) -> str:
        """What the ratio is of: `macs` or `size`."""
        return "macs" if self.size_ratio is None else "size"

    @property
    def ratio(self) -> float:
        """The share of it that the new network may have."""
        given = self.macs_ratio if self.size_ratio is None else self.size_ratio
        return 1.0 if given is None else given


class _Anew(MorphNetOptions):
    """The options as the second round gets them, which makes the new network."""


def _transform(candidate: Candidate, options: MorphNetOptions) -> Candidate:
    """Puts the penalty on a copy of the network; behind its training, makes the new network.

    Raises:
        InputError: as `_check`.
    """
    if isinstance(options, _Anew):
        return _anew(candidate, options)
    from tfcompress.graph import clone
    from tfcompress.graph.channels import ChannelGraph
    from tfcompress.training.penalties import ResourcePenalty

    graph = ChannelGraph(candidate.model, exact=False)
    _check_graph(graph, options)
    model = clone(graph.model)
    scales = _scales(graph, model)
    terms = widths.Cost(graph).terms(options.resource)
    (variable, _), *_ = next(iter(scales.values()))
    variable.regularizer = ResourcePenalty(options.strength, options.threshold, scales, terms)
    return candidate.then(model)


def _scales(graph: ChannelGraph, model: keras.Model) -> dict[str, list[tuple[Any, np.ndarray]]]:
    """Returns the scales in a model that the channels of each group pass."""
    return {
        name: [
            (model.get_layer(part.layer).weights[part.weight], part.channels)
            for part in sparse.scales(group)
        ]
        for name, group in graph.groups.items()
        if not group.frozen and sparse.scales(group)
    }


def _anew(candidate: Candidate, options: MorphNetOptions) -> Candidate:
    """Returns a network with the widths that the scales show, and new weights."""
    from tfcompress.graph.channels import ChannelGraph
    from tfcompress.training.penalties import largest

    candidate = candidate.judged("trained with the penalty", candidate.model)
    graph = ChannelGraph(candidate.model, exact=False)
    sizes = {
        name: np.asarray(keras.ops.convert_to_numpy(largest(scales)))
        for name, scales in _scales(graph, graph.model).items()
    }
    return _resized(candidate, graph, sizes, options)


def _resized(
    candidate: Candidate,
    graph: ChannelGraph,
    sizes: Mapping[str, np.ndarray],
    options: MorphNetOptions,
) -> Candidate:
    """Returns a network with new weights, as wide as the budget allows.

    Args:
        candidate: with the network.
        graph: of it.
        sizes: group names to each channel's largest scale; of other groups no channel goes.
        options: see there.
    """
    rules = _rules(options)
    free = {name: group for name, group in graph.groups.items() if not group.frozen}
    order = {name: sizes.get(name, np.ones(group.size)) for name, group in free.items()}
    alive = {name: _alive(values, free[name], options) for name, values in order.items()}
    widths.revive(graph, order, alive)
    left = _share(graph, alive, options)
    multiplier, times = _widest(graph, order, alive, options, rules)
    learned = ", ".join(f"{name} {int(mask.sum())}" for name, mask in alive.items())
    candidate.say("morphnet", f"channels that are needed: {learned}")
    cost = _share(graph, times, options)
    words = {"macs": "multiply-accumulates", "size": "weights' bytes"}[options.resource]
    candidate.say(
        "morphnet", f"these have {left:.3f} of the {words}; times {multiplier:.3f}, {cost:.3f}"
    )
    new = graph.resized(times)
    lines, rows = _report(graph, alive, times)
    candidate = dataclasses.replace(candidate, widths=(*candidate.widths, *rows))
    return candidate.then(new, *lines)


def _alive(values: np.ndarray, group: Group, options: MorphNetOptions) -> np.ndarray:
    """Returns a mask of the channels that are needed: at least as many as a layer keeps."""
    mask = values > options.threshold
    mask[np.argsort(-values, kind="stable")[: _rules(options).least(group)]] = True
    mask[list(group.fixed)] = True
    return mask


def _widest(
    graph: ChannelGraph,
    order: widths.Widths,
    alive: widths.Widths,
    options: MorphNetOptions,
    rules: widths.Rules,
) -> tuple[float, widths.Widths]:
    """Returns how wide the budget lets the layers be, in the proportion of what is alive.

    Layers that the rounding left narrower than their share are widened by a step if that fits.

    Returns:
        The multiplier of all widths, and how many channels stand in place of each.
    """

    def times(counts: Mapping[str, int]) -> widths.Widths:
        row = {
            name: _times(order[name], alive[name], graph.groups[name], count)
            for name, count in counts.items()
        }
        some = {name: each > 0 for name, each in row.items()}
        widths.revive(graph, order, some)
        return {name: np.maximum(each, some[name]) for name, each in row.items()}

    def counts(multiplier: float) -> dict[str, int]:
        return {
            name: max(
                rules.multiple(round(multiplier * mask.sum())), rules.least(graph.groups[name])
            )
            for name, mask in alive.items()
        }

    def fits(counts: Mapping[str, int]) -> bool:
        return _share(graph, times(counts), options) <= options.ratio

    low, high = 0.0, 1.0
    while fits(counts(high)) and high < 2**10:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(counts(middle)) else (low, middle)
    chosen = counts(low)
    wanted = {name: low * mask.sum() for name, mask in alive.items()}
    for name in sorted(chosen, key=lambda name: chosen[name] / wanted[name]):
        count = chosen[name]
        wider = next(
            n for n in range(count + 1, 3 * count + 2 * rules.round_to) if rules.multiple(n) > count
        )
        if fits({**chosen, name: rules.multiple(wider)}):
            chosen[name] = rules.multiple(wider)
    return low, times(chosen)


def _times(values: np.ndarray, alive: np.ndarray, group: Group, count: int) -> np.ndarray:
    """Returns how many channels stand in place of each, so that a group has so many.

    Channels that have to stay as they are do.
    """
    fixed = np.isin(np.arange(group.size), list(group.fixed))
    free = np.flatnonzero(alive & ~fixed)
    free = free[np.argsort(-values[free], kind="stable")]
    times = fixed.astype(np.int64)
    more = max(count - int(fixed.sum()), 0)
    if len(free):
        times[free] = more // len(free)
        times[free[: more % len(free)]] += 1
    return times


def _share(graph: ChannelGraph, times: widths.Widths, options: MorphNetOptions) -> float:
    """Returns what a network costs, by the cost of the whole one."""
    cost = widths.Cost(graph)
    every = {name: np.asarray(row, np.int64) for name, row in times.items()}
    if options.resource == "size":
        return cost.weights_left(every)
    return cost.of(every) / (cost.whole or 1)


def _report(
    graph: ChannelGraph, alive: widths.Widths, times: widths.Widths
) -> tuple[list[LayerLine], list[LayerWidth]]:
    """Returns what became of the width of each layer that makes channels."""
    lines, rows = [], []
    for name, group in graph.groups.items():
        ones = np.ones(group.size, np.int64)
        for layer in group.producers:
            made = report_lines.made_by(group, layer)
            before, after = len(made), int(times.get(name, ones)[made].sum())
            needed = int(np.asarray(alive.get(name, ones), np.int64)[made].sum())
            rows.append(
                LayerWidth(report_lines.title(name, layer), before, after, group.frozen or "")
            )
            action = "narrowed" if after < before else "widened"
            text = f"{before} -> {after} channels; {needed} are needed"
            if after == before:
                action, text = "kept", group.frozen or f"all {before} channels; {needed} are needed"
            kind = type(graph.model.get_layer(layer)).__name__
            lines.append(LayerLine(layer, kind, action, text))
    return lines, rows


def _rules(options: MorphNetOptions) -> widths.Rules:
    return widths.Rules(options.ratio, "layer", options.min_channels, options.round_to)


def _check(candidate: Candidate, options: MorphNetOptions) -> None:
    """Raises what `transform` would, whatever the weights."""
    from tfcompress.graph.channels import ChannelGraph

    _check_graph(ChannelGraph(candidate.model, exact=False), options)


def _check_graph(graph: ChannelGraph, options: MorphNetOptions) -> None:
    """Refuses a network whose widths can't be learned, or that can't be made so small.

    Raises:
        InputError: no channels that can go have scales, layers are frozen, or the ratio is out of
            reach.
    """
    name = graph.model.name
    widths.check_any_free(graph)
    if not _scales(graph, graph.model):
        raise InputError(
            f"morphnet finds no widths to learn in model '{name}': no channels that can go pass a "
            "batch normalisation with scale=True; channels cuts those of other networks"
        )
    frozen = [layer.name for layer in graph.model.layers if layer.weights and not layer.trainable]
    require(
        not frozen,
        f"morphnet trains all weights anew, but layers of model '{name}' have trainable=False: "
        f"{', '.join(frozen[:3])}",
    )
    rules = _rules(options)
    free = {key: group for key, group in graph.groups.items() if not group.frozen}
    least = {key: np.arange(group.size) < rules.least(group) for key, group in free.items()}
    share = _share(graph, least, options)
    require(
        share <= options.ratio,
        f"option {options.resource}_ratio={options.ratio:g} is out of reach for model '{name}': "
        f"with min_channels={options.min_channels} in all layers that can lose channels, "
        f"{share:.3g} is left",
    )


def _sketch(candidate: Candidate, options: MorphNetOptions) -> Candidate:
    """Makes all layers narrower alike: which ones lose most is what the training learns."""
    from tfcompress.graph.channels import ChannelGraph

    graph = ChannelGraph(candidate.model, exact=False)
    _check_graph(graph, options)
    return _resized(candidate, graph, {}, options)


def _rounds(
    candidate: Candidate, options: MorphNetOptions, settings: Training
) -> Sequence[tuple[Any, Training]]:
    """Returns two rounds: the training with the penalty, and that of the new network."""
    learning = dataclasses.replace(settings, epochs=options.sparse_epochs)
    return [(options, learning), (_Anew(**dataclasses.asdict(options)), settings)]


def _training(options: MorphNetOptions) -> Training:
    """Returns the settings of float networks: the new one starts as they do."""
    return Training()


TECHNIQUE = Technique(
    name="morphnet",
    summary="learned widths: a training shows which channels are needed; made anew at equal cost",
    reference="Gordon, Eban et al. 2018, arXiv:1711.06798",
    options=MorphNetOptions,
    transform=_transform,
    rounds=_rounds,
    check=_check,
    sketch=_sketch,
    training=_training,
    storages=("float32",),
    acts_in="training",
)
