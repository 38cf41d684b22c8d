"""Writes what a search found: one HTML page with all trials, and the same numbers as JSON."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress import files
from tfcompress.benchmark.machine import machine, machine_line
from tfcompress.metric import Metric
from tfcompress.pipeline.provenance import versions
from tfcompress.report.pareto import Point, tradeoffs
from tfcompress.report.picture import Picture
from tfcompress.report.render import render_template
from tfcompress.report.table import factor, kibibytes
from tfcompress.search.budget import Costs
from tfcompress.search.engine import Aim, Trial
from tfcompress.search.finalists import Finalist
from tfcompress.search.session import Found, Searcher
from tfcompress.search.settings import SearchSettings

_TRIAL_HEADERS = ["no.", "choice", "what came of it", "storage", "KiB", "of the time", "untrained",
                  "trained", "s"]  # fmt: skip
_STATES = {
    "trained": "trained",
    "over": "over a budget untrained, and never trained",
    "stopped": "broken off while they trained",
    "step": "on the way, trained for a short while",
}
# A rank correlation of fewer trials would say nothing.
_FEWEST = 3


def counted(trials: Sequence[Trial], aim: Aim) -> str:
    """Says how many trials there were, and what came of them."""
    states = collections.Counter(each.outcome.state for each in trials if each.outcome is not None)
    counts = {what: states[state] for state, what in _STATES.items() if states[state]}
    parts = [f"{count} {what}" for what, count in counts.items()]
    within = sum(
        not aim.overrun(file)
        for trial in trials
        if trial.outcome is not None
        for file in trial.outcome.files.values()
    )
    said = f"{sum(counts.values())} trials: {', '.join(parts)}; {within} files within the budgets"
    impossible = states["impossible"]
    return said + (f"; {impossible} chains drawn that this model can't have" * bool(impossible))


def nearest(trials: Sequence[Trial], aim: Aim) -> str:
    """Says that nothing keeps the budgets, and which file came nearest."""
    files_of = [
        (trial, storage, file)
        for trial in trials
        if trial.outcome is not None
        for storage, file in (trial.outcome.files or trial.outcome.untrained).items()
    ]
    budgets = ", ".join(budget.text for budget in aim.budgets)
    if not files_of:
        return f"No file could be written: nothing keeps {budgets}."
    trial, storage, file = min(files_of, key=lambda each: (aim.overrun(each[2]), each[0].number))
    value = "" if file.value is None else f", {aim.metric.name} {aim.metric.text(file.value)}"
    time = "" if file.latency_ratio is None else f", {file.latency_ratio:.2f} of the time"
    return (
        f"No file keeps {budgets}. The nearest: {trial.choice} as {storage}, "
        f"{kibibytes(file.size)} KiB{time}{value}. Give more, or more trials."
    )


def final_headers(metric: Metric) -> list[str]:
    """Returns the headers of `final_rows`."""
    costs = ["KiB", "of the float file", "of its time"]
    return ["choice", "storage", *costs, metric.name, "change", "budgets"]


def final_rows(runs: Sequence[Finalist]) -> list[list[str]]:
    """Writes the finalists' rows: means over their runs, on the test examples."""
    rows = []
    for each in runs:
        floats, file = each.mean()
        metric = each.results[0].baseline.metric
        over = each.over()
        missed = ", ".join(f"{kind} by {by:.1%}" for kind, by in over.items())
        kept, seeds = each.keeping(), len(each.results)
        of_seeds = f"; {kept} of {seeds} runs keep them" if 0 < kept < seeds else ""
        assert file.size is not None
        assert floats.size is not None
        rows.append(
            [
                str(each.found.choice),
                each.found.storage,
                kibibytes(round(file.size)),
                factor(file.size / floats.size),
                factor(file.latency_ratio),
                metric.text(file.value),
                metric.change_text(floats.value, file.value),
                (f"missed: {missed}" if over else "kept") + of_seeds,
            ]
        )
    return rows


def rank_correlations(trials: Sequence[Trial]) -> list[str]:
    """Says how far what is known early tells what a training ends in, by Spearman's coefficient."""
    trained = [
        each.outcome
        for each in trials
        if each.outcome is not None and each.outcome.state == "trained" and each.outcome.by_epoch
    ]
    early: dict[str, list[tuple[float, float]]] = {
        "what the network is worth before the training": [
            (each.repaired, each.by_epoch[-1]) for each in trained if each.repaired is not None
        ],
        "what it is worth after a tenth of the epochs": [
            (each.by_epoch[max(round(len(each.by_epoch) / 10), 1) - 1], each.by_epoch[-1])
            for each in trained
        ],
    }
    return [
        f"{what}: {_spearman(pairs):.2f}, {len(pairs)} trainings"
        for what, pairs in early.items()
        if len(pairs) >= _FEWEST
    ]


