"""Chooses which channels of a model stay so that its file keeps a share of its bytes or its time.

The share of the multiply-accumulates is sought whose widths give that: each step writes the smaller
network's file and measures it beside the whole network's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.errors import InputError, require
from tfcompress.techniques import _channel_widths as widths
from tfcompress.techniques.base import Candidate, Measured

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph

Array = np.ndarray

# By how much of what is asked for a file may stay below it. Times can't be told more closely.
_TOLERANCE = {"size": 0.02, "latency": 0.05}
# What is measured, as the lines of progress name it.
_NOUNS = {"size": "bytes", "latency": "latency"}
_MOST_FILES = 24
_MOST_ESTIMATES = 4
# Shares of the multiply-accumulates that are nearer to each other give the same widths.
_NARROW = 1e-3


@dataclasses.dataclass(frozen=True)
class Budget:
    """Says what a file may keep of the whole network's.

    Attributes:
        of: bytes (`size`) or time (`latency`).
        ratio: the share.
    """

    of: Measured
    ratio: float

    @property
    def option(self) -> str:
        """The option that asks for it, as a message quotes it."""
        return f"{self.of}_ratio={self.ratio:g}"

    def met(self, ratio: float) -> bool:
        """Says whether a file's share is near enough, and not above."""
        return (1 - _TOLERANCE[self.of]) * self.ratio <= ratio <= self.ratio


def choose(
    graph: ChannelGraph,
    scores: Mapping[str, Array],
    rules: widths.Rules,
    budget: Budget,
    candidate: Candidate,
) -> widths.Widths:
    """Returns which channels of which groups stay: as many as the file's budget allows.

    The budget is never exceeded; a line says so where no widths come near it.

    Args:
        graph: of the model.
        scores: of each group's channels.
        rules: how widths are chosen; their `macs_ratio` isn't looked at.
        budget: what the file may keep.
        candidate: which measures files, and prints a line for each.

    Raises:
        InputError: no layer has channels that can go, the budget is below the narrowest network's
            file, or the candidate can't measure files.
    """
    files = check(graph, rules, budget, candidate)
    if budget.met(1.0):
        return {n: np.arange(g.size) for n, g in graph.groups.items() if not g.frozen}
    least = _narrowest(graph, rules)
    if budget.of == "latency":
        kept = _Search(graph, scores, rules, budget, files.ratio, lambda: files.full).widest(least)
    else:
        kept = _by_estimates(graph, scores, rules, budget, files, least)
    if not budget.met(files.ratio(kept)):
        text = f"no widths were found that come nearer than {files.ratio(kept):.3f}"
        candidate.say("channels", f"{budget.option}: {text}")
    return kept


def check(graph: ChannelGraph, rules: widths.Rules, budget: Budget, candidate: Candidate) -> _Files:
    """Measures the narrowest network that the rules allow, and returns what measures others.

    Raises:
        InputError: as `choose` does.
    """
    widths.check_any_free(graph)
    files = _Files(graph, budget, candidate)
    ratio = files.ratio(_narrowest(graph, rules))
    require(
        ratio <= budget.ratio,
        f"option {budget.option} is out of reach for model '{graph.model.name}': with "
        f"min_channels={rules.min_channels} in all layers that can lose channels, {ratio:.3g} of "
        f"the float32 file's {_NOUNS[budget.of]} is left",
    )
    return files


def _narrowest(graph: ChannelGraph, rules: widths.Rules) -> widths.Widths:
    """Returns channels of the narrowest network; which ones doesn't matter to its file."""
    share, _ = widths.least_macs(graph, rules)
    first = {n: -np.arange(g.size, dtype=float) for n, g in graph.groups.items() if not g.frozen}
    return widths.choose(graph, first, dataclasses.replace(rules, macs_ratio=share))


def _by_estimates(
    graph: ChannelGraph,
    scores: Mapping[str, Array],
    rules: widths.Rules,
    budget: Budget,
    files: _Files,
    least: widths.Widths,
) -> widths.Widths:
    """Finds the widest network by estimated bytes, and writes its file: few are written at all."""
    estimate = _Estimate(graph, least, files.ratio(least))
    kept = least
    for _ in range(_MOST_ESTIMATES):
        tried = _Search(graph, scores, rules, budget, estimate.ratio).widest(least)
        written, ratio = files.written, files.ratio(tried)
        if files.ratio(kept) <= ratio <= budget.ratio:
            kept = tried
        if budget.met(ratio) or files.written == written:
            break
        estimate.correct(tried, ratio)
    return kept


