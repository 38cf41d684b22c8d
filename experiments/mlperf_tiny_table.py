"""The rows of `mlperf_tiny.py`: what is measured, what is aimed at, and how it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from measurements import Measurements, Row


@dataclasses.dataclass(frozen=True)
class Cell:
    """A file: what is done to the network, and how it is written.

    Attributes:
        rules: `reference`, `closed` or `open`.
        model: the network.
        storage: of the export; empty for a file of the benchmark.
        export: more of its arguments; of `validation` and `noise_budget` the settings.
        trainings: what is trained first, one after another: techniques, each with its options and
            those of its training.
        teacher: the reference network that teaches in them; empty for the model's own.
    """

    rules: str
    model: str = "resnet8"
    storage: str = ""
    export: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trainings: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    teacher: str = ""


def _closed(storage: str, **export: Any) -> Cell:
    return Cell("closed", storage=storage, export=export)


def _open(technique: str, storage: str, **options: Any) -> Cell:
    return Cell("open", storage=storage, trainings=((technique, options),))


TRAINED = {"epochs": 10, "learning_rate": 1e-3}
# Of the float file's bytes: what 8-bit weights leave below 50,000, 2-bit ones below 25,000, and
# 4-bit ones of `resnet8_large` below 98,496.
HALF = {"size_ratio": 0.46, "round_to": 8}
FOUR_BIT_CUT = {"size_ratio": 0.36, "round_to": 4}
TWO_BIT_CUT = {"size_ratio": 0.75, "round_to": 4}
# Integers in and out, and no long names.
SMALL = {"io": "int8", "short_names": True}
# Weights that were trained for few bits keep them; the ends, which weren't, may have 8. With 8 bits
# throughout files give other labels than Keras on 1% to 3% of the images.
FOUR_BITS = {"validation": {"max_drop": 3.0}, **SMALL}
TWO_BITS = {"validation": {"bits": (8, 4, 2), "max_drop": 3.0}, **SMALL}
CELLS = {
    "reference, float32": Cell("reference"),
    "reference, int8": Cell("reference"),
    "int8": _closed("int8"),
    "int8, int8 in and out": _closed("int8", io="int8"),
    "int8, ranges of least error": _closed("int8", ranges="mse"),
    "int8, ranges of least error, int8 in and out": _closed("int8", ranges="mse", io="int8"),
    "dynamic": _closed("dynamic"),
    "float16": _closed("float16"),
    "int4": _closed("int4"),
    "mixed, 8 and 4 bits": _closed("int8_int4", validation={"max_drop": 4.0}),
    "sqnr, noise of 5 bits": _closed("int8_int4", noise_budget=5),
    "int8_int4": _closed("int8_int4"),
    "int8_int4, gptq": _closed("int8_int4", rounding="gptq"),
    "int8_int4, gptq, small": _closed("int8_int4", rounding="gptq", **SMALL),
    "int8_int4, gptq, ranges of least error, small": _closed(
        "int8_int4", rounding="gptq", ranges="mse", **SMALL
    ),
    "mixed, 8 and 4 bits, gptq, small": _closed(
        "int8_int4", rounding="gptq", ranges="mse", validation={"max_drop": 3.0}, **SMALL
    ),
    "channels, 4 epochs, int8": _open("channels", "int8", epochs=4, learning_rate=5e-4, **HALF),
    "channels, int8": _open("channels", "int8", **HALF, **TRAINED),
    "qat": _open("qat", "int8", **TRAINED),
    "lsq, 4 bits": Cell(
        "open",
        storage="int8_int4",
        export=FOUR_BITS,
        trainings=(("lsq", {"bits": 4, **TRAINED}),),
    ),
    "channels and lsq, 2 bits, the large network teaches": Cell(
        "open",
        storage="int8_int4",
        export=TWO_BITS,
        trainings=(
            ("channels", {**TWO_BIT_CUT, "epochs": 8, "learning_rate": 5e-4}),
            ("lsq", {"bits": 2, **TRAINED, "epochs": 16}),
        ),
        teacher="resnet8_large",
    ),
    "resnet8_large, channels, int8_int4, gptq, ranges of least error, small": Cell(
        "open",
        "resnet8_large",
        "int8_int4",
        export={"rounding": "gptq", "ranges": "mse", **SMALL},
        trainings=(
            ("channels", {"size_ratio": 0.98, "round_to": 4, "epochs": 1, "learning_rate": 1e-4}),
        ),
    ),
    "resnet8_large, channels and lsq, 4 bits": Cell(
        "open",
        "resnet8_large",
        "int8_int4",
        export=FOUR_BITS,
        trainings=(
            ("channels", {**FOUR_BIT_CUT, **TRAINED, "epochs": 14}),
            ("lsq", {"bits": 4, **TRAINED, "epochs": 6}),
        ),
    ),
    "resnet8_large, reference, float32": Cell("reference", "resnet8_large"),
    "resnet8_large, reference, int8": Cell("reference", "resnet8_large"),
    "resnet8_large, int8": Cell("closed", "resnet8_large", "int8"),
    "resnet8_large, int8_int4": Cell("closed", "resnet8_large", "int8_int4"),
    "resnet8_large, int8_int4, gptq, small": Cell(
        "closed", "resnet8_large", "int8_int4", export={"rounding": "gptq", **SMALL}
    ),
    "resnet8_large, int8_int4, gptq, ranges of least error, small": Cell(
        "closed",
        "resnet8_large",
        "int8_int4",
        export={"rounding": "gptq", "ranges": "mse", **SMALL},
    ),
}
# What is wanted of the files, by rules or network: the most bytes, the least accuracy, the largest
# latency ratio.
ANY_LATENCY = float("inf")
TARGETS = {
    "closed": ((98_496, 0.871, 1.0), (50_000, 0.85, ANY_LATENCY)),
    "open": ((98_496, 0.885, ANY_LATENCY), (25_000, 0.85, ANY_LATENCY)),
    "resnet8_large": ((256_000, 0.91, ANY_LATENCY),),
}


def cells_of(name: str, row: Row | None) -> list[str]:
    """Returns a file's cells in the table."""
    rules = CELLS[name].rules
    if row is None:
        return [name, rules, *["not measured yet"] * 3]
    spread = f"{row['ratio_p10']:.2f} to {row['ratio_p90']:.2f}"
    return [
        name,
        rules,
        f"{row['size_bytes']:,}",
        f"{100 * row['accuracy']:.2f}",
        f"{row['ratio']:.2f} ({spread})",
    ]


def verdicts(results: Measurements) -> Iterator[str]:
    """Says of each target which file reaches it, or which comes nearest."""
    for group, targets in TARGETS.items():
        for target in targets:
            yield f"- {verdict(results, group, *target)}"


def verdict(results: Measurements, group: str, most: int, least: float, slowest: float) -> str:
    """Says which of a group's files that are small and fast enough is the most accurate."""
    title = f"{group}, at least {100 * least:.1f}% in at most {most:,} bytes"
    title += ", no slower than the reference's int8 file" if slowest <= 1 else ""
    rows = {
        name: results[name]
        for name, cell in CELLS.items()
        if name in results
        and group in (cell.model, cell.rules)
        and results[name]["size_bytes"] <= most
        and results[name]["ratio"] <= slowest
    }
    if not rows:
        return f"{title}: not reached; no file that was measured is so small."
    best = max(rows, key=lambda name: rows[name]["accuracy"])
    row = rows[best]
    reached = "reached" if row["accuracy"] >= least else "not reached"
    return (
        f"{title}: {reached}; `{best}` has {100 * row['accuracy']:.2f}% in "
        f"{row['size_bytes']:,} bytes at {row['ratio']:.2f} of the reference's int8 latency."
    )
