"""Makes a compression's files and finds out what they cost: first untrained, then trained."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from tfcompress import techniques
from tfcompress.api.file_ratios import FileRatios
from tfcompress.benchmark.latency import latency
from tfcompress.benchmark.measure import measure
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.container import archive
from tfcompress.data.protocol import Data
from tfcompress.errors import ExportError, InputError
from tfcompress.export import NoiseBudget, Validation, export, storages
from tfcompress.export.write import method_of
from tfcompress.files import quiet
from tfcompress.pipeline.results import file_predictor
from tfcompress.search.budget import Budget, Costs, overruns
from tfcompress.search.space import Choice
from tfcompress.techniques import Candidate, Property
from tfcompress.tflite.metadata import Metadata
from tfcompress.training import TrainingContext
from tfcompress.training.evaluate import predictor
from tfcompress.training.judging import Judge, held_out
from tfcompress.training.objective import Objective
from tfcompress.training.progress import say
from tfcompress.turns import Turns

# What every network is written as, too, where it can be: no training is needed for it.
OTHERS = ("float16", "dynamic", "int8", "int8_int4")
# Of one timing: a search takes many of them, and those that are close are timed again in the end.
_RUNS, _SECONDS = 50, 10.0


def silent(chain: str | None) -> Metadata | None:
    """Says nothing of a chain's file."""


