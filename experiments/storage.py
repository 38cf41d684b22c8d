"""Size and latency of every storage: stacks of convolutions, dense layers, whole networks.

Run:

    .venv/bin/python experiments/storage.py --output=build/storage

About an hour on a quiet machine; `--only=conv` takes the cases whose names begin so. Each file is
kept in `runs.json` of the output folder once it is measured, and not measured again without
`--again`.

Nets and layers have random weights, which neither size nor speed depends on. Each file is timed in
turns with the float32 file of the same stock layers, by itself: with more large files in turns,
they push one another out of the caches. `error` is the rms of the file's outputs against the
float32 file of the same layers, by their rms: what the storage costs, not what the technique does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import layers
from measurements import Measurements, conduct, parser, single
from page import Page

import tfcompress
from tfcompress import models
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D, BinaryDense, HashedDense
from tfcompress.runtime import LiteModel

CONVS = ((56, 64), (28, 128), (14, 256), (7, 512))
DENSE = (512, 1024, 4096)
FLOATS = ("float16", "int8", "dynamic", "int4")
BINARY = ("int8", "int4", "int2", "1bit")
WEIGHTS = ("dynamic", "int2", "1bit")
IMAGES = 16

# What a case is made by: float, binary weights and inputs, binary weights, hashed.
Build = Callable[[str], keras.Model]


def convolutions(side: int, channels: int) -> Build:
    """Four 3x3 convolutions of equal size."""

    def build(kind: str) -> keras.Model:
        x = inputs = keras.Input((side, side, channels))
        for _ in range(4):
            if kind == "float":
                x = layers.Conv2D(channels, 3, padding="same")(x)
            else:
                x = BinaryConv2D(channels, 3, padding="same", binarize_inputs=kind == "xnor")(x)
        return keras.Model(inputs, x)

    return build


def dense(units: int) -> Build:
    """One square dense layer."""

    def build(kind: str) -> keras.Model:
        inputs = keras.Input((units,))
        layer = {
            "float": lambda: layers.Dense(units),
            "xnor": lambda: BinaryDense(units),
            "bwn": lambda: BinaryDense(units, binarize_inputs=False),
            "permutation": lambda: HashedDense(units),
            "elementwise": lambda: HashedDense(units, hashing="elementwise"),
        }[kind]()
        return keras.Model(inputs, layer(inputs))

    return build


def network(name: str, shape: tuple[int, ...], classes: int, **options: object) -> Build:
    """One of our builders, transformed by a technique."""

    def build(kind: str) -> keras.Model:
        net = models.build(name, shape, classes, **options)
        if kind == "float":
            return net
        if kind in ("permutation", "elementwise"):
            return tfcompress.transform(net, "hashed", hashing=kind)
        return tfcompress.transform(net, kind)

    return build


ALL = {"float": FLOATS, "xnor": BINARY, "bwn": WEIGHTS}
HASHED = {
    "permutation": ("float32", "float16", "dynamic"),
    "elementwise": ("float32", "float16", "dynamic"),
}
SMALL, LARGE = (32, 32, 3), (224, 224, 3)
CASES: dict[str, tuple[Build, dict[str, tuple[str, ...]]]] = {
    **{f"conv {side}x{side}x{n}": (convolutions(side, n), ALL) for side, n in CONVS},
    **{f"dense {n}": (dense(n), ALL | HASHED) for n in DENSE},
    "vgg_small": (network("vgg_small", SMALL, 10), ALL),
    "vgg_small, width 4": (network("vgg_small", SMALL, 10, width=4), ALL),
    "vgg16": (network("vgg16", SMALL, 10), ALL),
    "vgg_s": (network("vgg_s", LARGE, 8), ALL | {"permutation": ("float32", "dynamic")}),
    "compact_vgg16": (network("compact_vgg16", SMALL, 10), {"float": FLOATS}),
    "squeezenet": (network("squeezenet", LARGE, 1000), {"float": FLOATS}),
    "mobilenet_v1": (network("mobilenet_v1", LARGE, 1000), {"float": FLOATS}),
}


def unlike(net: keras.Model) -> keras.Model:
    """Gives BNs and biases values as after training.

    With their first ones, many sums before a sign are 0 but for rounding.
    """
    rng = np.random.default_rng(0)
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            some = [0.3 * rng.standard_normal(gamma.shape) for _ in range(4)]
            layer.set_weights(
                [
                    gamma * np.exp(some[0]),
                    beta + some[1],
                    mean + some[2],
                    variance * np.exp(some[3]),
                ]
            )
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(0.1 * rng.standard_normal(layer.bias.shape))
    return net


def measured(case: str, kind: str, storage: str, runs: int) -> dict[str, object]:
    """One file beside the float32 one."""
    build = CASES[case][0]
    with tempfile.TemporaryDirectory() as folder:
        base, same, path = (f"{folder}/{name}.tflite" for name in ("base", "same", "file"))
        keras.utils.set_random_seed(0)
        tfcompress.export(unlike(build("float")), base)
        keras.utils.set_random_seed(0)
        net = unlike(build(kind))
        images = np.random.default_rng(0).normal(size=(IMAGES, *net.input_shape[1:]))
        images = images.astype("float32")
        if kind == "float":
            same = base
        else:
            tfcompress.export(net, same)
        try:
            # Without images to compare on: an untrained net's labels are a matter of rounding.
            done = tfcompress.export(net, path, storage=storage, calibration=images)
        except InputError as error:
            return {"refused": str(error)}
        first, file = tfcompress.benchmark([base, path], runs=runs)
        right, got = (LiteModel(name).predict(images) for name in (same, path))
    return {
        "size_bytes": file.size_bytes,
        "size": first.size_bytes / file.size_bytes,
        "float_ms": first.latency_ms_p50,
        "ms": file.latency_ms_p50,
        "ratio": file.ratio,
        "ratio_p10": file.ratio_p10,
        "ratio_p90": file.ratio_p90,
        "peak_memory_bytes": file.peak_memory_bytes,
        "float_peak_memory_bytes": first.peak_memory_bytes,
        "error": float(np.sqrt(np.mean((got - right) ** 2) / np.mean(right**2))),
        "kept": len(done.kept),
    }


def row(case: str, kind: str, storage: str, found: dict[str, float]) -> list[str]:
    if "refused" in found:
        return [case, kind, storage, "refused", *[""] * 5]
    return [
        case,
        kind,
        storage,
        f"{found['size_bytes'] / 1024:,.1f}",
        f"{found['size']:.2f}",
        f"{found['ms']:.3f}",
        f"{found['ratio']:.3f} ({found['ratio_p10']:.3f} to {found['ratio_p90']:.3f})",
        f"{found['peak_memory_bytes'] / 2**20:.0f}",
        f"{found['error']:.1e}" + (f"; {found['kept']} layers wider" if found["kept"] else ""),
    ]


def page_of(results: Measurements) -> Page:
    rows = [
        (row(case, kind, storage, results[key]), [key])
        for key, case, kind, storage in keys()
        if key in results
    ]
    return Page(
        "Storages: size, latency, memory, error",
        "One thread, batch 1. `smaller` is the float32 file's bytes by this file's; the latency "
        "ratio is this file's by the float32 file's, median over rounds of the two in turns, with "
        "the 10th and 90th percentile; memory is the peak of a fresh process that loads the file "
        "and runs it once (35 MiB without a file). Layers that a storage leaves at more bits than "
        "it could give are counted behind the error.",
        ["net", "kind", "storage", "KiB", "smaller", "ms", "latency ratio", "MiB", "error"],
        rows,
    )


def keys() -> Iterator[tuple[str, str, str, str]]:
    """Yields each row's key, case, kind and storage."""
    for case, (_, kinds) in CASES.items():
        for kind, storages in kinds.items():
            for storage in storages:
                yield f"{case}, {kind}, {storage}", case, kind, storage


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--only", default="", help="cases whose names begin so")
    flags.add_argument("--runs", type=int, default=100, help="timed inferences of each file")
    flags = flags.parse_args()
    steps = [
        single(key, measured, case, kind, storage, flags.runs)
        for key, case, kind, storage in keys()
        if case.startswith(flags.only)
    ]
    conduct(flags, steps, page_of)


if __name__ == "__main__":
    main()
