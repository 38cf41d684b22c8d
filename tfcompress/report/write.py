"""Writes all that people and programs read about a run into one folder."""

from __future__ import annotations

import collections
import json
import os
import pathlib
from typing import Any

from tfcompress import files
from tfcompress.report import plots
from tfcompress.report.card import Card, model_card
from tfcompress.report.headline import headline
from tfcompress.report.layer_costs import layer_rows
from tfcompress.report.op_times import op_rows, untimed
from tfcompress.report.picture import Picture
from tfcompress.report.public import without_folders
from tfcompress.report.render import csv_text, render_template
from tfcompress.report.result import HISTORIES, FileResult, RunResult, strict
from tfcompress.report.table import comparison, explanation, file_names, headers

# The columns that history.csv begins with; whatever else the rows have follows.
COLUMNS = (
    "stage",
    "epoch",
    "loss",
    "train_error",
    "test_error",
    "learning_rate",
    "step_ms",
    "seconds",
)
# The pictures' names.
PICTURES = ("errors", "tradeoff", "pareto", "layers", "widths")
# The names of all files that `write_all` may write.
OUTPUTS = (
    *("report.json", "report.md", "report.html", "history.csv", "README.md"),
    *(f"{name}.{end}" for name in PICTURES for end in ("svg", "png")),
)


