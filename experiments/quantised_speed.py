"""Size and latency of quantised files beside the float ones: our builders, in pairs.

Run:

    python experiments/quantised_speed.py --output=experiments/results/quantised_speed

About five minutes. The nets have new weights, which neither size nor speed depends on. Each
quantised file is timed in turns with the float file alone: with more large files in turns, they
push one another out of the caches.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
from page import command, page

import tfcompress
from tfcompress import models

CASES = (
    ("vgg16", (32, 32, 3), 10),
    ("compact_vgg16", (32, 32, 3), 10),
    ("vgg_small", (32, 32, 3), 10),
    ("squeezenet", (224, 224, 3), 1000),
    ("mobilenet_v1", (224, 224, 3), 1000),
)
STORAGES = ("int8", "float16", "dynamic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the table")
    parser.add_argument("--runs", type=int, default=100, help="timed inferences of each file")
    flags = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, shape, classes in CASES:
            keras.utils.set_random_seed(0)
            net = models.build(name, shape, classes)
            images = np.random.default_rng(0).normal(size=(16, *shape)).astype("float32")
            base = f"{folder}/{name}.tflite"
            tfcompress.export(net, base)
            for storage in STORAGES:
                path = f"{folder}/{name}_{storage}.tflite"
                # Without images to compare on: an untrained net's labels are a matter of rounding.
                tfcompress.export(net, path, storage=storage, calibration=images)
                first, file = tfcompress.benchmark([base, path], runs=flags.runs)
                rows.append(
                    [
                        name,
                        storage,
                        f"{file.size_bytes / 1024:,.0f}",
                        f"{file.size_bytes / first.size_bytes:.3f}",
                        f"{first.latency_ms_p50:.2f}",
                        f"{file.latency_ms_p50:.2f}",
                        f"{file.ratio:.3f} ({file.ratio_p10:.3f} to {file.ratio_p90:.3f})",
                    ]
                )
                print(*rows[-1], flush=True)
    page(
        flags.output,
        "Size and latency of quantised files",
        command(),
        "One thread, each file in turns with the float32 file. Ratios are to that: of latency the "
        "median over rounds, with the 10th and 90th percentile.",
        ["net", "storage", "KiB", "size ratio", "float32, ms", "ms", "latency ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
