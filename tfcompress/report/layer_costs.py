"""Shows each layer's bytes in the file and multiply-accumulates, before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tfcompress.plain_text import spell_out
from tfcompress.report.picture import INK, Picture, canvas, file_colours, render_figure
from tfcompress.report.result import RunResult
from tfcompress.report.table import file_names

# Bars that a picture has room for; the other layers share one bar.
_MOST = 10
# As a share of the longest bar: a shorter one can't be seen.
_LEAST = 0.005


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """A layer in both networks. None where a network hasn't it, or the number isn't known.

    Attributes:
        name: the layer's.
        kind: its class; both with an arrow between them if they differ.
        size_bytes: size of its constants in the baseline's file and in each compressed one.
        macs: multiply-accumulates in the baseline and in the compressed network.
    """

    name: str
    kind: str
    size_bytes: tuple[int | None, ...]
    macs: tuple[int | None, int | None]


class Counted(Protocol):
    """What was counted of one call of a layer."""

    @property
    def name(self) -> str:
        """The layer's name."""

    @property
    def kind(self) -> str:
        """The layer's class."""

    @property
    def parameters(self) -> int:
        """Parameters that no earlier call of the layer had."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of this call alone."""


class Allotted(Protocol):
    """The bits that were chosen for a layer, and what it takes alone."""

    @property
    def bits(self) -> int:
        """Bits of a weight."""

    @property
    def microseconds(self) -> float | None:
        """The layer's time; None where it wasn't measured."""


def per_layer(
    counted: Iterable[Counted],
    layer_bytes: Mapping[str, int],
    layer_bits: Mapping[str, Allotted] | None = None,
) -> list[dict[str, Any]]:
    """Joins what was counted in a model with what its file holds.

    A layer of ours becomes several in the file, whose names begin with its name.

    Args:
        counted: one entry for each call of a layer.
        layer_bytes: size of the constants by the layer's name, or by the tensor's if it belongs to
            no layer.
        layer_bits: of the layers whose bits were chosen, by the same names.

    Returns:
        One entry for each layer, in the model's order, with `bytes` too; then what only the file
        has, without `kind`, `parameters` and `macs`.
    """
    rows: dict[str, dict[str, Any]] = {}
    for call in counted:
        row = rows.setdefault(
            call.name,
            {"name": call.name, "kind": call.kind, "parameters": 0, "macs": 0, "bytes": 0},
        )
        row["parameters"] += call.parameters
        row["macs"] += call.macs
    for name, size in layer_bytes.items():
        owners = [known for known in rows if name == known or name.startswith(f"{known}_")]
        owner = max(owners, key=len, default=None)
        if owner is None:
            owner = name
            rows[name] = {"name": name, "bytes": 0}
        rows[owner]["bytes"] += size
        allotted = (layer_bits or {}).get(name)
        if allotted is not None:
            rows[owner]["bits"] = allotted.bits
            rows[owner]["microseconds"] = allotted.microseconds
    return list(rows.values())


def layer_rows(result: RunResult) -> list[LayerRow]:
    """Lists the layers of both networks that hold bytes or multiply, in the baseline's order.

    A layer that only the compressed network has comes behind the one that it follows there.
    """
    files = [{row["name"]: row for row in file.layers} for file in (result.baseline, *result.files)]
    names = list(files[0])
    for after in files[1:]:
        place = 0
        for name in after:
            if name in names:
                place = names.index(name) + 1
            else:
                names.insert(place, name)
                place += 1
    rows = []
    for name in names:
        entries = [layers.get(name, {}) for layers in files]
        kinds = dict.fromkeys(kind for entry in entries if (kind := entry.get("kind")))
        # The files of one network multiply alike.
        new = next((entry for entry in entries[1:] if entry), {})
        row = LayerRow(
            name,
            " → ".join(kinds),
            tuple(entry.get("bytes") for entry in entries),
            (entries[0].get("macs"), new.get("macs")),
        )
        if any(row.size_bytes) or any(row.macs):
            rows.append(row)
    return rows


def layer_bars(result: RunResult) -> Picture | None:
    """Draws bars of each layer's KiB in each file and of its MACs; None if nothing is known."""
    rows = layer_rows(result)
    known = [
        ("KiB in the file", [tuple((size or 0) / 1024 for size in row.size_bytes) for row in rows]),
        ("MACs, million", [tuple((macs or 0) / 1e6 for macs in row.macs) for row in rows]),
    ]
    known = [(title, values) for title, values in known if any(map(any, values))]
    if not known:
        return None
    stages = ["baseline", *(["compressed"] if len(result.files) == 1 else file_names(result))]
    colours = file_colours(len(result.files))
    panels = [(title, _largest([row.name for row in rows], values)) for title, values in known]
    count = sum(len(bars) * len(bars[0][1]) for _, bars in panels)
    figure, axes = canvas(len(panels), height=0.6 * len(panels) + 0.21 * count)
    for place, (title, bars) in zip(axes, panels, strict=True):
        sides = len(bars[0][1])
        thick = 0.76 / sides
        for side in range(sides):
            drawn_bars = place.barh(
                [at + (side - (sides - 1) / 2) * thick for at in range(len(bars))],
                [values[side] for _, values in bars],
                height=0.95 * thick,
                color=colours[side],
                label=stages[side],
            )
            texts = [_short(values[side]) for _, values in bars]
            place.bar_label(drawn_bars, texts, padding=3, color=INK, fontsize=9)
        place.set_yticks(range(len(bars)), [short_name(name) for name, _ in bars], parse_math=False)
        place.set_ylim(len(bars) - 0.4, -0.6)
        place.set_xlim(0, 1.2 * max(max(values) for _, values in bars))
        place.tick_params(left=False, bottom=False, labelbottom=False, labelsize=10)
        place.set_title(title, loc="left", fontsize=12, color=INK, pad=5)
        place.spines["bottom"].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(labels), frameon=False,
        labelcolor=INK, fontsize=12,
    )  # fmt: skip
    return render_figure("layers", _described(stages, panels), figure)


def _described(
    stages: Sequence[str], panels: Sequence[tuple[str, list[tuple[str, tuple[float, ...]]]]]
) -> str:
    """Says what the bars show, for those who don't see them."""
    numbers = " ".join(
        f"{title}: "
        + ", ".join(f"{name} {' and '.join(map(_short, values))}" for name, values in bars)
        + "."
        for title, bars in panels
    )
    return f"Each layer in {' and in '.join(stages)}. {numbers}"


def _largest(
    names: list[str], values: Sequence[tuple[float, ...]]
) -> list[tuple[str, tuple[float, ...]]]:
    """Returns the layers with the longest bars, in the network's order, and the others as one."""
    longest = max(map(max, values))
    order = sorted(
        (at for at in range(len(names)) if any(values[at])), key=lambda at: -max(values[at])
    )
    count = min(_MOST, sum(max(values[at]) >= _LEAST * longest for at in order))
    if len(order) == count + 1:  # A bar of one other would take as much room as its own.
        count += 1
    chosen, others = sorted(order[:count]), order[count:]
    bars = [(names[at], values[at]) for at in chosen]
    if others:
        sums = tuple(map(sum, zip(*(values[at] for at in others), strict=True)))
        bars.append((f"{len(others)} others", sums))
    return bars


def short_name(name: str, most: int = 18) -> str:
    """Shortens a name to its beginning and end, so that it leaves room for bars."""
    name, half = spell_out(name), most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half + 1 :]}"


def _short(value: float) -> str:
    """Writes a number with about three digits, and never in exponents."""
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}" if value >= 0.01 else "<0.01"
