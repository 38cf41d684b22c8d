"""Draws the pictures of a run: error curves, and what the file costs before and after."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.plain_text import spell_out
from tfcompress.report.layer_costs import layer_bars
from tfcompress.report.pareto import Point, tradeoffs
from tfcompress.report.picture import COLOURS, INK, Picture, canvas, file_colours, render_figure
from tfcompress.report.result import RunResult
from tfcompress.report.table import file_names, milliseconds
from tfcompress.report.width_bars import width_bars


def pictures(result: RunResult) -> list[Picture]:
    """Draws every picture that the result has numbers for."""
    drawn = [error_curves(result)]
    if result.files:
        drawn += [cost_bars(result), cost_points(result), layer_bars(result)]
    drawn.append(width_bars(result))
    return [picture for picture in drawn if picture is not None]


@dataclasses.dataclass(frozen=True)
class Curves:
    """What the curves of the trainings show.

    Attributes:
        name: of the number, as a title begins with it.
        axis: its name with its unit.
        test: the history's key of the held-out examples' number.
        train: likewise of the training examples'.
        factor: from the history's number to the one that is shown.
    """

    name: str = "Error"
    axis: str = "error, %"
    test: str = "test_error"
    train: str = "train_error"
    factor: float = 100.0

    @property
    def caption(self) -> str:
        """What the numbers are, in words."""
        return f"{self.name} by epoch{', in percent' if self.factor != 1 else ''}."

    def text(self, value: float) -> str:
        """Writes a number of the curves."""
        if not math.isfinite(value):
            return "not a number"
        return f"{value:.2f} %" if self.factor != 1 else f"{value:.4g}"


def curves_of(result: RunResult) -> Curves:
    """Returns what the curves show: the error of classes, else the run's metric, else the loss."""
    keys = {key for rows in result.histories.values() for row in rows for key in row}
    if keys & {"test_error", "train_error"}:
        return Curves()
    name = result.metric.name
    if keys & {f"test_{name}", f"train_{name}"}:
        factor = 100.0 if result.metric.share else 1.0
        return Curves(name, result.metric.axis, f"test_{name}", f"train_{name}", factor)
    return Curves("Loss", "loss", "test_loss", "loss", 1.0)


def error_curves(result: RunResult) -> Picture | None:
    """Draws train and test error by epoch, for both trainings; None without a history.

    Of other data than classes it is what `curves_of` returns.
    """
    shown = curves_of(result)
    titles = {shown.test: "test", shown.train: "train"}
    curves = [
        (stage, key, points)
        for stage in ("baseline", "compressed")
        for key in titles
        if (points := curve(result.histories.get(stage, ()), key, shown.factor))
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
            linestyle="-" if key == shown.test else (0, (3, 2)),
            linewidth=2,
            # One epoch makes no line.
            marker="o" if len(points) == 1 else None,
            label=f"{names[stage]}, {titles[key]}",
        )
    axes[0].set_xlabel("epoch")
    axes[0].set_ylabel(shown.axis, parse_math=False)
    if all(value >= 0 for _, _, points in curves for _, value in points):
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
    alt = f"{shown.caption} " + " ".join(
        f"{names[stage]}, {titles[key]}: {shown.text(points[-1][1])} at the end."
        for stage, key, points in curves
    )
    return render_figure("errors", alt, figure)


def cost_bars(result: RunResult) -> Picture:
    """Draws bars of file size, latency and the metric, the baseline above the compressed files."""
    files = (result.baseline, *result.files)
    sizes = [file.size_bytes / 1024 for file in files]
    groups = [("file size, KiB", sizes, [f"{size:,.1f}" for size in sizes])]
    times = [file.latency_ms_p50 for file in files]
    if times[0] is not None and any(time is not None for time in times[1:]):
        groups.append(
            ("latency median, ms", [time or 0.0 for time in times], list(map(milliseconds, times)))
        )
    metric = result.metric
    values = [metric.drawn(file.accuracy) for file in files]
    groups.append((metric.axis, values, [metric.axis_text(file.accuracy) for file in files]))

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
        top = 100.0 if title == metric.axis and metric.share else max(*values, 0.0) or 1.0
        place.set_xlim(min(*values, 0.0), 1.25 * top)
        place.set_title(title, loc="left", fontsize=12, color=INK, pad=5, parse_math=False)
        place.spines["bottom"].set_visible(False)
    alt = "Baseline and compressed file compared. " + " ".join(
        f"{title}: {' and '.join(texts)}." for title, _, texts in groups
    )
    return render_figure("tradeoff", alt, figure)


def cost_points(result: RunResult) -> Picture:
    """Draws size and latency against the metric, with every file as a point."""
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
    panels = [(title, points) for title, points in panels if len(points) > 1]
    return tradeoffs(panels, metrics=[result.metric])


def label(technique: str) -> str:
    """Returns the technique's name if it leaves room for the picture, else `compressed`."""
    plain = spell_out(technique)
    return plain if len(plain) <= 16 else "compressed"


def curve(
    rows: Sequence[Mapping[str, Any]], key: str, factor: float = 100.0
) -> list[tuple[float, float]]:
    """Returns epoch and percent of the rows that have a key.

    Args:
        rows: a training's history; a row without an epoch counts by its place.
        key: of an error from 0 to 1, or another number.
        factor: from that to what is shown.
    """
    points = []
    for number, row in enumerate(rows, start=1):
        value = row.get(key)
        if value is not None:
            points.append((float(row.get("epoch", number)), factor * float(value)))
    return points
