"""What compact networks save: VGG-16 against its depthwise separable form, and MobileNet.

Run:

    python experiments/compact_speed.py --output=experiments/results/compact_speed

About a minute on an idle machine, which it takes: beside other programs VGG-16, whose weights don't
fit in a cache, loses more time than the compact networks do. Networks with new weights, exported as
float32 files and timed in turns on one thread; training steps are timed in turns as well, each
round beginning with another network.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from page import command, page

from tfcompress import benchmark, graph, models
from tfcompress.config import Training
from tfcompress.export import export
from tfcompress.training.evaluate import jit_compile
from tfcompress.training.fit import make_optimizer

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


def spread(ratio: np.ndarray) -> str:
    """Median, with the 10th and 90th percentile."""
    low, middle, high = np.percentile(ratio, (10, 50, 90))
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the table")
    output = parser.parse_args().output
    busy = os.getloadavg()[0]
    nets = {name: build(name) for name in NETWORKS}
    measured = files(nets)
    times = step_ms(nets)
    first = times[NETWORKS[0]]
    rows = [
        [
            name,
            f"{graph.parameters(model):,}",
            f"{graph.macs(model):,}",
            f"{measured[name].size_bytes / 2**20:.2f}",
            f"{measured[name].latency_ms_p50:.3f}",
            f"{measured[name].ratio:.3f} ({measured[name].ratio_p10:.3f} to "
            f"{measured[name].ratio_p90:.3f})",
            f"{np.median(times[name]):.0f}",
            spread(times[name] / first),
        ]
        for name, model in nets.items()
    ]
    headers = [
        "network",
        "parameters",
        "MACs",
        "file, MiB",
        "latency, ms",
        "latency ratio",
        "train step, ms",
        "train step ratio",
    ]
    page(
        output,
        "Compact networks against VGG-16",
        command(),
        f"Images of 32x32x3, 10 classes. Files: float32, one thread, {RUNS} runs or more each, in "
        f"turns. Training: batch {BATCH}, {ROUNDS} rounds of one step each, in turns. Ratios are "
        f"to {NETWORKS[0]}: median over rounds, with the 10th and 90th percentile. Other programs' "
        f"load at the start: {busy:.1f}.",
        headers,
        rows,
    )


if __name__ == "__main__":
    main()
