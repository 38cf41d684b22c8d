"""Makes the narrower networks of the engine `greedy`, by the technique `channels`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfcompress import techniques
from tfcompress.data.dataset import Dataset
from tfcompress.data.examples import Examples
from tfcompress.data.held_out import with_fewer
from tfcompress.errors import require
from tfcompress.files import quiet
from tfcompress.search.bench import Bench
from tfcompress.search.budget import Budget, Costs
from tfcompress.search.engine import Aim
from tfcompress.search.settings import NARROWING
from tfcompress.techniques import Candidate
from tfcompress.training import TrainingContext
from tfcompress.training.progress import say


class Narrower:
    """Makes narrower networks by the technique `channels`, measures and trains them.

    Args:
        bench: which does so.
        aim: which files are wanted.
        given: the technique's options, as texts.
        short_steps: see `GreedySession`.
    """

    def __init__(self, bench: Bench, aim: Aim, given: Mapping[str, str], short_steps: int) -> None:
        self._bench, self._aim = bench, aim
        self._technique = techniques.get(NARROWING)
        self._options = self._technique.make_options(**given)
        for name in ("sparse_epochs", "control"):
            given_here = getattr(self._options, name)
            require(not given_here, f"--engine=greedy has no {name}: leave it out")
        self._technique.make_options(**given, widths="layer:1")  # Refuses ratios and rounds.
        training = self._technique.training(self._options).with_settings(bench.settings)
        examples = short_steps * training.batch_size
        assert isinstance(bench.data, Dataset | Examples)  # Some of them were held out.
        self._few = with_fewer(bench.data, examples)
        passes = max(round(examples / self._few.examples), 1)
        self._training = dataclasses.replace(training, epochs=passes)
        self._samples = bench.data.representative(techniques.SAMPLES, bench.seed)
        groups = self._options.graph(bench.model, trained=True).groups
        rules = self._options.rules()
        # Each layer keeps a share of what it had in the beginning.
        self._least = {n: rules.least(group) for n, group in groups.items() if not group.frozen}
        self._storage, self._budget = "float32", Budget("size", 1.0, share=True, text="size=1")

    def measures(self, storage: str, budget: Budget) -> None:
        """Says which file is measured from now on, and for which budget."""
        self._storage, self._budget = storage, budget

    def widths(self, model: keras.Model) -> Mapping[str, tuple[int, Sequence[int]]]:
        """Returns, by layer, the channels that it has, and the smaller numbers, ascending."""
        groups = self._options.graph(model, trained=True).groups
        rules = self._options.rules()
        result = {}
        for name, least in self._least.items():
            group = groups[name]
            counts = {rules.rounded(count, group) for count in range(least, group.size)}
            narrower = sorted(count for count in counts if least <= count < group.size)
            result[name] = group.size, narrower
        return result

    def used(self, model: keras.Model, layer: str, width: int) -> float:
        """Measures what a network, with one layer narrower, takes of its budget."""
        step = techniques.Step(self._technique, self._with(layer, width), self._training)
        sketched = techniques.sketch(Candidate(model), [step])
        assert sketched is not None  # Which layers it has doesn't depend on the weights.
        small = sketched.model
        kinds = {self._budget.kind}
        costs = self._bench.weighed(
            Candidate(small), [self._storage], self._samples, chain=NARROWING, kinds=kinds
        )
        taken = None
        if self._storage in costs:
            taken = self._budget.used(costs[self._storage], self._aim.floats)
        return float("inf") if taken is None else taken

    def tuned(self, model: keras.Model, layer: str, width: int) -> tuple[keras.Model, float]:
        """Returns the narrower network, trained for a short while, and what it is worth."""
        step = techniques.Step(self._technique, self._with(layer, width), self._training)
        bench = self._bench
        context = TrainingContext(
            seed=bench.seed,
            teacher=bench.model,
            objective=bench.objective,
            on_step=lambda *_: bench.turns.pause(),
        )
        start = Candidate(model, samples=self._samples)
        with bench.turns.training(), quiet():
            small = techniques.apply(start, [step], self._few, context)[0].model
        value = bench.value(small)
        say("offer", f"{layer} {width}: {self._aim.metric.text(value)}")
        return small, value

    def all_files(self, model: keras.Model, *, judged: bool = False) -> dict[str, Costs]:
        """Returns what a network's files cost, in all storages."""
        names = self._bench.storages((), model)
        kinds = {"latency", *(each.kind for each in self._aim.budgets)}
        candidate = Candidate(model, samples=self._samples)
        return self._bench.weighed(
            candidate, names, self._samples, chain=NARROWING, judged=judged, kinds=kinds
        )

    def _with(self, layer: str, width: int) -> Any:
        return dataclasses.replace(self._options, widths={layer: width})
