"""How fast one decomposed convolution is as a file, against the convolution itself.

Run:

    python experiments/decomposed_layer_speed.py \
        --output=experiments/results/decomposed_layer_speed

About two minutes. For each size a 3x3 convolution and its forms with 2 and 4 times fewer
multiply-accumulates are exported and timed in turns in one process, on one thread. The weights are
random: speed doesn't depend on them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import keras
from page import command, page

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


def rows(folder: Path) -> list[list[str]]:
    """One row for each size, saving and form; a saving's forms are timed beside the convolution."""
    keras.utils.set_random_seed(0)
    table = []
    for channels, size in SIZES:
        full = wrap(keras.layers.Conv2D(channels, 3, padding="same"), channels, size)
        for fewer in SAVINGS:
            models = [full, *(decomposed(name, channels, size, fewer) for name in FORMS)]
            paths = [folder / f"{number}.tflite" for number in range(len(models))]
            for model, path in zip(models, paths, strict=True):
                tfcompress.export(model, path)
            base, *files = measure(paths, runs=400, min_seconds=5.0)
            for name, model, file in zip(FORMS, models[1:], files, strict=True):
                rank = model.layers[-1].rank
                row = [
                    f"{channels} at {size}x{size}",
                    f"{fewer}x",
                    name,
                    "x".join(map(str, rank)) if isinstance(rank, tuple) else str(rank),
                    f"{graph.macs(model) / graph.macs(full):.3f}",
                    f"{base.latency_ms_p50:.3f}",
                    f"{file.latency_ms_p50:.3f}",
                    f"{file.ratio:.3f}",
                    f"{file.ratio_p10:.3f} to {file.ratio_p90:.3f}",
                    f"{file.size_bytes / base.size_bytes:.3f}",
                ]
                table.append(row)
                print(*row, flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the table")
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory() as folder:
        table = rows(Path(folder))
    headers = ["channels", "fewer MACs", "form", "rank", "MACs ratio", "Conv2D, ms", "form, ms",
               "latency ratio", "10th to 90th percentile", "size ratio"]  # fmt: skip
    page(
        output,
        "Latency of decomposed convolutions",
        command(),
        "A 3x3 convolution with as many filters as channels, padding same, as a float32 file, "
        "against its forms, timed in turns on one thread. Ratios are form by Conv2D, the median "
        "over rounds; ranks are multiples of 8.",
        headers,
        table,
    )


if __name__ == "__main__":
    main()
