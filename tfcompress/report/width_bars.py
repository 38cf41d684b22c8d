"""Shows how many channels each layer made before, and how many it makes now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfcompress.report.layer_costs import short_name
from tfcompress.report.picture import COLOURS, INK, Picture, canvas, render_figure
from tfcompress.report.result import RunResult

# Bars of a picture of some 20 inches; of more layers the narrowest aren't drawn.
_MOST = 100


def width_bars(result: RunResult) -> Picture | None:
    """Draws one bar for each layer that makes channels; None if no technique narrows layers.

    The bar is as long as the layer was wide, and filled as far as it is now.
    """
    if not result.widths:
        return None
    least = sorted((row["before"] for row in result.widths), reverse=True)[:_MOST][-1]
    rows = [row for row in result.widths if row["before"] >= least][:_MOST]
    figure, (axes,) = canvas(1, height=0.9 + 0.21 * len(rows))
    places = list(range(len(rows)))
    befores = [row["before"] for row in rows]
    bars = axes.barh(places, befores, height=0.76, color=COLOURS["baseline"], alpha=0.45,
                     label="baseline")  # fmt: skip
    axes.barh(places, [row["after"] for row in rows], height=0.76, color=COLOURS["compressed"],
              label="compressed")  # fmt: skip
    axes.bar_label(bars, [_text(row) for row in rows], padding=3, color=INK, fontsize=9)
    axes.set_yticks(places, [short_name(row["name"]) for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.35 * max(*befores, 1))
    axes.tick_params(left=False, bottom=False, labelbottom=False, labelsize=10)
    axes.set_title("channels", loc="left", fontsize=12, color=INK, pad=5)
    axes.spines["bottom"].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, labelcolor=INK, fontsize=12)
    numbers = ", ".join(f"{row['name']} {_text(row)}" for row in rows)
    others = len(result.widths) - len(rows)
    more = f" {others} narrower layers aren't drawn." if others else ""
    alt = f"Channels that each layer makes, before and after: {numbers}.{more}"
    return render_figure("widths", alt, figure)


def _text(row: Mapping[str, Any]) -> str:
    """Writes a layer's width before and after, or that it had to stay."""
    if row["after"] == row["before"]:
        return f"{row['before']}, has to stay" if row["frozen"] else f"{row['before']}"
    return f"{row['before']} to {row['after']}"