def _spearman(pairs: Sequence[tuple[float, float]]) -> float:
    """Returns the correlation of ranks; equal values have the mean of theirs."""
    from scipy.stats import rankdata  # Takes a second to import.

    ranks = [rankdata(values) for values in zip(*pairs, strict=True)]
    if any(np.ptp(each) == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def write(
    folder: Path,
    settings: SearchSettings,
    session: Searcher,
    found: Sequence[Found],
    runs: Sequence[Finalist],
    metric: Metric,
) -> None:
    """Writes `search.html` and `results.json`.

    Args:
        folder: the search's.
        settings: the search's.
        session: with what was tried.
        found: the front.
        runs: of the finalists.
        metric: by which files are judged.
    """
    trials, aim = session.trials(), session.aim
    rows, correlations = final_rows(runs), rank_correlations(trials)
    values: dict[str, Any] = {
        "headline": _headline(rows, found, trials, aim),
        "budgets": ", ".join(budget.text for budget in aim.budgets),
        "counted": counted(trials, aim),
        "machine": machine_line(machine()),
        "final_headers": final_headers(metric),
        "final_rows": rows,
        "commands": [each.command for each in runs],
        "trial_headers": _TRIAL_HEADERS,
        "trial_rows": [_trial_row(each, aim) for each in trials],
        "pictures": _pictures(trials, aim, metric),
        "correlations": correlations,
        "importance": [[name, f"{share:.2f}"] for name, share in session.importance().items()],
    }
    stored = {
        "tfcompress": "search results",
        "settings": settings.to_json(),
        "versions": versions(),
        "machine": machine(),
        "floats": vars(aim.floats),
        **_stored(folder, trials, found, runs),
        "rank_correlations": correlations,
    }
    files.write(folder / "results.json", json.dumps(stored, indent=1, default=list) + "\n")
    files.write(
        folder / "search.html", render_template("search.html.j2", autoescape=True, **values)
    )


def _stored(
    folder: Path, trials: Sequence[Trial], found: Sequence[Found], runs: Sequence[Finalist]
) -> dict[str, Any]:
    """Returns trials, front and finalists as JSON values; the arguments are those of `write`."""
    return {
        "trials": [
            {
                "number": each.number,
                "choice": str(each.choice),
                "outcome": None if each.outcome is None else each.outcome.to_json(),
            }
            for each in trials
        ],
        "front": [
            {"trial": each.trial, "choice": str(each.choice), "storage": each.storage,
             "costs": vars(each.costs)}
            for each in found
        ],
        "finalists": [
            {
                "choice": str(each.found.choice),
                "storage": each.found.storage,
                "command": each.command,
                "folders": [str(one.relative_to(folder)) for one in each.folders],
                "mean": vars(each.mean()[1]),
                "floats": vars(each.mean()[0]),
            }
            for each in runs
        ],
    }  # fmt: skip


def _headline(
    rows: Sequence[Sequence[str]], found: Sequence[Found], trials: Sequence[Trial], aim: Aim
) -> str:
    """Says in a sentence what was found."""
    if not found:
        return nearest(trials, aim)
    if rows:
        row = rows[0]
        return (
            f"{row[0]}, written as {row[1]}: {row[2]} KiB, {row[3]} of the float file, {row[4]} of "
            f"its time, {row[6]}."
        )
    best = found[0]
    return f"{best.choice}, written as {best.storage}, by the examples held out to choose by."


def _trial_row(trial: Trial, aim: Aim) -> list[str]:
    """Writes the row of a trial: its best file, or why there is none."""
    outcome = trial.outcome
    assert outcome is not None  # Only trials that ended are read.
    best = aim.best(outcome.comparable())
    file = Costs() if best is None else (outcome.files or outcome.untrained)[best]
    within = "" if outcome.state != "trained" or best is None else (
        "over a budget" if aim.overrun(file) else "within the budgets"
    )  # fmt: skip
    return [
        str(trial.number),
        str(trial.choice),
        within or f"{outcome.state}: {outcome.reason}",
        best or "",
        kibibytes(file.size),
        factor(file.latency_ratio),
        aim.metric.text(outcome.repaired),
        aim.metric.text(outcome.by_epoch[-1] if outcome.state == "step" else file.value),
        f"{outcome.seconds:.0f}",
    ]


def _pictures(trials: Sequence[Trial], aim: Aim, metric: Metric) -> list[tuple[str, str, Any]]:
    """Draws bytes and time against what files are worth: those of steps, and the trained ones.

    Returns:
        Of each picture its title, what it shows, and itself.
    """
    ended = [(trial, trial.outcome) for trial in trials if trial.outcome is not None]
    steps = []
    for trial, outcome in ended:
        best = aim.best(outcome.comparable()) if outcome.state == "step" else None
        if best is not None:
            file = dataclasses.replace(outcome.untrained[best], value=outcome.by_epoch[-1])
            steps.append((trial, best, file))
    trained = [
        (trial, storage, file)
        for trial, outcome in ended
        for storage, file in outcome.files.items()
        if not aim.overrun(file)
    ]
    by = "By the examples held out to choose by. Numbers are those of the trials; dashed: what no "
    drawn = [
        ("Steps", f"{by}other step beats in both. Each network was trained for a short while.",
         _drawn(steps, aim, metric, "steps")),
        ("Files within the budgets", f"{by}other file beats in both.",
         _drawn(trained, aim, metric, "search")),
    ]  # fmt: skip
    return [(title, what, picture) for title, what, picture in drawn if picture is not None]


def _drawn(
    shown: Sequence[tuple[Trial, str, Costs]], aim: Aim, metric: Metric, name: str
) -> Picture | None:
    """Draws some trials' files; None if there are none."""
    floats = aim.floats
    assert floats.value is not None
    panels = []
    for title, cost in (("KiB", "size"), ("share of the float file's time", "latency_ratio")):
        scale = 1 / 1024 if cost == "size" else 1.0
        points = [Point("float", "float file", scale * getattr(floats, cost), floats.value, True)]
        for trial, storage, file in shown:
            value = getattr(file, cost)
            if value is not None and file.value is not None:
                words = f"{trial.choice} as {storage}"
                points.append(Point(str(trial.number), words, scale * value, file.value, False))
        if len(points) > 1:
            panels.append((title, points))
    return tradeoffs(panels, name, [metric]) if panels else None
