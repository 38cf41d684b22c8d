"""Names what was measured as LiteRT's own `litert-benchmark --result_json` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfcompress.benchmark.measure import FileBenchmark

_ACCELERATORS = {
    "cpu": ["CPU"],
    "cpu-noxnn": ["CPU"],
    "gpu": ["GPU"],
    "gpu+cpu": ["GPU", "CPU"],
    "delegate": ["DELEGATE", "CPU"],
    "android": ["CPU"],
}


def litert_keys(file: FileBenchmark) -> dict[str, Any]:
    """Returns the keys that readers of `litert-benchmark`'s file look for; None if not measured.

    `fully_accelerated` is true if the CPU was asked for, or no op stayed on it. The whole main
    graph runs, so no `signature` is named.
    """
    mean_ms = file.latency_ms_mean
    return {
        "model": file.path,
        "model_size_mb": round(file.size_bytes / 2**20, 2),
        "accelerators": _ACCELERATORS[file.kind],
        "signature": None,
        "fully_accelerated": file.kind in ("cpu", "cpu-noxnn", "android") or file.cpu_ops == 0,
        "num_threads": file.threads,
        "latency": {
            "init_ms": file.load_ms,
            "warmup_first_ms": file.first_ms,
            "warmup_avg_ms": file.warmup_ms,
            "num_warmup_runs": file.warmup_runs,
            "avg_ms": file.latency_ms_mean,
            "min_ms": file.latency_ms_min,
            "max_ms": file.latency_ms_max,
            "median_ms": file.latency_ms_p50,
            "std_ms": file.latency_ms_std,
            "p5_ms": file.latency_ms_p5,
            "p95_ms": file.latency_ms_p95,
            "num_runs": file.latency_runs,
        },
        "throughput_mb_s": file.input_bytes / 2**20 / (mean_ms / 1e3) if mean_ms else None,
    }
