"""The page of `paper_tables.py`: the papers' figures beside ours, and what follows from both."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from measurements import Measurements, Row
from page import Page
from paper_tables_nets import NETS
from paper_tables_papers import ALIKE, FINDINGS, PUBLISHED, SURVEY, Finding

from tfcompress.console import table

MISSING = "not measured yet"
# What a row has of each of a paper's figures.
ROW_NAMES = {
    "size": "size_ratio",
    "latency": "ratio",
    "step": "step_ratio",
    "parameters": "parameters_ratio",
    "macs": "macs_ratio",
}


def key_of(model: str, file: str, seed: int) -> str:
    return f"{model}, {file}, seed {seed}"


def rows_of(results: Measurements, model: str, file: str) -> dict[int, Row]:
    """Returns a file's rows by seed, as far as they are measured."""
    start = f"{model}, {file}, seed "
    rows = {
        key.removeprefix(start): row for key, row in results.rows.items() if key.startswith(start)
    }
    return {int(seed): rows[seed] for seed in sorted(rows) if seed.isdecimal()}


def numbers(results: Measurements, model: str, finding: Finding) -> list[float]:
    """Returns a finding's number of each seed for which its rows are there."""
    rows = rows_of(results, model, finding.file)
    others = rows_of(results, model, finding.other)
    if finding.metric == "points":
        return [
            100 * (rows[seed]["accuracy"] - others[seed]["accuracy"])
            for seed in rows.keys() & others.keys()
        ]
    return shares(rows.values(), finding.metric)


def shares(rows: Iterable[Row], metric: str) -> list[float]:
    """Returns rows' costs, divided by the float network's, as far as they were measured."""
    found = [row.get(ROW_NAMES[metric]) for row in rows]
    return [number for number in found if number is not None]


def verdict(results: Measurements, model: str, finding: Finding) -> str:
    """Says whether the mean over seeds confirms a finding, and how many seeds do."""
    found = numbers(results, model, finding)
    if not found:
        return MISSING
    agree = [(number >= finding.bound) == finding.above for number in found]
    mean = statistics.mean(found)
    said = "confirmed" if (mean >= finding.bound) == finding.above else "refuted"
    shown = f"{mean:+.2f} points" if finding.metric == "points" else f"{mean:.3f}"
    seeds = "seed" if len(found) == 1 else "seeds"
    return f"{said} ({shown}; it holds for {sum(agree)} of {len(found)} {seeds})"


def findings(results: Measurements, models: Iterable[str]) -> Iterator[str]:
    """Yields a line for each of the papers' findings."""
    models = tuple(models)
    for finding in FINDINGS:
        verdicts = "; ".join(f"{model} {verdict(results, model, finding)}" for model in models)
        yield f"- {finding.text[0].upper()}{finding.text[1:]} ({finding.paper}): {verdicts}."


