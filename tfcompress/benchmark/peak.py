"""How fast this machine multiplies at best: what a file's speed is held against."""

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
    """Multiply-accumulates per second of a matrix product, in 1e9, by type.

    The fastest of 0.3 s of products of two 512x512 matrices by the runtime itself, with XNNPACK, in
    a fresh process. It is a measured speed and no limit.

    Args:
        dtypes: `float32`, `int8`, or both.
        threads: CPU threads of the product.
        timeout_s: the process is killed after this.

    Returns:
        Type to speed; empty if it couldn't be measured.
    """
    request = {
        "task": "peak",
        "dtypes": list(dtypes),
        "threads": threads,
        "seconds": SECONDS,
        "seed": 0,
    }
    try:
        found = process.ask(request, timeout_s=timeout_s)["macs_per_s"]
    except BenchmarkError:
        return {}
    return {dtype: speed / 1e9 for dtype, speed in found.items()}


def main_dtype(file: FileContent) -> str:
    """The type in which most of a file's products are computed: `int8`, or else `float32`.

    With weights of few bits they are computed in 8, also where their inputs and outputs are floats.
    """
    integer = sum(
        op.macs or 0
        for op in file.ops
        if op.macs and op.subgraph == 0 and op.inputs[1] and op.inputs[1].dtype in _INTEGERS
    )
    return "int8" if 2 * integer > (file.macs or 0) > 0 else "float32"