class _Files:
    """Measures the files of narrower networks.

    Args:
        graph: of the whole model.
        budget: says what is measured.
        candidate: see `choose`.
    """

    def __init__(self, graph: ChannelGraph, budget: Budget, candidate: Candidate) -> None:
        if candidate.file_ratio is None:
            raise InputError(
                f"option {budget.option} needs a candidate that measures files: use "
                "tfcompress.transform, tfcompress.compress or the command"
            )
        self._graph, self._of = graph, budget.of
        self._file_ratio, self._say = candidate.file_ratio, candidate.say
        self._cost = widths.Cost(graph)
        self._known: dict[tuple[int, ...], float] = {}

    @property
    def written(self) -> int:
        """How many files there were."""
        return len(self._known)

    @property
    def full(self) -> bool:
        """Whether no more files are to be written."""
        return self.written >= _MOST_FILES

    def ratio(self, kept: widths.Widths) -> float:
        """Returns the share that a network's file takes; of the same widths it is measured once."""
        counts = _counts(kept)
        if counts not in self._known:
            small = self._graph.keep(kept)
            ratio = self._file_ratio(self._graph.model, small, self._of)
            self._known[counts] = ratio
            macs = self._cost.of(widths.masks(self._graph, kept)) / (self._cost.whole or 1)
            self._say(
                "channels",
                f"file {self.written}: {macs:.3f} of the multiply-accumulates, "
                f"{ratio:.3f} of the {_NOUNS[self._of]}",
            )
        return self._known[counts]


class _Estimate:
    """Estimates a file's share of the bytes by the network's weights: the rest hardly changes.

    Args:
        graph: of the whole model.
        least: channels of the narrowest network.
        ratio: its file's share.
    """

    def __init__(self, graph: ChannelGraph, least: widths.Widths, ratio: float) -> None:
        self._graph, self._cost = graph, widths.Cost(graph)
        share = self._share(least)
        self._slope = (1 - ratio) / (1 - share) if share < 1 else 1.0
        self.correct(least, ratio)

    def correct(self, kept: widths.Widths, ratio: float) -> None:
        """Counts from this network on, whose file was measured."""
        self._from = self._share(kept), ratio

    def ratio(self, kept: widths.Widths) -> float:
        """Returns the share that a network's file will take."""
        share, ratio = self._from
        return ratio + self._slope * (self._share(kept) - share)

    def _share(self, kept: widths.Widths) -> float:
        return self._cost.weights_left(widths.masks(self._graph, kept))


class _Search:
    """Looks for the widest network that is within a budget.

    Args:
        graph: of the model.
        scores: of each group's channels.
        rules: see `choose`.
        budget: likewise.
        ratio: from the channels that stay to what the network takes of the whole one's.
        stopped: says that no more networks are to be looked at.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        scores: Mapping[str, Array],
        rules: widths.Rules,
        budget: Budget,
        ratio: Callable[[widths.Widths], float],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._graph, self._scores, self._rules = graph, scores, rules
        self._budget, self._ratio, self._stopped = budget, ratio, stopped
        self._reached = 0.0

    def widest(self, least: widths.Widths) -> widths.Widths:
        """Returns which channels stay.

        The share of the multiply-accumulates is narrowed down first. Then single groups are
        widened, in the end by fewer channels than the rounding.

        Args:
            least: the narrowest network's, which is within the budget.
        """
        kept = self._by_share(least)
        self._reached = self._ratio(kept)
        round_to = self._rules.round_to
        while not self._done() and round_to:
            rules = dataclasses.replace(self._rules, round_to=round_to)
            kept = widths.widen(self._graph, self._scores, kept, rules, self._fits)
            round_to //= 2
        return kept

    def _by_share(self, kept: widths.Widths) -> widths.Widths:
        """Returns the best network of those that have a share of the multiply-accumulates."""
        low, high = widths.least_macs(self._graph, self._rules)[0], 1.0
        ratios = self._ratio(kept), 1.0
        seen = {_counts(kept)}
        known = False
        aim = self._budget.ratio * (1 - _TOLERANCE[self._budget.of] / 2)
        while high - low > _NARROW and not self._budget.met(ratios[0]) and not self._stopped():
            part = 0.5
            if not known and ratios[0] < ratios[1]:
                part = min(max((aim - ratios[0]) / (ratios[1] - ratios[0]), 0.1), 0.9)
            share = low + part * (high - low)
            rules = dataclasses.replace(self._rules, macs_ratio=share)
            tried = widths.choose(self._graph, self._scores, rules)
            ratio = self._ratio(tried)
            known = _counts(tried) in seen
            seen.add(_counts(tried))
            if ratio <= self._budget.ratio:
                kept, low, ratios = tried, share, (ratio, ratios[1])
            else:
                high, ratios = share, (ratios[0], ratio)
        return kept

    def _fits(self, kept: widths.Widths) -> bool:
        """Says whether a wider network is within the budget, and remembers how near it is."""
        if self._done():
            return False
        ratio = self._ratio(kept)
        fits = self._reached <= ratio <= self._budget.ratio
        if fits:
            self._reached = ratio
        return fits

    def _done(self) -> bool:
        return self._budget.met(self._reached) or self._stopped()


def _counts(kept: widths.Widths) -> tuple[int, ...]:
    """Returns the groups' numbers of channels."""
    return tuple(map(len, kept.values()))


def check_ratios(**asked: float | None) -> None:
    """Refuses shares that nothing can keep, and more than one of them.

    Raises:
        InputError: says which option takes what.
    """
    given = {name: ratio for name, ratio in asked.items() if ratio is not None}
    if len(given) > 1:
        words = " and ".join(f"{name}={ratio:g}" for name, ratio in given.items())
        raise InputError(f"give one of {', '.join(asked)}: each says how much stays; got {words}")
    for name, ratio in given.items():
        require(0 < ratio <= 1, f"option {name} must be above 0 and at most 1; got {ratio}")
