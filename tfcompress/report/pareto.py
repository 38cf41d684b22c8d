"""Draws what accuracy costs: files as points, and the front that no file beats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tfcompress.metric import ACCURACY, Metric
from tfcompress.report.picture import COLOURS, INK, Picture, canvas, render_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From this quotient of the largest and the smallest cost on, the axis is logarithmic.
_FAR = 8.0
# Where a label may begin, in points from its own: beside and above first, then further away.
_PLACES = [
    *((7, 3), (-7, 3), (0, 7), (7, -14), (-7, -14), (0, -18), (7, -5), (-7, -5)),
    *((16, 12), (-16, 12), (0, 20), (16, -22), (-16, -22), (0, -30)),
]


@dataclasses.dataclass(frozen=True)
class Point:
    """A file in a picture.

    Attributes:
        label: the short text beside it.
        name: its name in the picture's description.
        cost: in the axis's unit.
        accuracy: the value of the metric.
        baseline: whether the file is an uncompressed one.
    """

    label: str
    name: str
    cost: float
    accuracy: float
    baseline: bool


def front(points: Iterable[Point], metric: Metric = ACCURACY) -> list[Point]:
    """Returns the points that no other beats by less cost at no less accuracy, or the reverse.

    Args:
        points: the files.
        metric: says which values are better.

    Returns:
        The points from the cheapest to the dearest; of equal points the first one.
    """
    best: list[Point] = []
    sign = 1 if metric.higher_is_better else -1
    for point in sorted(points, key=lambda point: (point.cost, -sign * point.accuracy)):
        if not best or sign * point.accuracy > sign * best[-1].accuracy:
            best.append(point)
    return best


def tradeoffs(
    panels: Sequence[tuple[str, Sequence[Point]]],
    name: str = "pareto",
    metrics: Sequence[Metric] = (ACCURACY,),
) -> Picture:
    """Draws each cost against accuracy, one panel below the other, with the front as steps.

    Args:
        panels: the cost's name with its unit, and the files whose cost is known.
        name: the picture's.
        metrics: of each panel; a single one for all.
    """
    of_panels = metrics if len(metrics) > 1 else list(metrics) * len(panels)
    figure, axes = canvas(len(panels), height=3.0 * len(panels))
    descriptions = []
    for place, (title, points), metric in zip(axes, panels, of_panels, strict=True):
        best = front(points, metric)
        for kind, marker in (("baseline", "s"), ("compressed", "o")):
            some = [point for point in points if point.baseline == (kind == "baseline")]
            if not some:
                continue  # Markers without a place would leave none to the axes.
            place.plot(
                [point.cost for point in some],
                [metric.drawn(point.accuracy) for point in some],
                marker,
                color=COLOURS[kind],
                markersize=7,
                clip_on=False,
                zorder=3,
            )
        place.step(
            [point.cost for point in best],
            [metric.drawn(point.accuracy) for point in best],
            where="post",
            color=INK,
            linestyle=(0, (3, 2)),
            linewidth=1.5,
        )
        _scale(place, points, metric)
        _labels(place, points, metric)
        place.set_xlabel(title)
        place.set_ylabel(metric.axis, parse_math=False)
        place.grid(True, color=INK, alpha=0.25, linewidth=0.8)
        descriptions.append(
            f"{title}: on the front, from the cheapest, "
            + ", ".join(
                f"{p.name} ({p.cost:.4g}, {metric.axis_text(p.accuracy, ' ')})" for p in best
            )
            + "."
        )
    shown = " and ".join(dict.fromkeys(metric.name for metric in of_panels))
    return render_figure(name, f"Cost against {shown}. " + " ".join(descriptions), figure)


def _scale(place: Axes, points: Sequence[Point], metric: Metric) -> None:
    """Sets the axes' scales and limits, with room around the points for their labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    costs = [point.cost for point in points]
    low, high = min(costs), max(costs)
    if low > 0 and high / low > _FAR:
        place.set_xscale("log")
        room = (high / low) ** 0.12
        place.set_xlim(low / room, high * room)
        ticks = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
        place.xaxis.set_major_locator(LogLocator(subs=ticks, numticks=12))
        place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        place.xaxis.set_minor_formatter(NullFormatter())
    else:
        place.set_xlim(0, 1.15 * high or 1.0)
        place.xaxis.set_major_locator(MaxNLocator(5))
        place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    values = [metric.drawn(point.accuracy) for point in points]
    least = 0.5 if metric.share else 0.05 * max(map(abs, values)) or 0.5
    room = max(0.25 * (max(values) - min(values)), least)
    place.set_ylim(min(values) - room, max(values) + room)
    place.yaxis.set_major_locator(MaxNLocator(5))


def _labels(
    place: Axes,
    points: Sequence[Point],
    metric: Metric,
    size: tuple[float, float] = (280, 160),
) -> None:
    """Puts each point's label where it covers no point and no other label, if there is room.

    Args:
        place: the axes, whose limits are set.
        points: what they show.
        metric: of the axis.
        size: about the axes' size in points.
    """
    centres = []
    for point in points:
        share = place.transLimits.transform(
            place.transScale.transform((point.cost, metric.drawn(point.accuracy)))
        )
        centres.append((share[0] * size[0], share[1] * size[1]))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in centres]
    for point, (x, y) in zip(points, centres, strict=True):
        wide, high = 7.0 * len(point.label), 11.0
        best: tuple[float, float, float, tuple[float, float, float, float]] | None = None
        for across, up in _PLACES:
            left = x + across if across > 0 else x + across - wide if across < 0 else x - wide / 2
            box = (left, y + up, left + wide, y + up + high)
            outside = max(0.0, -left) + max(0.0, left + wide - size[0] - 15)
            cost = outside + sum(_overlap(box, other) for other in taken)
            if best is None or cost < best[0]:
                best = (cost, left - x, up, box)
        assert best is not None  # There are places.
        taken.append(best[3])
        text = place.annotate(
            point.label,
            (point.cost, metric.drawn(point.accuracy)),
            xytext=best[1:3],
            textcoords="offset points",
            color=INK,
            fontsize=12,
        )
        text.set_parse_math(False)
        text.set_in_layout(False)  # It is placed within the axes.


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    """Returns the area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, up)
