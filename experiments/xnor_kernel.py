"""Times the 1-bit kernels beside float and int8 XNNPACK, each file in turns with the others.

Run:

    .venv/bin/python experiments/xnor_kernel.py --output=build/xnor_kernel

About fifteen minutes. Four 3x3 convolutions of one size behind one another, and a dense layer: as
float32, as int8 with int8 activations, and with a bit a weight and activation; the convolutions
with activations of 2 bits, too. All files run in one process with the delegate, which leaves the
first two to XNNPACK. The weights are random, which latency doesn't depend on.

The last columns compare with the processor's own bounds, which `kernel_bound.py` measures, as often
as the net's words need them: xor, popcount and add on registers alone; and for AVX2, which has no
popcount, the lookups in memory that its kernel does instead.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import keras
import kernel_bound
import numpy as np
from measurements import Measurements, Row, Step, conduct, parser
from page import Page

import tfcompress
from tfcompress import kernels
from tfcompress.benchmark.latency import latency
from tfcompress.export import xnor_ops
from tfcompress.layers import BinaryConv2D, BinaryDense
from tfcompress.tflite.editor import edit

CONVS = ((56, 64), (28, 128), (14, 256), (7, 512))
UNITS = 4096
# Keys of a row: its speed by that of `kernel_bound.counting` and `kernel_bound.lookups`.
SHARES = ("share", "lookups")
# Each stack's size, channels, and bits of an activation.
STACKS = {f"4 convs {size}x{size}x{channels}": (size, channels, 1) for size, channels in CONVS}
STACKS |= {f"{name} of 2 bits": (size, channels, 2) for name, (size, channels, _) in STACKS.items()}
CASES = (*STACKS, f"dense {UNITS}x{UNITS}")


def keys(name: str) -> dict[str, tuple[str, int]]:
    """Returns kernel and threads of each of a net's rows."""
    runs = [(kernel, 1) for kernel in kernels.names()] + [(kernels.names()[0], 2)]
    return {f"{name}, {kernel}, {threads}": (kernel, threads) for kernel, threads in runs}


def measured(name: str, runs: int) -> dict[str, Row]:
    """Measures one net with each kernel."""
    plain, binary, words = conv_nets(*STACKS[name]) if name in STACKS else dense_nets()
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder), plain, binary)
        return {
            key: row(paths, kernel, threads, runs, words, lookups=name in STACKS)
            for key, (kernel, threads) in keys(name).items()
        }


def cells(row: Row) -> list[str]:
    """Returns a row's part of the table that was measured."""
    middle, low, high = row["ratio"]
    return [
        *(f"{row[name]:.3f}" for name in ("float_ms", "int8_ms", "ms")),
        f"{middle:.4f} ({low:.4f} to {high:.4f})",
        f"{row['to_int8']:.3f}",
        f"{row['smaller']:.1f}x",
        *("-" if row.get(share) is None else f"{row[share]:.0%}" for share in SHARES),
    ]


def page_of(results: Measurements) -> Page:
    note = (
        "Latencies are medians; ratios, to float32 and to int8 XNNPACK with as many threads, are "
        "medians over rounds, with the 10th and 90th percentile for the first. Share of counting: "
        "of what the processor does at best in xor, popcount and add on registers alone, one "
        "thread. AVX2 has no popcount, and takes two shuffles for it; with tables in memory its "
        "kernel needs fewer instructions than that, hence more than 100%: share of lookups is of "
        "what it does at best in loading and adding their rows. - is what wasn't measured: two "
        "threads, the portable kernel, rows of before these bounds."
    )
    if any("avx512" in key for key in results.rows):
        note += " Rows of avx2 are AVX2 code on a processor that has AVX-512 as well."
    return Page(
        "The 1-bit kernels",
        note,
        ["net", "kernel", "threads", "float32, ms", "int8, ms", "1 bit, ms", "to float32",
         "to int8", "size ratio", "share of counting", "share of lookups"],
        [([*key.split(", "), *cells(row)], [key]) for key, row in results.rows.items()],
    )  # fmt: skip


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--runs", type=int, default=200, help="timed inferences of each file")
    flags = flags.parse_args()
    steps: list[Step] = [
        (tuple(keys(name)), functools.partial(measured, name, flags.runs)) for name in CASES
    ]
    conduct(flags, steps, page_of, settings={"runs": flags.runs})


def conv_nets(size: int, channels: int, bits: int) -> tuple[keras.Model, keras.Model, float]:
    """Returns the float net, the binary one, and how many pairs of 32-bit words it compares."""
    nets = []
    for layer in (keras.layers.Conv2D, functools.partial(BinaryConv2D, input_bits=bits)):
        x = inputs = keras.Input((size, size, channels))
        for _ in range(4):
            x = layer(channels, 3, padding="same")(x)
        nets.append(keras.Model(inputs, x))
    return nets[0], nets[1], 4 * size**2 * 9 * channels**2 * bits / 32


def dense_nets() -> tuple[keras.Model, keras.Model, float]:
    """Returns a dense layer's nets as `conv_nets` does."""
    nets = []
    for layer in (keras.layers.Dense, BinaryDense):
        inputs = keras.Input((UNITS,))
        nets.append(keras.Model(inputs, layer(UNITS)(inputs)))
    return nets[0], nets[1], UNITS**2 / 32


def files(folder: Path, plain: keras.Model, binary: keras.Model) -> list[str]:
    """Writes the float32, the int8 and the 1-bit file and returns their paths."""
    shape = plain.input_shape[1:]
    images = np.random.default_rng(0).normal(size=(8, *shape)).astype("float32")
    paths = [str(folder / f"{name}.tflite") for name in ("float32", "int8", "xnor")]
    tfcompress.export(plain, paths[0])
    # Without images to compare on: random nets have no labels to agree about.
    tfcompress.export(plain, paths[1], storage="int8", calibration=images, io="int8")
    tfcompress.export(binary, paths[2])
    edit(Path(paths[2]), xnor_ops.write_xnor)
    return paths


def row(
    paths: list[str], kernel: str, threads: int, runs: int, words: float, *, lookups: bool
) -> Row:
    """Measures one line of the table; `lookups`: whether there are pixels enough for them."""
    backend = f"delegate:{kernels.library()}?kernel={kernel}"
    base, int8, one = latency(paths, backend=backend, threads=threads, runs=runs)
    sizes = [Path(path).stat().st_size for path in paths]
    bounds = (kernel_bound.counting(kernel), kernel_bound.lookups(kernel) if lookups else None)
    rate = words / 1e6 / one.latency_ms_p50
    return {
        "float_ms": base.latency_ms_p50,
        "int8_ms": int8.latency_ms_p50,
        "ms": one.latency_ms_p50,
        "ratio": [one.ratio, one.ratio_p10, one.ratio_p90],
        "to_int8": one.latency_ms_p50 / int8.latency_ms_p50,
        "smaller": sizes[0] / sizes[2],
        **{
            share: rate / bound if bound and threads == 1 else None
            for share, bound in zip(SHARES, bounds, strict=True)
        },
    }


if __name__ == "__main__":
    main()
