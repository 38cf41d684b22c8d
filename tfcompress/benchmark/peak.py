"""Measures how fast this machine multiplies at best, to compare a file's speed with."""

from __future__ import annotations

from collections.abc import Sequence

from tfcompress.benchmark import process
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.tflite.content import FileContent

SECONDS = 0.3
_INTEGERS = ("int8", "uint8", "int4", "int2")


def peaks_gmacs_per_s(
    dtypes: Sequence[str], threads: int, *, timeout_s: float = 60.0
) -> dict[str, float]:
    """Measures the multiply-accumulates per second of a matrix product, in 1e9, by type.

    The runtime multiplies two 512x512 matrices for 0.3 s, with XNNPACK and in a fresh process, and
    the fastest product counts. It is a measured speed and no limit.

    Args:
        dtypes: `float32`, `int8`, or both.
        threads: CPU threads of the product.
        timeout_s: the process is killed after this.

    Returns:
        The speed by the type; empty if it couldn't be measured.
    """
    request = {
        "task": "peak",
        "dtypes": list(dtypes),
        "threads": threads,
        "seconds": SECONDS,
        "seed": 0,
    }
    try:
        macs_per_s = process.ask(request, timeout_s=timeout_s)["macs_per_s"]
    except BenchmarkError:
        return {}
    return {dtype: speed / 1e9 for dtype, speed in macs_per_s.items()}


def main_dtype(file: FileContent) -> str:
    """Returns the type in which most of a file's multiplications are done, `int8` or `float32`.

    Weights of few bits are multiplied in 8 bits, also where an op's inputs and outputs are floats.
    """
    integer = sum(
        op.macs or 0
        for op in file.ops
        if op.macs and op.subgraph == 0 and op.inputs[1] and op.inputs[1].dtype in _INTEGERS
    )
    return "int8" if 2 * integer > (file.macs or 0) > 0 else "float32"
