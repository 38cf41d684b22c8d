"""HashedDense against Dense: file size, latency of the file, and cost of a training step.

Run:

    .venv/bin/python experiments/hashed_dense_speed.py --output=build/hashed_dense_speed

About two minutes and 4 GiB of memory. Files are measured interleaved, one thread, batch 1.
Training steps are interleaved, too: every round times a step of each layer on the same batch,
beginning with another one each time; the ratio is the median over rounds. SGD, mean squared error,
a network of this layer alone.
"""

from __future__ import annotations

import tempfile
import time

import keras
import numpy as np
from measurements import Measurements, Row, conduct, parser
from page import Page

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


def measured(width: int, rounds: int) -> dict[str, Row]:
    """Measures all layers in turns: their files, and training steps."""
    nets = [network(layer, width) for layer in LAYERS]
    with tempfile.TemporaryDirectory() as folder:
        x = np.random.default_rng(1).normal(size=(5, width)).astype("float32")
        paths = [f"{folder}/{net.name}.tflite" for net in nets]
        for net, path in zip(nets, paths, strict=True):
            tfcompress.export(net, path, representative=x)
        files = tfcompress.benchmark(paths)
    steps = {batch: step_ms(nets, batch, width, rounds) for batch in BATCHES}
    return {
        layer: {
            "parameters": nets[index].count_params(),
            "size_bytes": file.size_bytes,
            "smaller": files[0].size_bytes / file.size_bytes,
            "ms": file.latency_ms_p50,
            "ratio": [file.ratio, file.ratio_p10, file.ratio_p90],
            "step_ms": {str(batch): float(np.median(steps[batch][index])) for batch in BATCHES},
            "step_ratio": {
                str(batch): np.percentile(
                    steps[batch][index] / steps[batch][0], (50, 10, 90)
                ).tolist()
                for batch in BATCHES
            },
        }
        for index, (layer, file) in enumerate(zip(LAYERS, files, strict=True))
    }


def spread(values: list[float]) -> str:
    """Returns a median with its percentiles."""
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def page_of(results: Measurements) -> Page:
    said = results.settings
    rows = [
        (
            [
                layer,
                f"{row['parameters']:,}",
                f"{row['size_bytes'] / 2**20:.2f}",
                f"{row['smaller']:.2f}",
                f"{row['ms']:.2f}",
                spread(row["ratio"]),
                *(spread(row["step_ratio"][str(batch)]) for batch in BATCHES),
            ],
            [layer],
        )
        for layer, row in ((layer, results[layer]) for layer in LAYERS)
    ]
    dense = results[LAYERS[0]]["step_ms"]
    return Page(
        f"HashedDense {said['width']}x{said['width']} at 1/{TIMES} against Dense",
        "Medians, and the 10th to 90th percentile of rounds in brackets; latency on one thread, "
        f"batch 1; {said['rounds']} rounds of training steps on all cores. A Dense step takes "
        + ", ".join(f"{dense[str(b)]:.0f} ms at batch {b}" for b in BATCHES)
        + ".",
        [
            "layer",
            "parameters",
            "file, MiB",
            "times smaller",
            "latency, ms",
            "latency ratio",
            *(f"step ratio, batch {batch}" for batch in BATCHES),
        ],
        rows,
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--width", type=int, default=WIDTH, help="inputs and units")
    flags.add_argument("--rounds", type=int, default=20, help="of training steps")
    flags = flags.parse_args()
    steps = [(LAYERS, lambda: measured(flags.width, flags.rounds))]
    conduct(flags, steps, page_of, settings={"width": flags.width, "rounds": flags.rounds})


if __name__ == "__main__":
    main()
