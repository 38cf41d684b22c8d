"""Latency of whole networks with decomposed layers beside the originals, as files.

Run:

    .venv/bin/python experiments/decomposed_net_speed.py --output=build/decomposed_net_speed

About three minutes. The nets have new weights, which speed doesn't depend on; CP's least squares
are cut short for the same reason. SqueezeNet-1.1 has its last two 3x3 convolutions at rank 192, as
Rassadin and Savchenko 2017 had, whose net became 1.5 times slower; VGG-S has every convolution but
the first at a quarter of its multiply-accumulates.
"""

from __future__ import annotations

import functools
import tempfile
from typing import Any

import keras
import numpy as np
from measurements import Measurements, Row, Step, conduct, parser
from page import Page

import tfcompress
from tfcompress import graph, models

SQUEEZENET = {"fire8_expand3x3": 192, "fire9_expand3x3": 192}
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("squeezenet", "cp", {"ranks": SQUEEZENET, "iterations": 1}),
    ("squeezenet", "cp", {"macs_ratio": 0.25, "iterations": 1}),
    ("vgg_s", "cp", {"macs_ratio": 0.25, "iterations": 1}),
    ("vgg_s", "spatial", {"macs_ratio": 0.25}),
    ("vgg_s", "tucker", {"macs_ratio": 0.25}),
    ("vgg_s", "svd", {"macs_ratio": 0.25}),
)
SIDE = 224
CLASSES = 1000


def words(options: dict[str, Any]) -> str:
    """The options in a cell of the table."""
    if "ranks" in options:
        return ", ".join(f"{name} {rank}" for name, rank in options["ranks"].items())
    return ", ".join(f"{key} {value}" for key, value in options.items() if key != "iterations")


NETS = tuple(dict.fromkeys(case[0] for case in CASES))


def keys(name: str) -> dict[str, str]:
    """Returns the key of each title's row: the net as it is, and by each technique."""
    titles = ["as it is", *(f"{by}: {words(set_)}" for net, by, set_ in CASES if net == name)]
    return {title: f"{name}, {title}" for title in titles}


def measured(name: str, runs: int) -> dict[str, Row]:
    """Measures a net's files in turns."""
    images = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    net = models.build(name, (SIDE, SIDE, 3), CLASSES)
    nets = [net]
    for _, technique, options in (case for case in CASES if case[0] == name):
        nets.append(tfcompress.transform(net, technique, **options))
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}_{number}.tflite" for number in range(len(nets))]
        for each, path in zip(nets, paths, strict=True):
            tfcompress.export(each, path, representative=images)
        files = tfcompress.benchmark(paths, runs=runs)
    return {
        key: {
            "parameters": graph.parameters(each),
            "macs": graph.macs(each),
            "size_bytes": file.size_bytes,
            "ms": file.latency_ms_p50,
            "ratio": file.ratio,
            "ratio_p10": file.ratio_p10,
            "ratio_p90": file.ratio_p90,
        }
        for key, each, file in zip(keys(name).values(), nets, files, strict=True)
    }


def cells(row: Row) -> list[str]:
    """Returns a row's part of the table that was measured."""
    return [
        f"{row['parameters']:,}",
        f"{row['macs'] / 1e6:,.0f}",
        f"{row['size_bytes'] / 2**20:.2f}",
        f"{row['ms']:.2f}",
        f"{row['ratio']:.3f} ({row['ratio_p10']:.3f} to {row['ratio_p90']:.3f})",
    ]


def page_of(results: Measurements) -> Page:
    return Page(
        "Latency of decomposed networks",
        f"Images of {SIDE}x{SIDE}, {CLASSES} classes, float32 files, one thread, a net's files "
        "in turns. Ratios are to the net as it is: median over rounds, with the 10th and 90th "
        "percentile.",
        ["net", "technique", "parameters", "MACs, M", "file, MiB", "latency, ms", "ratio"],
        [
            ([name, title, *cells(results[key])], [key])
            for name in NETS
            for title, key in keys(name).items()
            if key in results
        ],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--runs", type=int, default=60, help="timed inferences of each file")
    flags = flags.parse_args()
    steps: list[Step] = [
        (tuple(keys(name).values()), functools.partial(measured, name, flags.runs)) for name in NETS
    ]
    conduct(flags, steps, page_of, settings={"runs": flags.runs})


if __name__ == "__main__":
    main()