def errors_by_epoch(results: Measurements, models: Iterable[str]) -> str:
    """Returns the table of training and test errors, in percent, at quarters of the epochs."""
    lines = []
    for model in models:
        for name, net in NETS.items():
            rows = rows_of(results, model, next(iter(net.files))).values()
            histories = [row["history"] for row in rows if row.get("history")]
            if histories:
                last = min(map(len, histories)) - 1
                lines.append([model, name, *(_errors(histories, last * n // 4) for n in range(5))])
    marks = ["a quarter", "half", "three quarters", "last epoch"]
    return table(lines, ["network", "training", "first epoch", *marks], markdown=True)


def _errors(histories: Sequence[Sequence[Mapping[str, float]]], epoch: int) -> str:
    """Returns the mean training and test error of an epoch; a dash where it isn't known."""
    shown = []
    for name in ("train_error", "test_error"):
        values = [history[epoch][name] for history in histories if name in history[epoch]]
        shown.append(f"{100 * statistics.mean(values):.1f}" if values else "-")
    return " / ".join(shown)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _spread(values: Sequence[float], digits: int) -> str:
    """Returns the mean of values, of several with their range."""
    if not values:
        return ""
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def cells_of(results: Measurements, model: str, file: str) -> list[str]:
    """Returns a file's line of the table, the paper's figures beside ours."""
    known, rows = PUBLISHED.get(file), list(rows_of(results, model, file).values())
    accuracy = ""
    if known is not None and known.accuracy is not None:
        accuracy = f"{known.accuracy:g}" + (f" ({known.base:g})" if known.base else "")
    costs = []
    for metric, digits in COSTS.items():
        costs.append(_ratio(None if known is None else getattr(known, metric)))
        costs.append(_spread(shares(rows, metric), digits))
    return [
        model,
        file,
        "" if known is None else known.source,
        accuracy,
        _spread([100 * row["accuracy"] for row in rows], 2) or MISSING,
        f"{statistics.mean(row['size_bytes'] for row in rows):,.0f}" if rows else "",
        *costs,
        str(len(rows)),
    ]


# Costs as shares of the float network's, and the digits that ours are shown with.
COSTS = {"size": 3, "parameters": 3, "macs": 3, "latency": 2, "step": 2}
TITLES = {"macs": "MACs", "step": "training step"}
HEADERS = [
    *("network", "file", "paper", "paper's accuracy (its float's), %", "accuracy, %", "bytes"),
    *(
        title
        for metric in COSTS
        for title in (f"paper's {TITLES.get(metric, metric)}", TITLES.get(metric, metric))
    ),
    "seeds",
]
# Without rows these have lines all the same; the page says of VGG-16 that it isn't trained.
SMALL, LARGE = ("vgg_small", "resnet8"), "vgg16"


def page_of(results: Measurements) -> Page:
    found = {key.split(",")[0] for key in results.rows}
    models = [*SMALL, *sorted(found - {*SMALL})]
    lines = [
        (
            cells_of(results, model, file),
            [key_of(model, file, seed) for seed in rows_of(results, model, file)],
        )
        for model in models
        for net in NETS.values()
        for file in net.files
    ]
    untrained = "" if LARGE in found else f" {LARGE}: not trained, no rows."
    joined = "; ".join(sorted({row["trained"] for row in results.rows.values()}))
    note = (
        f"CIFAR-10, every training of {results.settings['epochs']} epochs, Adam with cosine decay; "
        "accuracy of the `.tflite` file on all test images, the mean over seeds and its range. "
        "Sizes, parameters, MACs, latencies (one thread, in turns, median) and steps of the "
        "training (in turns) are divided by the float32 file's or network's of the same seed; of "
        f"{SURVEY} the whole training's time stands for its step. The papers' rows are of "
        "other data and networks (VGG-S and for CP SqueezeNet on RaFD; VGG-16 on CIFAR-10), so "
        "that only the signs compare. The study hashed dense layers, which hold most of VGG-S's "
        "weights and few of these networks': its findings are judged by the network with hashed "
        "convolutions, too. It replaced two convolutions of SqueezeNet by CP; here each one has "
        "half of its MACs. All are trained by the labels, from new weights but for CP; "
        "students have half the width and learn a teacher's answers on the training images "
        "without labels: the strong teacher is the float network, the weak one has seen 1/25 of "
        f"the images.{f' Trained by {joined}.' if joined else ''}{untrained}\n\n"
        "## Findings of the papers\n\n"
        "Confirmed or refuted by the mean over seeds; a size or a time is another's from "
        f"{ALIKE} of it to {1 / ALIKE:.2f}.\n\n"
        + "\n".join(findings(results, models))
        + "\n\n## Training and test error, %, by epoch (the study's figures 1 to 6)\n\n"
        + (errors_by_epoch(results, models) if results.rows else f"{MISSING.capitalize()}.")
        + "\n\n## The tables (the study's 2 and 3, and its students; V of the other)"
    )
    return Page("The papers' tables on CIFAR-10", note, HEADERS, lines)
