"""How fast one perforated convolution is as a file, against the whole convolution.

Run:

    .venv/bin/python experiments/perforated_layer_speed.py --output=build/perforated_layer_speed

About two minutes. For each size a 3x3 convolution with ReLU and its perforated forms are exported
and timed in turns in one process, on one thread. The weights are random: speed doesn't depend on
them.
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
from tfcompress.layers import PerforatedConv2D

# Channels, and height and width.
SIZES = ((32, 32), (64, 56), (256, 14))
# Mask and rate.
FORMS = (
    ("grid", 0.5),
    ("rows", 0.5),
    ("columns", 0.5),
    ("grid", 0.75),
    ("uniform", 0.75),
    ("grid", 8 / 9),
)


def wrap(layer: keras.layers.Layer, channels: int, size: int) -> keras.Model:
    """A network of the one layer and ReLU, for one image."""
    inputs = keras.Input((size, size, channels), batch_size=1)
    return keras.Model(inputs, keras.layers.ReLU()(layer(inputs)))


def keys(channels: int, size: int) -> list[str]:
    """Returns the key of each form's row."""
    return [f"{channels} at {size}x{size}, {mask}, {rate:.2f}" for mask, rate in FORMS]


def measured(channels: int, size: int) -> dict[str, Row]:
    """Measures a size's forms beside the whole convolution."""
    keras.utils.set_random_seed(0)
    full = wrap(keras.layers.Conv2D(channels, 3, padding="same"), channels, size)
    forms = [
        wrap(PerforatedConv2D(channels, 3, rate, padding="same", mask=mask), channels, size)
        for mask, rate in FORMS
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.tflite" for number in range(1 + len(forms))]
        for model, path in zip([full, *forms], paths, strict=True):
            tfcompress.export(model, path)
        base, *files = measure(paths, runs=400, min_seconds=5.0)
    return {
        key: {
            "macs_ratio": graph.macs(model) / graph.macs(full),
            "conv_ms": base.latency_ms_p50,
            "ms": file.latency_ms_p50,
            "ratio": file.ratio,
            "ratio_p10": file.ratio_p10,
            "ratio_p90": file.ratio_p90,
        }
        for key, model, file in zip(keys(channels, size), forms, files, strict=True)
    }


def cells(row: Row) -> list[str]:
    """Returns a row's part of the table that was measured."""
    return [
        f"{row['macs_ratio']:.3f}",
        f"{row['ratio']:.2f}",
        f"{row['ratio_p10']:.2f} to {row['ratio_p90']:.2f}",
    ]


def page_of(results: Measurements) -> Page:
    """Returns the page: a table of all forms."""
    headers = ["channels", "mask", "rate", "MACs ratio", "latency ratio", "10th to 90th percentile"]
    rows = [
        ([f"{channels} at {size}x{size}", mask, f"{rate:.2f}", *cells(results[key])], [key])
        for channels, size in SIZES
        for (mask, rate), key in zip(FORMS, keys(channels, size), strict=True)
        if key in results
    ]
    return Page(
        "Latency of perforated convolutions",
        "A 3x3 convolution with as many filters as channels, padding same, and ReLU, as a float32 "
        "file, against its perforated forms, timed in turns on one thread. Ratios are form by "
        "Conv2D, the median over rounds.",
        headers,
        rows,
    )


def main() -> None:
    """Measures what is asked for."""
    steps: list[Step] = [(tuple(keys(*size)), functools.partial(measured, *size)) for size in SIZES]
    conduct(parser(__doc__).parse_args(), steps, page_of)


if __name__ == "__main__":
    main()
