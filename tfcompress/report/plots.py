"""Draws the pictures of a run: error curves, and what the file costs before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.plain_text import spell_out
from tfcompress.report.layer_costs import layer_bars
from tfcompress.report.pareto import Point, tradeoffs
from tfcompress.report.picture import COLOURS, INK, Picture, canvas, file_colours, render_figure
from tfcompress.report.result import RunResult
from tfcompress.report.table import file_names, milliseconds


def pictures(result: RunResult) -> list[Picture]:
    """Draws every picture that the result has numbers for."""
    drawn = [error_curves(result)]
    if result.files:
        drawn += [cost_bars(result), cost_points(result), layer_bars(result)]
    return [picture for picture in drawn if picture is not None]


def error_curves(result: RunResult) -> Picture | None:
    """Draws train and test error by epoch, for both trainings; None without a history."""
    curves = [
        (stage, key, points)
        for stage in ("baseline", "compressed")
        for key in ("test_error", "train_error")
        if (points := curve(result.histories.get(stage, ()), key))
    ]
    if not curves:
        return None
    from matplotlib.ticker import MaxNLocator

    figure, axes = canvas(1, height=3.6)
    names = {"baseline": "baseline", "compressed": label(result.technique)}
    for stage, key, points in curves:
        axes[0].plot(
            [epoch for epoch, _ in points],
            [percent for _, percent in points],
            color=COLOURS[stage],
            linestyle="-" if key == "test_error" else (0, (3, 2)),
            linewidth=2,
            # One epoch makes no line.
            marker="o" if len(points) == 1 else None,
            label=f"{names[stage]}, {key.removesuffix('_error')}",
        )
    axes[0].set_xlabel("epoch")
    axes[0].set_ylabel("error, %")
    axes[0].set_ylim(bottom=0)
    axes[0].set_xlim(0.5, max(points[-1][0] for _, _, points in curves) + 0.5)
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].grid(True, color=INK, alpha=0.25, linewidth=0.8)
    legend = figure.legend(
        loc="outside upper center",
        ncols=2,
        frameon=False,
        labelcolor=INK,
        handlelength=1.8,
        columnspacing=1.2,
        fontsize=12,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    alt = "Error by epoch, in percent. " + " ".join(
        f"{names[stage]}, {key.removesuffix('_error')}: {last_error(points[-1][1])} at the end."
        for stage, key, points in curves
    )
    return render_figure("errors", alt, figure)


def cost_bars(result: RunResult) -> Picture:
    """Draws bars of file size, latency and accuracy, the baseline above the compressed files."""
    files = (result.baseline, *result.files)
    sizes = [file.size_bytes / 1024 for file in files]
    groups = [("file size, KiB", sizes, [f"{size:,.1f}" for size in sizes])]
    times = [file.latency_ms_p50 for file in files]
    if times[0] is not None and any(time is not None for time in times[1:]):
        groups.append(
            ("latency median, ms", [time or 0.0 for time in times], list(map(milliseconds, times)))
        )
    shares = [100 * file.accuracy for file in files]
    groups.append(("accuracy, %", shares, [f"{share:.2f}" for share in shares]))

    figure, axes = canvas(len(groups), height=0.2 + (0.5 + 0.35 * len(files)) * len(groups))
    labels = ["baseline", *map(label, file_names(result))]
    places = list(range(len(files)))
    for place, (title, values, texts) in zip(axes, groups, strict=True):
        bars = place.barh(places, values, height=0.72, color=file_colours(len(result.files)))
        place.bar_label(bars, texts, padding=4, color=INK, fontsize=12)
        place.invert_yaxis()
        place.set_yticks(places, labels, parse_math=False)
        place.tick_params(left=False, bottom=False, labelbottom=False)
        # Room for the number behind the longest bar; accuracies all count from 0 to 100.
        top = 100.0 if title.startswith("accuracy") else max(values) or 1.0
        place.set_xlim(0, 1.25 * top)
        place.set_title(title, loc="left", fontsize=12, color=INK, pad=5)
        place.spines["bottom"].set_visible(False)
    alt = "Baseline and compressed file compared. " + " ".join(
        f"{title}: {' and '.join(texts)}." for title, _, texts in groups
    )
    return render_figure("tradeoff", alt, figure)


def cost_points(result: RunResult) -> Picture:
    """Draws size and latency against accuracy, with every file as a point."""
    names = file_names(result)
    files = (
        ("baseline", "baseline", result.baseline),
        *((label(name), name, file) for name, file in zip(names, result.files, strict=True)),
    )
    panels = [
        (
            title,
            [
                Point(short, name, cost, file.accuracy, at == 0)
                for at, (short, name, file) in enumerate(files)
                if (cost := value(file)) is not None
            ],
        )
        for title, value in (
            ("file size, KiB", lambda file: file.size_bytes / 1024),
            ("latency median, ms", lambda file: file.latency_ms_p50),
        )
    ]
    return tradeoffs([(title, points) for title, points in panels if len(points) > 1])


def last_error(percent: float) -> str:
    """Writes the last error of a curve; a training that diverged has none."""
    return f"{percent:.2f} %" if math.isfinite(percent) else "not a number"


def label(technique: str) -> str:
    """Returns the technique's name if it leaves room for the picture, else `compressed`."""
    plain = spell_out(technique)
    return plain if len(plain) <= 16 else "compressed"


def curve(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Returns epoch and percent of the rows that have a key.

    Args:
        rows: a training's history; a row without an epoch counts by its place.
        key: of an error from 0 to 1.
    """
    points = []
    for number, row in enumerate(rows, start=1):
        value = row.get(key)
        if value is not None:
            points.append((float(row.get("epoch", number)), 100 * float(value)))
    return points
