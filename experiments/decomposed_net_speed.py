"""Latency of whole networks with decomposed layers beside the originals, as files.

Run:

    python experiments/decomposed_net_speed.py --output=experiments/results/decomposed_net_speed

About three minutes. The nets have new weights, which speed doesn't depend on; CP's least squares
are cut short for the same reason. SqueezeNet-1.1 has its last two 3x3 convolutions at rank 192, as
Rassadin and Savchenko 2017 had, whose net became 1.5 times slower; VGG-S has every convolution but
the first at a quarter of its multiply-accumulates.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from page import command, page

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the table")
    parser.add_argument("--runs", type=int, default=60, help="timed inferences of each file")
    flags = parser.parse_args()
    images = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype("float32")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys(case[0] for case in CASES):
            keras.utils.set_random_seed(0)
            net = models.build(name, (SIDE, SIDE, 3), CLASSES)
            nets, titles = [net], ["as it is"]
            for _, technique, options in (case for case in CASES if case[0] == name):
                nets.append(tfcompress.transform(net, technique, **options))
                titles.append(f"{technique}: {words(options)}")
            paths = [f"{folder}/{name}_{number}.tflite" for number in range(len(nets))]
            for each, path in zip(nets, paths, strict=True):
                tfcompress.export(each, path, representative=images)
            files = tfcompress.benchmark(paths, runs=flags.runs)
            for each, title, file in zip(nets, titles, files, strict=True):
                rows.append(
                    [
                        name,
                        title,
                        f"{graph.parameters(each):,}",
                        f"{graph.macs(each) / 1e6:,.0f}",
                        f"{file.size_bytes / 2**20:.2f}",
                        f"{file.latency_ms_p50:.2f}",
                        f"{file.ratio:.3f} ({file.ratio_p10:.3f} to {file.ratio_p90:.3f})",
                    ]
                )
                print(*rows[-1], flush=True)
    page(
        flags.output,
        "Latency of decomposed networks",
        command(),
        f"Images of {SIDE}x{SIDE}, {CLASSES} classes, float32 files, one thread, a net's files "
        "in turns. Ratios are to the net as it is: median over rounds, with the 10th and 90th "
        "percentile.",
        ["net", "technique", "parameters", "MACs, M", "file, MiB", "latency, ms", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
