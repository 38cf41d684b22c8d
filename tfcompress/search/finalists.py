"""Trains the best choices on all training examples, as ordinary runs, and judges them for good."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from tfcompress import techniques
from tfcompress.pipeline import stages
from tfcompress.pipeline.plan import plan
from tfcompress.pipeline.provenance import command
from tfcompress.report import FileResult, RunResult
from tfcompress.search.bench import memory_of
from tfcompress.search.budget import Budget, Costs, overruns, parse_budgets
from tfcompress.search.session import Found
from tfcompress.search.settings import NARROWING, SearchSettings
from tfcompress.training.progress import say

FOLDER = "finalists"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finalist:
    """A choice that was trained on all training examples, with several seeds.

    Attributes:
        found: what the search found.
        results: its runs', a seed each.
        folders: where these stand.
        command: makes the first run again.
        budgets: of the search.
        memory: of each run what an inference takes by the float file and by the other, bytes;
            None where it isn't budgeted.
    """

    found: Found
    results: Sequence[RunResult]
    folders: Sequence[Path]
    command: str
    budgets: Sequence[Budget]
    memory: Sequence[tuple[int | None, int | None]]

    def costs(self, seed: int) -> tuple[Costs, Costs]:
        """Returns what the float file and the compressed one of a run cost."""
        result = self.results[seed]
        floats, file = self.memory[seed]
        return _costs(result.baseline, floats), _costs(result.files[0], file)

    def mean(self) -> tuple[Costs, Costs]:
        """Returns the means over the runs of what both files cost."""
        return _mean([self.costs(at)[0] for at in range(len(self.results))]), _mean(
            [self.costs(at)[1] for at in range(len(self.results))]
        )

    def over(self) -> dict[str, float]:
        """Returns, by kind, what the mean of the runs takes beyond each budget."""
        return self._over(*self.mean())

    def keeping(self) -> int:
        """Returns how many of the runs have a file within all budgets.

        What is cut follows from the weights, so that another seed's file has other bytes.
        """
        return sum(not self._over(*self.costs(at)) for at in range(len(self.results)))

    def _over(self, floats: Costs, file: Costs) -> dict[str, float]:
        return dict(overruns(self.budgets, file, floats, self.results[0].baseline.metric))


def run(found: Sequence[Found], settings: SearchSettings, folder: Path) -> list[Finalist]:
    """Trains the best choices on all training examples.

    Args:
        found: the front, the best first; of a choice in several storages the first one is taken.
        settings: how many are taken, and with how many seeds.
        folder: the search's.

    Returns:
        Those that keep the budgets on the test examples first, in the front's order.
    """
    chosen: list[Found] = []
    for file in found:
        # Another storage of the same choice would be trained from the start again.
        if len(chosen) < settings.finalists and all(file.choice != each.choice for each in chosen):
            chosen.append(file)
    done = [_finalist(file, place, settings, folder) for place, file in enumerate(chosen, 1)]
    for seed in _seeds(settings):
        _baseline_state(folder, seed).unlink(missing_ok=True)
    return sorted((each for each in done if each is not None), key=lambda each: bool(each.over()))


def _seeds(settings: SearchSettings) -> range:
    return range(settings.config.seed, settings.config.seed + settings.seeds)


def _baseline_state(folder: Path, seed: int) -> Path:
    """Returns where the float network of a seed is kept, which all finalists begin with."""
    return folder / FOLDER / f"baseline_seed{seed}.npz"


def _finalist(file: Found, place: int, settings: SearchSettings, folder: Path) -> Finalist | None:
    """Runs one choice with each seed; None if it has no file then."""
    results, folders, memory = [], [], []
    budgets = parse_budgets(settings.budget)
    asked = any(budget.kind == "memory" for budget in budgets)
    name = re.sub(r"[^A-Za-z0-9+.-]+", "_", file.choice.chain or "baseline")
    first = ""
    for seed in _seeds(settings):
        target = folder / FOLDER / f"{place}_{name}_{file.trial}" / f"seed{seed}"
        options = {**settings.config.options, **file.choice.texts}
        if settings.engine == "greedy" and not file.choice.chain:  # Nothing is narrowed.
            taken = techniques.distribute([techniques.get(NARROWING)], options)[1]
            options = {key: text for key, text in options.items() if key not in taken}
        config = dataclasses.replace(
            settings.config,
            technique=file.choice.chain or "baseline",
            storage=file.storage,
            options=options,
            seed=seed,
            output_dir=str(target),
        )
        say("finalist", f"{place}: {file.choice}, {file.storage}, seed {seed}")
        result = stages.run(plan(config), baseline_state=_baseline_state(folder, seed))
        if not result.files:
            say("finalist", f"no file: {'; '.join(result.unwritten.values())}")
            return None
        results.append(result)
        folders.append(target)
        memory.append(_memory(result, target) if asked else (None, None))
        first = first or command(dataclasses.replace(config, output_dir=None))
    return Finalist(found=file, results=results, folders=folders, command=first,
                    budgets=budgets, memory=memory)  # fmt: skip


def _memory(result: RunResult, folder: Path) -> tuple[int | None, int | None]:
    """Measures what an inference takes by the float file of a run and by its other file."""
    paths = [folder / Path(file.path).name for file in (result.baseline, result.files[0])]
    return memory_of(paths[0]), memory_of(paths[1])


def _costs(result: FileResult, memory: int | None) -> Costs:
    """Returns what a report says of a file, and its memory."""
    return Costs(
        size=result.size_bytes,
        tfz=result.packed_bytes,
        latency_ms=result.latency_ms_p50,
        latency_ratio=result.latency_ratio,
        memory=memory,
        value=result.accuracy,
    )


def _mean(several: Sequence[Costs]) -> Costs:
    """Returns the means of each number that all have."""
    means = {}
    for field in dataclasses.fields(Costs):
        values = [getattr(each, field.name) for each in several]
        means[field.name] = None if None in values else statistics.mean(values)
    return Costs(**means)