class HopelessError(Exception):
    """A training that is broken off: what comes of it would meet no budget."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial.

    Attributes:
        state: `impossible` (the model has nothing that the chain could change), `over` (over a
            budget already untrained, and not trained), `stopped` (hopeless while it was trained),
            `trained`, or `step` (of the engine `greedy`: trained for a short while, on the way).
        reason: in words.
        untrained: by storage, what the files cost before the training.
        files: by storage, what they cost in the end, on examples held out to choose by.
        repaired: what the network was worth before the training.
        by_epoch: what it was worth after each epoch.
        epochs: that the training would have in all.
        seconds: that the trial took.
    """

    state: str
    reason: str = ""
    untrained: Mapping[str, Costs] = dataclasses.field(default_factory=dict)
    files: Mapping[str, Costs] = dataclasses.field(default_factory=dict)
    repaired: float | None = None
    by_epoch: Sequence[float] = ()
    epochs: int = 0
    seconds: float = 0.0

    def comparable(self) -> dict[str, Costs]:
        """Returns the files; one that wasn't judged has the last known value of its network."""
        last = self.by_epoch[-1] if self.by_epoch else self.repaired
        return {
            name: file if file.value is not None else dataclasses.replace(file, value=last)
            for name, file in (self.files or self.untrained).items()
        }

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Outcome:
        """Reads what `to_json` made."""
        costs = {
            part: {name: Costs(**each) for name, each in values[part].items()}
            for part in ("untrained", "files")
        }
        return cls(**{**values, **costs, "by_epoch": tuple(values["by_epoch"])})


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """Tries compressions of one trained network.

    Attributes:
        model: the float network.
        data: whose held-out examples choose; the test examples aren't among them.
        judge: judges predictions.
        objective: what is trained for; None for what follows from model and data.
        budgets: what files may cost.
        settings: fields of `Training` in place of each recipe's.
        seed: of the trainings.
        folder: holds `baseline.tflite`, what files are compared with.
        floats: what that one costs.
        turns: keeps others from training while a file is timed.
        describe: from a chain, None for the float file, to what a file says of itself, which
            has bytes, too.
    """

    model: keras.Model
    data: Data
    judge: Judge
    objective: Objective | None
    budgets: tuple[Budget, ...]
    settings: Mapping[str, Any]
    seed: int
    folder: Path
    floats: Costs
    turns: Turns
    describe: Callable[[str | None], Metadata | None] = silent

    @property
    def baseline(self) -> Path:
        """The float network's file."""
        return self.folder / "baseline.tflite"

    def try_out(
        self,
        choice: Choice,
        hopeless: Callable[[Sequence[float], int], bool],
        begins: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Writes and weighs a compression untrained, and trains it if that meets the budgets.

        Args:
            choice: what is tried.
            hopeless: from what the network was worth after each epoch so far, and the epochs of
                the whole training, to whether to break it off.
            begins: is called once the network is known to have what the chain changes.
        """
        started = time.perf_counter()
        outcome = self._outcome(choice, hopeless, begins)
        return dataclasses.replace(outcome, seconds=time.perf_counter() - started)

    def _outcome(
        self,
        choice: Choice,
        hopeless: Callable[[Sequence[float], int], bool],
        begins: Callable[[], None],
    ) -> Outcome:
        chain = techniques.chain(choice.chain) if choice.chain else ()
        steps = techniques.make_steps(chain, choice.options, self.settings)
        samples = self.data.representative(techniques.SAMPLES, self.seed)
        start = Candidate(
            self.model, samples=samples, file_ratio=FileRatios(metadata=self.describe(choice.chain))
        )
        context = TrainingContext(seed=self.seed, teacher=self.model, objective=self.objective)
        try:
            if steps:
                techniques.check(start, steps)
            with quiet():
                untrained, _ = techniques.apply(
                    start, techniques.transforms_of(steps), self.data, context
                )
            names = self.storages(chain, untrained.model)
        except InputError as error:
            return Outcome(state="impossible", reason=str(error))
        begins()
        costs = self.weighed(untrained, names, samples, chain=choice.chain)
        repaired = self.value(untrained.model)
        known: dict[str, Any] = {"untrained": costs, "repaired": repaired}
        kept = self._within(names, costs)
        if not kept:
            return Outcome(state="over", reason=self._over(costs), **known)
        epochs = sum(step.training.epochs for step in steps)
        say("trial", f"{choice}: {len(kept)} of {len(names)} files within the budgets untrained, "
            f"{self.judge.metric.text(repaired)}; {epochs} epochs")  # fmt: skip
        by_epoch: list[float] = []
        candidate = start
        if steps:
            try:
                candidate = self._trained(start, steps, context, by_epoch, epochs, hopeless)
            except HopelessError as why:
                known |= {"by_epoch": tuple(by_epoch), "epochs": epochs}
                return Outcome(state="stopped", reason=str(why), **known)
            except InputError as error:
                return Outcome(state="impossible", reason=str(error), **known)
        files = self.weighed(candidate, kept, samples, chain=choice.chain, judged=True)
        if not files:
            return Outcome(state="impossible", reason="no file could be written", **known)
        known |= {"by_epoch": tuple(by_epoch), "epochs": epochs}
        return Outcome(state="trained", files=files, **known)

    def _within(self, names: Sequence[str], costs: Mapping[str, Costs]) -> list[str]:
        """Returns the storages whose files may keep the budgets, by what is known untrained."""
        early = [each for each in self.budgets if not each.needs_training]
        return [
            name
            for name in names
            if storages.get(name).by_values
            or (name in costs and not overruns(early, costs[name], self.floats))
        ]

    def storages(self, chain: Sequence[techniques.Technique], model: keras.Model) -> list[str]:
        """Returns the storages that can hold a chain's network here."""
        own = list(chain[-1].storages) if chain else ["float32"]
        if any(Property.SPARSITY in each.produces for each in chain):
            own.append("sparse")
        possible = []
        for name in dict.fromkeys((*own, *OTHERS)):
            try:
                storages.get(name).check_machine()
                if method_of(model, name).runtime.in_litert:
                    possible.append(name)
            except InputError:
                continue
        return possible

    def _trained(
        self,
        start: Candidate,
        steps: Sequence[techniques.Step],
        context: TrainingContext,
        by_epoch: list[float],
        epochs: int,
        hopeless: Callable[[Sequence[float], int], bool],
    ) -> Candidate:
        """Applies and trains a chain; what it is worth after each epoch is added to a list.

        Raises:
            HopelessError: the training was broken off.
        """

        def after_epoch(row: Mapping[str, float]) -> None:
            value = self._of_row(row)
            if value is None:
                return
            by_epoch.append(value)
            if len(by_epoch) < epochs and hopeless(by_epoch, epochs):
                raise HopelessError(f"stopped after {len(by_epoch)} of {epochs} epochs")

        context = dataclasses.replace(
            context, on_epoch=after_epoch, on_step=lambda *_: self.turns.pause()
        )
        with self.turns.training(), quiet():
            return techniques.apply(start, steps, self.data, context)[0]

    def _of_row(self, row: Mapping[str, float]) -> float | None:
        """Returns what a network was worth after an epoch."""
        metric = self.judge.metric.name
        if metric == "accuracy" and "test_error" in row:
            return 1 - row["test_error"]
        return row.get(f"test_{metric}")

    def value(self, model: keras.Model) -> float:
        """Returns what a network is worth on the held-out examples."""
        return self.judge.judge(held_out(predictor(model), self.data, 256)).value

    def weighed(
        self,
        candidate: Candidate,
        names: Sequence[str],
        samples: Any,
        *,
        chain: str,
        judged: bool = False,
        kinds: Collection[str] | None = None,
    ) -> dict[str, Costs]:
        """Writes a network's files into a temporary folder and measures them.

        Args:
            candidate: the network.
            names: storages; one whose file fails its check is left out.
            samples: inputs of training examples.
            chain: what made the network.
            judged: whether the files are compared with Keras and judged, as trained ones are.
            kinds: what is measured besides the bytes, of `latency`, `memory` and `tfz`; None for
                the time and what is budgeted, of the containers only if judged.
        """
        if kinds is None:
            known = (each for each in self.budgets if judged or not each.needs_training)
            kinds = {"latency", *(each.kind for each in known)}
        with tempfile.TemporaryDirectory(prefix="tfcompress_") as folder:
            paths: dict[str, Path] = {}
            for name in names:
                path = Path(folder) / f"{name.replace('+', '_')}.tflite"
                try:
                    with quiet():
                        self._export(candidate, path, name, samples, chain, checked=judged)
                except (InputError, ExportError):
                    continue
                paths[name] = path
            times = [Costs() for _ in paths]
            if "latency" in kinds and paths:
                times = self._times(list(paths.values()))
            costs = {}
            for (name, path), more in zip(paths.items(), times, strict=True):
                costs[name] = dataclasses.replace(
                    more,
                    size=costs_of(path).size,
                    memory=memory_of(path) if "memory" in kinds else None,
                    tfz=packed(path) if "tfz" in kinds else None,
                    value=self._file_value(path, candidate.model) if judged else None,
                )
        return costs

    def _export(
        self,
        candidate: Candidate,
        path: Path,
        storage: str,
        samples: Any,
        chain: str,
        *,
        checked: bool,
    ) -> None:
        """Writes a network's file."""
        validation = None
        if candidate.validation:
            known = dict(candidate.validation)
            validation = Validation(images=known.pop("images"), judge=self.judge, **known)
        budget = candidate.noise_budget
        export(
            candidate.model,
            path,
            storage=storage,
            representative=samples if checked else None,
            calibration=samples,
            validation=validation if checked else None,
            noise_budget=None if budget is None else NoiseBudget(budget),
            metadata=self.describe(chain),
        )

    def _times(self, paths: Sequence[Path]) -> list[Costs]:
        """Times files in turns with the float file."""
        try:
            with self.turns.timing():
                found = latency(
                    [self.baseline, *paths], runs=_RUNS, min_seconds=0.2, max_seconds=_SECONDS
                )[1:]
        except BenchmarkError as error:
            say("timing", f"failed: {error}")
            return [Costs() for _ in paths]
        return [Costs(latency_ms=each.latency_ms_p50, latency_ratio=each.ratio) for each in found]

    def _file_value(self, path: Path, model: keras.Model) -> float:
        """Returns what a file is worth on the held-out examples."""
        return self.judge.judge(held_out(file_predictor(path, model), self.data)).value

    def _over(self, costs: Mapping[str, Costs]) -> str:
        """Says by how much the nearest file is over the budgets."""
        if not costs:
            return "no storage can hold it"
        nearest = min(costs, key=lambda name: sum(self._overruns(costs[name]).values()))
        over = self._overruns(costs[nearest])
        parts = (f"{kind} {1 + by:.2f} times" for kind, by in over.items())
        return f"untrained, the nearest file ({nearest}) takes of its budget: {', '.join(parts)}"

    def _overruns(self, costs: Costs) -> Mapping[str, float]:
        return overruns(self.budgets, costs, self.floats, self.judge.metric)


def costs_of(path: Path) -> Costs:
    """Returns the bytes of a file."""
    return Costs(size=path.stat().st_size)


def packed(path: Path) -> int:
    """Writes a file's lossless container beside it, and returns its bytes."""
    return archive.pack(path, path.with_suffix(".tfz"))[1]


def memory_of(path: Path) -> int | None:
    """Returns the bytes that loading a file and an inference take beyond the runtime's own."""
    found = measure(path, runs=1, min_seconds=0)[0]
    if found.peak_memory_bytes is None or found.baseline_memory_bytes is None:
        return None
    return max(found.peak_memory_bytes - found.baseline_memory_bytes, 0)
