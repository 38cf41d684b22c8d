"""HashedDense against Dense: file size, latency of the file, and cost of a training step.

Run:

    python experiments/hashed_dense_speed.py --output=experiments/results/hashed_dense_speed

About two minutes and 4 GiB of memory. Files are measured interleaved, one thread, batch 1.
Training steps are interleaved, too: every round times a step of each layer on the same batch,
beginning with another one each time; the ratio is the median over rounds. SGD, mean squared error,
a network of this layer alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from page import command, page

import tfcompress
from tfcompress.layers import HashedDense
from tfcompress.training.evaluate import jit_compile

WIDTH = 4096
TIMES = 8
BATCHES = (128, 20)
WARM_UP = 2
LAYERS = ("Dense", "permutation", "elementwise")


def network(layer: str, width: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((width,))
    if layer == "Dense":
        outputs = keras.layers.Dense(width)(inputs)
    else:
        outputs = HashedDense(width, compression_ratio=1 / TIMES, hashing=layer)(inputs)
    model = keras.Model(inputs, outputs, name=layer)
    model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=jit_compile())
    return model


def step_ms(nets: list[keras.Model], batch: int, width: int, rounds: int) -> np.ndarray:
    """Milliseconds a step: (networks, rounds)."""
    x = np.random.default_rng(0).normal(size=(batch, width)).astype("float32")
    times = np.zeros((len(nets), rounds))
    for number in range(-WARM_UP, rounds):
        for index in np.roll(np.arange(len(nets)), number):
            started = time.perf_counter()
            nets[index].train_on_batch(x, x)
            if number >= 0:
                times[index, number] = (time.perf_counter() - started) * 1000
    return times


def ratio_text(times: np.ndarray, reference: np.ndarray) -> str:
    low, middle, high = np.percentile(times / reference, (10, 50, 90))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the table")
    parser.add_argument("--width", type=int, default=WIDTH, help="inputs and units")
    parser.add_argument("--rounds", type=int, default=20, help="of training steps")
    flags = parser.parse_args()
    nets = [network(layer, flags.width) for layer in LAYERS]
    with tempfile.TemporaryDirectory() as folder:
        x = np.random.default_rng(1).normal(size=(5, flags.width)).astype("float32")
        paths = [f"{folder}/{net.name}.tflite" for net in nets]
        for net, path in zip(nets, paths, strict=True):
            tfcompress.export(net, path, representative=x)
        files = tfcompress.benchmark(paths)
    steps = {batch: step_ms(nets, batch, flags.width, flags.rounds) for batch in BATCHES}
    rows = [
        [
            layer,
            f"{nets[index].count_params():,}",
            f"{file.size_bytes / 2**20:.2f}",
            f"{files[0].size_bytes / file.size_bytes:.2f}",
            f"{file.latency_ms_p50:.2f}",
            f"{file.ratio:.2f} ({file.ratio_p10:.2f} to {file.ratio_p90:.2f})",
            *(ratio_text(steps[batch][index], steps[batch][0]) for batch in BATCHES),
        ]
        for index, (layer, file) in enumerate(zip(LAYERS, files, strict=True))
    ]
    headers = [
        "layer",
        "parameters",
        "file, MiB",
        "times smaller",
        "latency, ms",
        "latency ratio",
        *(f"step ratio, batch {batch}" for batch in BATCHES),
    ]
    page(
        flags.output,
        f"HashedDense {flags.width}x{flags.width} at 1/{TIMES} against Dense",
        command(),
        "Medians, and the 10th to 90th percentile of rounds in brackets; latency on one thread, "
        f"batch 1; {flags.rounds} rounds of training steps on all cores. A Dense step takes "
        + ", ".join(f"{np.median(steps[b][0]):.0f} ms at batch {b}" for b in BATCHES)
        + ".",
        headers,
        rows,
    )


if __name__ == "__main__":
    main()
