"""What compact networks save: VGG-16 against its depthwise separable form, and MobileNet.

Run:

    .venv/bin/python experiments/compact_speed.py --output=build/compact_speed

About a minute on an idle machine, which it takes: beside other programs VGG-16, whose weights don't
fit in a cache, loses more time than the compact networks do. Networks with new weights, exported as
float32 files and timed in turns on one thread; training steps are timed in turns as well, each
round beginning with another network.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from measurements import Measurements, Row, conduct, parser
from page import Page

from tfcompress import benchmark, graph, models
from tfcompress.config import Training
from tfcompress.export import export
from tfcompress.training.evaluate import jit_compile
from tfcompress.training.optimizers import make_optimizer

BATCH = 64
ROUNDS = 8
RUNS = 400
SIZE = (32, 32, 3)
# The first is what the others' ratios refer to.
NETWORKS = ("vgg16", "compact_vgg16", "mobilenet_v1")


def build(name: str) -> keras.Model:
    """A network for CIFAR-10's shape, compiled."""
    keras.utils.set_random_seed(0)
    model = models.build(name, SIZE, 10)
    model.compile(
        make_optimizer(Training(), ROUNDS),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile(),
    )
    return model


def step_ms(nets: dict[str, keras.Model]) -> dict[str, np.ndarray]:
    """Milliseconds a step, by network and round."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, *SIZE)).astype("float32")
    labels = rng.integers(0, 10, BATCH)
    names = list(nets)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-2, ROUNDS):  # Two rounds to warm up.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            nets[name].train_on_batch(images, labels)
            if number >= 0:
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: np.array(values) for name, values in times.items()}


def files(nets: dict[str, keras.Model]) -> dict[str, benchmark.FileBenchmark]:
    """The exported files, measured in turns."""
    images = np.random.default_rng(1).normal(size=(8, *SIZE)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, model in nets.items():
            paths.append(str(Path(folder) / f"{name}.tflite"))
            export(model, paths[-1], representative=images)
        return dict(zip(nets, benchmark(paths, runs=RUNS), strict=True))


def measured() -> dict[str, Row]:
    """Measures all networks in turns: their files, and training steps."""
    busy = os.getloadavg()[0]
    nets = {name: build(name) for name in NETWORKS}
    benchmarks = files(nets)
    times = step_ms(nets)
    first = times[NETWORKS[0]]
    return {
        name: {
            "parameters": graph.parameters(model),
            "macs": graph.macs(model),
            "size_bytes": benchmarks[name].size_bytes,
            "ms": benchmarks[name].latency_ms_p50,
            "ratio": [getattr(benchmarks[name], f"ratio{part}") for part in ("", "_p10", "_p90")],
            "step_ms": float(np.median(times[name])),
            "step_ratio": np.percentile(times[name] / first, (50, 10, 90)).tolist(),
            "load": busy,
        }
        for name, model in nets.items()
    }


def spread(values: list[float]) -> str:
    """Returns a median with its 10th and 90th percentile."""
    middle, low, high = values
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def cells(row: Row) -> list[str]:
    """Returns a row's part of the table that was measured."""
    return [
        f"{row['parameters']:,}",
        f"{row['macs']:,}",
        f"{row['size_bytes'] / 2**20:.2f}",
        f"{row['ms']:.3f}",
        spread(row["ratio"]),
        f"{row['step_ms']:.0f}",
        spread(row["step_ratio"]),
    ]


def page_of(results: Measurements) -> Page:
    return Page(
        "Compact networks against VGG-16",
        f"Images of 32x32x3, 10 classes. Files: float32, one thread, {RUNS} runs or more each, in "
        f"turns. Training: batch {BATCH}, {ROUNDS} rounds of one step each, in turns. Ratios are "
        f"to {NETWORKS[0]}: median over rounds, with the 10th and 90th percentile. Other programs' "
        f"load at the start: {results[NETWORKS[0]]['load']:.1f}.",
        [
            "network",
            "parameters",
            "MACs",
            "file, MiB",
            "latency, ms",
            "latency ratio",
            "train step, ms",
            "train step ratio",
        ],
        [([name, *cells(results[name])], [name]) for name in NETWORKS],
    )


def main() -> None:
    conduct(parser(__doc__).parse_args(), [(NETWORKS, measured)], page_of)


if __name__ == "__main__":
    main()
