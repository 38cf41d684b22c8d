"""How fast one decomposed convolution is as a file, against the convolution itself.

Run:

    .venv/bin/python experiments/decomposed_layer_speed.py --output=build/decomposed_layer_speed

About two minutes. For each size a 3x3 convolution and its forms with 2 and 4 times fewer
multiply-accumulates are exported and timed in turns in one process, on one thread. The weights are
random: speed doesn't depend on them.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import keras
from measurements import Measurements, Row, Step, conduct, parser
from page import Page

import tfcompress
from tfcompress import graph
from tfcompress.benchmark import measure
from tfcompress.layers import CPConv2D, LowRankConv2D, SpatialSeparableConv2D, TuckerConv2D
from tfcompress.ops import ranks

# Channels, and height and width.
SIZES = ((64, 32), (128, 16), (256, 8), (512, 14))
FORMS = {
    "CP": CPConv2D,
    "spatial": SpatialSeparableConv2D,
    "Tucker": TuckerConv2D,
    "SVD": LowRankConv2D,
}
SAVINGS = (2, 4)
LANES = 8


def wrap(layer: keras.layers.Layer, channels: int, size: int) -> keras.Model:
    """A network of the one layer."""
    inputs = keras.Input((size, size, channels))
    return keras.Model(inputs, layer(inputs))


def decomposed(name: str, channels: int, size: int, fewer: int) -> keras.Model:
    """The form with at least so many times fewer multiply-accumulates, its rank a multiple of 8."""
    shape = (None, size, size, channels)
    limit = size * size * 9 * channels**2 / fewer

    def layer(rank: int) -> keras.layers.Layer:
        return FORMS[name](channels, 3, rank=rank, padding="same")

    rank = ranks.by_cost(lambda n: layer(n).macs(shape, shape), limit, 9 * channels)
    return wrap(layer(rank - rank % LANES), channels, size)


def keys(channels: int, size: int, fewer: int) -> dict[str, str]:
    """Returns the key of each form's row."""
    return {name: f"{channels} at {size}x{size}, {fewer}x, {name}" for name in FORMS}


def measured(channels: int, size: int, fewer: int) -> dict[str, Row]:
    """Measures a saving's forms beside the convolution."""
    keras.utils.set_random_seed(0)
    full = wrap(keras.layers.Conv2D(channels, 3, padding="same"), channels, size)
    models = [full, *(decomposed(name, channels, size, fewer) for name in FORMS)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.tflite" for number in range(len(models))]
        for model, path in zip(models, paths, strict=True):
            tfcompress.export(model, path)
        base, *files = measure(paths, runs=400, min_seconds=5.0)
    rows = {}
    for key, model, file in zip(
        keys(channels, size, fewer).values(), models[1:], files, strict=True
    ):
        rank = model.layers[-1].rank
        rows[key] = {
            "rank": "x".join(map(str, rank)) if isinstance(rank, tuple) else str(rank),
            "macs_ratio": graph.macs(model) / graph.macs(full),
            "conv_ms": base.latency_ms_p50,
            "ms": file.latency_ms_p50,
            "ratio": file.ratio,
            "ratio_p10": file.ratio_p10,
            "ratio_p90": file.ratio_p90,
            "size_ratio": file.size_bytes / base.size_bytes,
        }
    return rows


def cells(row: Row) -> list[str]:
    """Returns a row's part of the table that was measured."""
    return [
        row["rank"],
        f"{row['macs_ratio']:.3f}",
        f"{row['conv_ms']:.3f}",
        f"{row['ms']:.3f}",
        f"{row['ratio']:.3f}",
        f"{row['ratio_p10']:.3f} to {row['ratio_p90']:.3f}",
        f"{row['size_ratio']:.3f}",
    ]


CASES = [(channels, size, fewer) for channels, size in SIZES for fewer in SAVINGS]


def page_of(results: Measurements) -> Page:
    headers = ["channels", "fewer MACs", "form", "rank", "MACs ratio", "Conv2D, ms", "form, ms",
               "latency ratio", "10th to 90th percentile", "size ratio"]  # fmt: skip
    rows = [
        ([f"{channels} at {size}x{size}", f"{fewer}x", name, *cells(results[key])], [key])
        for channels, size, fewer in CASES
        for name, key in keys(channels, size, fewer).items()
        if key in results
    ]
    return Page(
        "Latency of decomposed convolutions",
        "A 3x3 convolution with as many filters as channels, padding same, as a float32 file, "
        "against its forms, timed in turns on one thread. Ratios are form by Conv2D, the median "
        "over rounds; ranks are multiples of 8.",
        headers,
        rows,
    )


def main() -> None:
    steps: list[Step] = [
        (tuple(keys(*case).values()), functools.partial(measured, *case)) for case in CASES
    ]
    conduct(parser(__doc__).parse_args(), steps, page_of)


if __name__ == "__main__":
    main()
