"""The pictures of a run as SVG and PNG: error curves, and what the file costs before and after.

Drawn with matplotlib's objects and not with pyplot, whose state the whole process shares.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.report.result import RunResult
from tfcompress.report.table import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's blue and vermilion: told apart by colour-blind eyes, on white and on black.
COLOURS = {"baseline": "#3a8fd0", "compressed": "#d55e00"}
# A grey with about the same contrast on white and on a dark page, for files of their own. In HTML
# it gives way to the page's text colour.
INK = "#7b7f85"
# Inches. At a phone's width a point is then about a pixel, so that 12 points stay readable.
WIDTH = 4.8


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        name: the file's name without its ending.
        alt: what it shows, in words.
        svg: the whole SVG document.
        png: the same as PNG, with a transparent background.
    """

    name: str
    alt: str
    svg: str
    png: bytes

    def inline(self) -> str:
        """The `<svg>` element for an HTML page: its own ids, the page's text colour."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        # Ids are the page's, not the picture's: two pictures' clip paths may be named alike.
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = re.sub(r"url\(#", f"url(#{self.name}-", svg)
        svg = re.sub(r'href="#', f'href="#{self.name}-', svg)
        svg = svg.replace(INK, "currentColor")
        # Width and height in points would fix the size; the viewBox alone lets the page decide.
        opening = re.sub(r' (width|height)="[^"]*"', "", svg[: svg.index(">")])
        return opening + ' aria-hidden="true"' + svg[svg.index(">") :]


def pictures(result: RunResult) -> list[Picture]:
    """Every picture that the result has numbers for."""
    drawn = [error_curves(result), comparison(result)]
    return [picture for picture in drawn if picture is not None]


def error_curves(result: RunResult) -> Picture | None:
    """Train and test error in percent by epoch, for both trainings; None without history."""
    curves = [
        (stage, key, points)
        for stage in ("baseline", "compressed")
        for key in ("test_error", "train_error")
        if (points := curve(result.histories.get(stage, ()), key))
    ]
    if not curves:
        return None
    from matplotlib.ticker import MaxNLocator

    figure, axes = _canvas(1, height=3.6)
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
        f"{names[stage]}, {key.removesuffix('_error')}: {ending(points[-1][1])} at the end."
        for stage, key, points in curves
    )
    return _drawn("errors", alt, figure)


def comparison(result: RunResult) -> Picture:
    """Bars of file size, latency and accuracy, the baseline above the compressed file."""
    before, after = result.baseline, result.compressed
    groups: list[tuple[str, tuple[float, float], tuple[str, str]]] = [
        (
            "file size, KiB",
            (before.size_bytes / 1024, after.size_bytes / 1024),
            (f"{before.size_bytes / 1024:,.1f}", f"{after.size_bytes / 1024:,.1f}"),
        )
    ]
    if before.latency_ms_p50 is not None and after.latency_ms_p50 is not None:
        times = (before.latency_ms_p50, after.latency_ms_p50)
        groups.append(
            ("latency median, ms", times, (milliseconds(times[0]), milliseconds(times[1])))
        )
    shares = (100 * before.accuracy, 100 * after.accuracy)
    groups.append(("accuracy, %", shares, (f"{shares[0]:.2f}", f"{shares[1]:.2f}")))

    figure, axes = _canvas(len(groups), height=0.2 + 1.2 * len(groups))
    labels = ("baseline", label(result.technique))
    for place, (title, values, texts) in zip(axes, groups, strict=True):
        bars = place.barh([0, 1], values, height=0.72, color=list(COLOURS.values()))
        place.bar_label(bars, texts, padding=4, color=INK, fontsize=12)
        place.invert_yaxis()
        place.set_yticks([0, 1], labels, parse_math=False)
        place.tick_params(left=False, bottom=False, labelbottom=False)
        # Room for the number behind the longest bar; accuracies all count from 0 to 100.
        top = 100.0 if title.startswith("accuracy") else max(values) or 1.0
        place.set_xlim(0, 1.25 * top)
        place.set_title(title, loc="left", fontsize=12, color=INK, pad=5)
        place.spines["bottom"].set_visible(False)
    alt = "Baseline and compressed file compared. " + " ".join(
        f"{title}: {texts[0]} and {texts[1]}." for title, _, texts in groups
    )
    return _drawn("tradeoff", alt, figure)


def ending(percent: float) -> str:
    """The last error of a curve in words; a training that diverged has none."""
    return f"{percent:.2f} %" if math.isfinite(percent) else "not a number"


def label(technique: str) -> str:
    """The technique's name where it leaves room for the picture, else `compressed`."""
    return technique if len(technique) <= 16 else "compressed"


def curve(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Epoch and percent of the rows that have the key; the rows' order counts if epochs lack."""
    points = []
    for number, row in enumerate(rows, start=1):
        value = row.get(key)
        if value is not None:
            points.append((float(row.get("epoch", number)), 100 * float(value)))
    return points


def _canvas(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with `count` axes, one below the other, in our ink on no background."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Inches between one group's bars and the next one's title.
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    with matplotlib.rc_context({"font.size": 12}):
        figure = Figure(figsize=(WIDTH, height), layout=layout, facecolor="none")
        axes = [figure.add_subplot(count, 1, number + 1) for number in range(count)]
    for place in axes:
        place.set_facecolor("none")
        place.tick_params(colors=INK, labelsize=12)
        place.xaxis.label.set(color=INK, fontsize=12)
        place.yaxis.label.set(color=INK, fontsize=12)
        for side, spine in place.spines.items():
            spine.set_color(INK)
            spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def _drawn(name: str, alt: str, figure: Figure) -> Picture:
    """The figure as a picture, the same bytes for the same numbers."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    settings = {
        "font.size": 12,
        # Text stays text: it can be searched, and takes the page's font.
        "svg.fonttype": "none",
        # Ids and clip paths are drawn from this and not from chance.
        "svg.hashsalt": f"tfcompress-{name}",
    }
    with matplotlib.rc_context(settings):
        vector, pixels = io.BytesIO(), io.BytesIO()
        FigureCanvasSVG(figure).print_svg(
            vector, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        figure.set_dpi(200)
        FigureCanvasAgg(figure).print_png(pixels, metadata={"Software": None})
    return Picture(name, alt, vector.getvalue().decode(), pixels.getvalue())
