"""Times the 1-bit kernels beside float and int8 XNNPACK, each file in turns with the others.

Run:

    .venv/bin/python experiments/xnor_kernel.py --output=build/xnor_kernel

About ten minutes. Four 3x3 convolutions of one size behind one another, and a dense layer: as
float32, as int8 with int8 activations, and with a bit a weight and activation. All files run in one
process with the delegate, which leaves the first two to XNNPACK. The weights are random, which
latency doesn't depend on.

The last column compares with the processor's own bound: a loop of xor, popcount and add on
registers alone, without a load, as often as the net's words need them. It is measured for the
AVX-512 kernel, whose loop has these three.
"""

from __future__ import annotations

import ctypes
import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
from measurements import Measurements, Row, Step, conduct, parser
from page import Page

import tfcompress
from tfcompress import kernels
from tfcompress.benchmark.latency import latency
from tfcompress.export import xnor_ops
from tfcompress.kernels.build import compile_to, compiler
from tfcompress.layers import BinaryConv2D, BinaryDense
from tfcompress.tflite.editor import edit

CONVS = ((56, 64), (28, 128), (14, 256), (7, 512))
UNITS = 4096
# Sums in flight for each pipe: registers alone, and nothing for the compiler to drop. With few of
# them the pipes wait, with many some compilers move them to memory: the fastest loop counts.
SUMS = (10, 16)
BOUND = r"""
#define _POSIX_C_SOURCE 199309L
#include <immintrin.h>
#include <stdint.h>
#include <time.h>
#define T __attribute__((target("avx512f,avx512vpopcntdq")))
__attribute__((visibility("default"))) T double words_per_ns_SUMS(long rounds) {
  __m512i sum[SUMS], word = _mm512_set1_epi32(0x1234567);
  for (int i = 0; i < SUMS; i++) sum[i] = _mm512_set1_epi32(i);
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (long r = 0; r < rounds; r++) {
#pragma GCC unroll 16
    for (int i = 0; i < SUMS; i++) {
      __m512i x = _mm512_xor_si512(word, sum[i]);
      __asm__("" : "+v"(x));
      sum[i] = _mm512_add_epi32(sum[i], _mm512_popcnt_epi32(x));
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &b);
  volatile int keep = 0;
  for (int i = 0; i < SUMS; i++) keep += _mm512_reduce_add_epi32(sum[i]);
  return 16.0 * SUMS * rounds / ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec);
}
"""


STACKS = {f"4 convs {size}x{size}x{channels}": (size, channels) for size, channels in CONVS}
CASES = (*STACKS, f"dense {UNITS}x{UNITS}")


def keys(name: str) -> dict[str, tuple[str, int]]:
    """Returns kernel and threads of each of a net's rows."""
    runs = [(kernel, 1) for kernel in kernels.names()] + [(kernels.names()[0], 2)]
    return {f"{name}, {kernel}, {threads}": (kernel, threads) for kernel, threads in runs}


def measured(name: str, runs: int) -> dict[str, Row]:
    """Measures one net with each kernel."""
    plain, binary, words = conv_nets(*STACKS[name]) if name in STACKS else dense_nets()
    with tempfile.TemporaryDirectory() as folder:
        bound = measured_bound(Path(folder))
        paths = files(Path(folder), plain, binary)
        return {
            key: row(paths, kernel, threads, runs, words, bound)
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
        "" if row["share"] is None else f"{row['share']:.0%}",
    ]


def page_of(results: Measurements) -> Page:
    return Page(
        "The 1-bit kernels",
        "Latencies are medians; ratios, to float32 and to int8 XNNPACK with as many threads, are "
        "medians over rounds, with the 10th and 90th percentile for the first. Share of the bound: "
        "of xor, popcount and add on registers alone, one thread.",
        ["net", "kernel", "threads", "float32, ms", "int8, ms", "1 bit, ms", "to float32",
         "to int8", "size ratio", "share of bound"],
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


def conv_nets(size: int, channels: int) -> tuple[keras.Model, keras.Model, float]:
    """Returns the float net, the binary one, and how many pairs of 32-bit words it compares."""
    nets = []
    for layer in (keras.layers.Conv2D, BinaryConv2D):
        x = inputs = keras.Input((size, size, channels))
        for _ in range(4):
            x = layer(channels, 3, padding="same")(x)
        nets.append(keras.Model(inputs, x))
    return nets[0], nets[1], 4 * size**2 * 9 * channels**2 / 32


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
    tfcompress.export(plain, paths[1], storage="int8", calibration=images)
    tfcompress.export(binary, paths[2])
    edit(Path(paths[2]), xnor_ops.write_xnor)
    return paths


def row(paths: list[str], kernel: str, threads: int, runs: int, words: float, bound: float) -> Row:
    """Measures one line of the table."""
    backend = f"delegate:{kernels.library()}?kernel={kernel}"
    base, int8, one = latency(paths, backend=backend, threads=threads, runs=runs)
    sizes = [Path(path).stat().st_size for path in paths]
    known = bound and threads == 1 and kernel == "avx512"
    return {
        "float_ms": base.latency_ms_p50,
        "int8_ms": int8.latency_ms_p50,
        "ms": one.latency_ms_p50,
        "ratio": [one.ratio, one.ratio_p10, one.ratio_p90],
        "to_int8": one.latency_ms_p50 / int8.latency_ms_p50,
        "smaller": sizes[0] / sizes[2],
        "share": words / bound / 1e6 / one.latency_ms_p50 if known else None,
    }


def measured_bound(folder: Path) -> float:
    """Measures how many words a nanosecond xor, popcount and add take; 1 without AVX-512."""
    if "avx512" not in kernels.names():
        return 1.0
    for sums in SUMS:
        (folder / f"bound{sums}.c").write_text(BOUND.replace("SUMS", str(sums)))
    compile_to(folder / "bound.so", compiler(), sources=folder)
    library, rates = ctypes.CDLL(str(folder / "bound.so")), []
    for sums in SUMS:
        measure = library[f"words_per_ns_{sums}"]
        measure.restype, measure.argtypes = ctypes.c_double, [ctypes.c_long]
        rates += [measure(300_000) for _ in range(50)]
    return max(rates)


if __name__ == "__main__":
    main()