def write_all(result: RunResult, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes report.json, report.md, report.html, history.csv and the pictures (SVG and PNG).

    If the compressed file is in the folder, README.md is its model card.

    All contents are made before the first file is touched, and each file appears whole or not at
    all. Without a training history there is no picture of it, and history.csv is only its header.

    Args:
        result: the run's.
        folder: where to write; made if it doesn't exist.

    Returns:
        The paths of the written files.

    Raises:
        OSError: the folder can't be written.
    """
    pictures = plots.pictures(result)
    shown = without_folders(result)
    contents: dict[str, str | bytes] = {
        "report.md": markdown(shown, pictures),
        "report.html": html(shown, pictures),
        "history.csv": history_csv(result),
    }
    card = model_card(shown, folder)
    if card:
        contents["README.md"] = _rendered("card.md.j2", shown, [], autoescape=False, card=card)
    for picture in pictures:
        contents[f"{picture.name}.svg"] = picture.svg
        contents[f"{picture.name}.png"] = picture.png
    contents["report.json"] = json_text(result)  # Last: where it is, all other files are.
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [files.write(folder / name, content) for name, content in contents.items()]


def json_text(result: RunResult) -> str:
    """Writes the result as strict JSON."""
    return json.dumps(result.to_json(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def history_csv(result: RunResult) -> str:
    """Writes the epochs of both trainings as CSV; what a row doesn't have is left empty."""
    records = [
        {"stage": stage, **strict(row)}
        for stage in HISTORIES
        for row in result.histories.get(stage, ())
    ]
    present = list(dict.fromkeys(key for record in records for key in record))
    columns = [name for name in COLUMNS if name in present or not records]
    columns += [name for name in present if name not in COLUMNS]
    return csv_text([columns, *([record.get(key) for key in columns] for record in records)])


def html(result: RunResult, pictures: list[Picture]) -> str:
    """Writes the report as one self-contained page."""
    return _rendered("report.html.j2", result, pictures, autoescape=True)


def markdown(result: RunResult, pictures: list[Picture]) -> str:
    """Writes the report as Markdown, which shows the pictures beside it."""
    return _rendered("report.md.j2", result, pictures, autoescape=False)


def _rendered(
    template: str,
    result: RunResult,
    pictures: list[Picture],
    *,
    autoescape: bool,
    card: Card | None = None,
) -> str:
    """Fills in a template with the result."""
    names = file_names(result)
    return render_template(
        template,
        autoescape=autoescape,
        result=result,
        headline=headline(result),
        names=names,
        headers=headers(result),
        explanation=explanation(result),
        rows=comparison(result),
        pictures=pictures,
        titles=_titles(result),
        curves=plots.curves_of(result),
        errors=_errors(result),
        layer_rows=layer_rows(result),
        bytes_after=["bytes after"] if len(names) == 1 else [f"bytes, {name}" for name in names],
        op_rows=op_rows(result),
        untimed=untimed(result),
        actions=_actions(result),
        facts=facts(result),
        limits=limits(result),
        card=card,
    )


def _titles(result: RunResult) -> dict[str, str]:
    """Returns what stands over each picture on the page."""
    titles = (
        f"{plots.curves_of(result).name} by epoch",
        "What the file costs",
        f"Cost against {result.metric.name}",
        "Where the bytes and the work are",
        "How wide the layers are",
    )
    return dict(zip(PICTURES, titles, strict=True))


def _errors(result: RunResult) -> list[tuple[str, str, str, str]]:
    """Lists stage, epoch, train and test number of every epoch that has one."""
    shown = plots.curves_of(result)

    def text(number: float | None) -> str:
        if number is None:
            return "-"
        return f"{number:.2f}" if shown.factor != 1 else f"{number:.4g}"

    lines = []
    for stage in HISTORIES:
        by_epoch: dict[float, dict[str, float]] = {}
        for key in (shown.train, shown.test):
            for epoch, number in plots.curve(result.histories.get(stage, ()), key, shown.factor):
                by_epoch.setdefault(epoch, {})[key] = number
        for epoch, errors in sorted(by_epoch.items()):
            train, test = (text(errors.get(key)) for key in (shown.train, shown.test))
            lines.append((stage, f"{epoch:g}", train, test))
    return lines


def _actions(result: RunResult) -> str:
    """Counts the layers on which each action was taken."""
    counts = collections.Counter(layer.get("action", "") for layer in result.layers)
    return ", ".join(f"{count} {action}" for action, count in counts.most_common())


def facts(result: RunResult) -> list[tuple[str, str]]:
    """Lists what is needed to get the result again."""
    files = _titled_files(result)
    compared = [(title, file.parity) for title, file in files if file.parity]
    compared += [
        (f"{title}, {name}", parity)
        for title, file in files
        for name, parity in file.parity.get("outputs", {}).items()
    ]
    parity = [
        f"{title}: "
        + ", ".join(
            f"{key} {_short(value)}"
            for key, value in values.items()
            if key != "outputs" and value is not None
        )
        for title, values in compared
    ]
    runs = [(title, file.latency_runs) for title, file in files]
    images = f"{result.test_images:,}" if result.test_images else ""
    listed = [
        ("technique", result.technique),
        ("reference", result.reference),
        ("model", result.model),
        ("data set", result.dataset),
        ("split", result.dataset_split),
        (f"test {result.examples}", images),
        ("teacher", _teacher(result)),
        ("transfer set", _transfer(result)),
        ("seed", str(result.seed)),
        ("storage", ", ".join(f"{title} {file.storage}" for title, file in files)),
        ("file against Keras", "; ".join(parity)),
        ("timed inferences", _counts(runs)),
        ("machine", _listed(result.machine)),
        ("versions", _listed(result.versions)),
        ("made", result.created),
    ]
    return [(name, value) for name, value in listed if value]


def limits(result: RunResult) -> list[str]:
    """Says what the numbers don't, and the run's own notes."""
    lines = [
        f"One seed ({result.seed}) is one seed: another may give another {result.metric.name}.",
        f"The {result.metric.name} is that of the .tflite file on the whole test set.",
    ]
    if any(file.latency_ratio is not None for file in result.files):
        lines.append(
            "Latency was measured on this machine's CPU, not on a phone; all files ran in turns "
            "in one process, and the ratio is the median over rounds."
        )
    else:
        lines.append("Latency was not compared.")
    if any(file.packed_bytes is not None for file in result.files):
        lines.append(
            "A .tfz is what the file travels as: `python -m tfcompress.pack --unpack` gives the "
            ".tflite back bit by bit, as large and as fast as it was."
        )
    return [*lines, *_paired_tests(result), *result.notes]


def _teacher(result: RunResult) -> str:
    """Names the teacher and what it is worth; nothing without one."""
    if result.teacher is None:
        return ""
    name, value = result.teacher["name"], result.teacher.get("accuracy")
    return name if value is None else f"{name}, {result.metric.name} {result.metric.text(value)}"


def _transfer(result: RunResult) -> str:
    """Names the unlabelled examples and their number; nothing without any."""
    if result.transfer is None:
        return ""
    name, count = result.transfer["name"], result.transfer.get("examples")
    return name if count is None else f"{name}: {count:,} {result.examples} without labels"


def _paired_tests(result: RunResult) -> list[str]:
    """Says of each file how likely its difference from others is by chance."""
    return [
        f"{file.path} is right where the {other} is wrong on {test['gained']:,} test "
        f"{result.examples}, and wrong where it is right on {test['lost']:,}: p = "
        f"{test['p_value']:.2g} by McNemar's exact test."
        for file in result.files
        for other, test in (
            ("baseline", file.against_baseline),
            ("control", file.against_control),
        )
        if test is not None
    ]


def _listed(values: Any) -> str:
    """Puts a mapping on one line, without what is unknown."""
    known = {key: value for key, value in values.items() if value is not None}
    if "memory_bytes" in known:
        known["memory"] = f"{known.pop('memory_bytes') / 2**30:.1f} GiB"
    if "features" in known:
        known["with"] = " and ".join(known.pop("features")) or "no vector instructions known"
    elif "cpu" in known:
        known["features"] = "not recorded"  # Of a report that is older than they are.
    # The features tell it in the processor's own words.
    known.pop("int8_dot_product", None)
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in known.items())


def _titled_files(result: RunResult) -> list[tuple[str, FileResult]]:
    """Lists every file with a title; several compressed ones are told apart by their names."""
    if len(result.files) == 1:
        return [("baseline", result.baseline), ("compressed", result.files[0])]
    return [("baseline", result.baseline), *((file.path, file) for file in result.files)]


def _counts(runs: list[tuple[str, int | None]]) -> str:
    """Writes the files' counts; nothing if none is known."""
    if all(count is None for _, count in runs):
        return ""
    return ", ".join(
        f"{title} {'not timed' if count is None else f'{count:,}'}" for title, count in runs
    )


def _short(value: Any) -> str:
    """Writes a number with three significant digits, and anything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
