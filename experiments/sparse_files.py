"""Files without their zeros: bytes, latency and load time, by the share of zeros.

Run:

    .venv/bin/python experiments/sparse_files.py --output=build/sparse

About three minutes on two cores. Four 3x3 convolutions and a dense layer have random weights, of
which the smallest are zero, one by one or in blocks of four neighbouring inputs of the dense layer.
Each net is written as float32 and as `sparse`, and the two are timed in turns in one process.
`after gzip` compares the two files once more as packed by gzip, which finds zeros by itself. The
file's outputs are compared with the float32 file's; the rms of the difference is given by that of
the outputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import keras
import numpy as np
from keras import layers
from measurements import Measurements, conduct, parser, single
from page import Page

import tfcompress
from tfcompress.errors import InputError
from tfcompress.runtime import LiteModel

SHARES = (0.5, 0.7, 0.8, 0.9, 0.95)


def convolutions(side: int, channels: int) -> keras.Model:
    x = inputs = keras.Input((side, side, channels))
    for _ in range(4):
        x = layers.Conv2D(channels, 3, padding="same")(x)
    return keras.Model(inputs, x)


def dense(units: int) -> keras.Model:
    inputs = keras.Input((units,))
    return keras.Model(inputs, layers.Dense(units)(inputs))


# Name: how it is made, and how many neighbouring inputs are zero together.
CASES: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "4 convs 28x28x128": (lambda: convolutions(28, 128), 1),
    "4 convs 14x14x256": (lambda: convolutions(14, 256), 1),
    "dense 4096": (lambda: dense(4096), 1),
    "dense 4096, blocks of 4": (lambda: dense(4096), 4),
}


def prune(net: keras.Model, share: float, block: int) -> None:
    """Puts 0 into the kernels, where blocks of inputs have the smallest sums of squares."""
    for layer in net.layers:
        if layer.weights:
            kernel, *rest = layer.get_weights()
            rows = np.moveaxis(kernel, -2, -1).reshape(-1, block)
            size = np.square(rows).sum(1)
            rows[size < np.quantile(size, share)] = 0
            last = (*kernel.shape[:-2], kernel.shape[-1], kernel.shape[-2])
            layer.set_weights([np.moveaxis(rows.reshape(last), -1, -2), *rest])


def measured(case: str, share: float, runs: int) -> dict[str, object]:
    build, block = CASES[case]
    keras.utils.set_random_seed(0)
    net = build()
    prune(net, share, block)
    images = np.random.default_rng(0).normal(size=(4, *net.input_shape[1:])).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        base, path = (f"{folder}/{name}.tflite" for name in ("float32", "sparse"))
        tfcompress.export(net, base)
        try:
            tfcompress.export(net, path, storage="sparse")
        except InputError as error:
            return {"refused": str(error)}
        first, file = tfcompress.benchmark([base, path], runs=runs)
        right, got = (LiteModel(name).predict(images) for name in (base, path))
    return {
        "size": first.size_bytes / file.size_bytes,
        "gzip": first.gzip_bytes / file.gzip_bytes,
        "ratio": file.ratio,
        "ratio_p10": file.ratio_p10,
        "ratio_p90": file.ratio_p90,
        "load_ms": file.load_ms,
        "float_load_ms": first.load_ms,
        "peak_memory_bytes": file.peak_memory_bytes,
        "float_peak_memory_bytes": first.peak_memory_bytes,
        "error": float(np.sqrt(np.mean((got - right) ** 2) / np.mean(right**2))),
    }


def row(case: str, share: float, found: dict[str, float]) -> list[str]:
    start = [case, f"{share:.0%}"]
    if "refused" in found:
        return [*start, "refused: it would be larger", *[""] * 5]
    return [
        *start,
        f"{found['size']:.2f}",
        f"{found['gzip']:.2f}",
        f"{found['ratio']:.3f} ({found['ratio_p10']:.3f} to {found['ratio_p90']:.3f})",
        f"{found['load_ms']:.1f} ({found['float_load_ms']:.1f})",
        f"{found['peak_memory_bytes'] / 2**20:.0f} "
        f"({found['float_peak_memory_bytes'] / 2**20:.0f})",
        f"{found['error']:.0e}",
    ]


def page_of(results: Measurements) -> Page:
    return Page(
        "Storage `sparse`: zeros that aren't in the file",
        "One thread, batch 1. `smaller` is the float32 file's bytes by this file's, of the same "
        "weights; the latency ratio is this file's by the float32 file's, median over rounds of "
        "the two in turns, with the 10th and 90th percentile; in brackets behind load time and "
        "peak memory are the float32 file's.",
        ["net", "zeros", "smaller", "after gzip", "latency ratio", "load, ms", "MiB", "error"],
        [
            (row(case, share, results[f"{case}, {share}"]), [f"{case}, {share}"])
            for case in CASES
            for share in SHARES
            if f"{case}, {share}" in results
        ],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--runs", type=int, default=100, help="timed inferences of each file")
    flags = flags.parse_args()
    steps = [
        single(f"{case}, {share}", measured, case, share, flags.runs)
        for case in CASES
        for share in SHARES
    ]
    conduct(flags, steps, page_of, settings={"runs": flags.runs})


if __name__ == "__main__":
    main()
