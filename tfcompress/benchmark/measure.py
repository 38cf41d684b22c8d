"""Everything that is measured about files, one value per file, backend and thread count."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.benchmark import android, lint, profile
from tfcompress.benchmark.backends import BACKENDS, Backend, parse
from tfcompress.benchmark.latency import Latency, latency
from tfcompress.benchmark.memory import baseline_memory_bytes
from tfcompress.benchmark.peak import main_dtype, peaks_gmacs_per_s
from tfcompress.benchmark.probe import TIMED, Probe, References, probe
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.benchmark.profile import Profile
from tfcompress.benchmark.sizes import activation_bytes, gzip_bytes, input_bytes, size_bytes
from tfcompress.errors import require
from tfcompress.tflite import content

__all__ = ["BACKENDS", "FileBenchmark", "measure"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileBenchmark(Latency):
    """What was measured about one file on one backend. None is a number that wasn't measured.

    Attributes:
        kind: the backend without its options, such as `gpu`.
        outcome: `ok`; `partial` (the CPU ran some of the ops); or why there is no latency:
            `unsupported` (the backend refused the file), `no-adapter` (there is no GPU), `crashed`,
            `mismatch` (its outputs aren't the CPU's), `timeout`.
        reason: the outcome in words; empty if it is `ok`.
        warnings: what may fail on a GPU, found in the file; empty on other backends.
        size_bytes: the file's size.
        gzip_bytes: its size after gzip at level 9.
        macs: multiply-accumulates of one inference; None if the file has ops we can't count.
        weight_bytes: the constants that its ops read.
        activation_bytes: what its ops write, each tensor once.
        input_bytes: what an inference reads.
        gmacs_per_s: multiply-accumulates per second at the median, in 1e9.
        peak_gmacs_per_s: of a matrix product on this CPU with as many threads; None on other
            backends. See `tfcompress.benchmark.peak`.
        peak_dtype: the type of that product, `float32` or `int8`: what most of the file's are.
        peak_share: `gmacs_per_s` divided by `peak_gmacs_per_s`.
        peak_memory_bytes: peak of a fresh process that loads the file and runs it once.
        baseline_memory_bytes: peak of a process that only imports the runtime.
        parity_relative_rms: rms of the difference to the CPU's outputs, divided by their rms; None
            on the CPU.
        parity_max_abs: the largest difference.
        adapter: the GPU's name, or the phone's.
        adapter_type: such as `discrete GPU`, or the phone's ABI.
        software: whether a CPU played the GPU: then no time is a performance number.
        precision: what was asked of the GPU: `fp16` where it can, or `fp32`.
        accelerated_ops: the file's ops that ran on the GPU or in the delegate.
        cpu_ops: those that stayed on the CPU.
        signature: which one of a file with several ran, such as `xnor`; None of other files.
        profile: the times of its ops; None unless asked for.
    """

    kind: str = "cpu"
    outcome: str = "ok"
    reason: str = ""
    warnings: tuple[str, ...] = ()
    size_bytes: int
    gzip_bytes: int
    macs: int | None
    weight_bytes: int = 0
    activation_bytes: int = 0
    input_bytes: int = 0
    gmacs_per_s: float | None = None
    peak_gmacs_per_s: float | None = None
    peak_dtype: str | None = None
    peak_share: float | None = None
    peak_memory_bytes: int | None = None
    baseline_memory_bytes: int | None = None
    parity_relative_rms: float | None = None
    parity_max_abs: float | None = None
    adapter: str | None = None
    adapter_type: str | None = None
    software: bool = False
    precision: str | None = None
    accelerated_ops: int | None = None
    cpu_ops: int | None = None
    signature: str | None = None
    profile: Profile | None = None

    @property
    def timed(self) -> bool:
        """Whether there is a latency, which the outcome allows to be shown."""
        return self.latency_runs > 0

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "profile"
        }
        told = self.profile.to_json() if self.profile else None
        return {**values, "warnings": list(self.warnings), "profile": told}


def measure(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    backends: str | Sequence[str] = ("cpu",),
    threads: int | Sequence[int] = 1,
    runs: int = 200,
    min_seconds: float = 1.0,
    timeout_s: float = 600.0,
    ops: bool = False,
    benchmark_model: str | os.PathLike[str] | None = None,
) -> list[FileBenchmark]:
    """Measures size, multiply-accumulates, latency and peak memory of `.tflite` files.

    Each file first runs once in a process of its own, and off the CPU its outputs are compared with
    the CPU's. Files that pass run in turns in one fresh process per backend and thread count, and
    each file's ratio refers to the first file; see `tfcompress.benchmark.latency.latency`. A file
    that doesn't pass has an outcome and no latency, and costs the others nothing.

    Args:
        paths: a `.tflite` file or several.
        backends: `cpu` (with XNNPACK), `cpu-noxnn` (without), `gpu` (every op there), `gpu+cpu`
            (what the GPU can't stays on the CPU), `delegate:PATH?key=value&...` (a shared library
            of yours, which is native code that you trust), `android:SERIAL`, or several. A GPU
            takes `?precision=fp32`, a phone the flags of `benchmark_model`. A file with two
            signatures runs on a CPU as `tfcompress.load` would run it, by the stock one with
            `?signature=serving_default`, and elsewhere by the stock one.
        threads: CPU threads of an inference, or several counts; `gpu` uses the first.
        runs: timed inferences of each file.
        min_seconds: how long the timed rounds go on, at least.
        timeout_s: a measuring process is killed after this.
        ops: whether each op is timed too, on `cpu` and `cpu-noxnn`.
        benchmark_model: for phones, TensorFlow Lite's program of that name, for the phone's ABI.

    Returns:
        One value per backend, thread count and file, in this order.

    Raises:
        InputError: a file is missing, not a `.tflite` file or corrupt; an unknown backend; no
            file; threads or runs below 1.
        BenchmarkError: no measuring process can be started.

    Example:
        >>> import tfcompress
        >>> tfcompress.benchmark(["a.tflite", "b.tflite"])[1].ratio  # doctest: +SKIP
    """
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    names = [backends] if isinstance(backends, str) else list(backends)
    counts = [threads] if isinstance(threads, int) else list(threads)
    require(len(files) > 0, "benchmark needs at least one .tflite file")
    require(len(names) > 0, f"benchmark needs a backend: {', '.join(BACKENDS)}")
    require(len(counts) > 0, "benchmark needs a number of threads, 1 or more")
    for count in counts:
        require(count >= 1, f"threads must be 1 or more; got {count}")
    require(runs >= 1, f"runs must be 1 or more; got {runs}")
    require(min_seconds >= 0, f"min_seconds must be 0 or more; got {min_seconds}")
    require(timeout_s > 0, f"timeout_s must be positive; got {timeout_s}")
    chosen = [parse(name) for name in names]
    if any(backend.kind == "android" for backend in chosen):
        require(benchmark_model is not None, "a phone needs benchmark_model, the program's path")
        android.binary_abi(os.fspath(benchmark_model or ""))
    # All files are parsed before any is run: a misspelled name shouldn't cost the others' time.
    contents = [content.read(file) for file in files]
    static = [_static(each) for each in contents]
    references = References(timeout_s)
    here = any(backend.kind != "android" for backend in chosen)
    own_bytes = baseline_memory_bytes(timeout_s=timeout_s) if here else None
    dtypes = sorted({numbers["peak_dtype"] for numbers in static})
    peaks: dict[int, dict[str, float]] = {}
    if any(backend.is_cpu for backend in chosen):
        peaks = {count: peaks_gmacs_per_s(dtypes, count) for count in counts}
    results: list[FileBenchmark] = []
    for backend in chosen:
        for count in counts[:1] if backend.kind == "gpu" else counts:
            limits: dict[str, Any] = {
                "runs": runs,
                "min_seconds": min_seconds,
                "timeout_s": timeout_s,
            }
            if backend.kind == "android":
                binary = os.fspath(benchmark_model or "")
                timed = android.measure(files, backend, binary=binary, threads=count, **limits)
            else:
                probes = [
                    probe(each, backend, references, threads=count, timeout_s=timeout_s)
                    for each in contents
                ]
                timed = _timed(files, probes, backend, count, limits)
            for each, numbers, (seen, times) in zip(contents, static, timed, strict=True):
                found = _joined(numbers, backend, seen, times, peaks.get(count, {}))
                found = dataclasses.replace(found, baseline_memory_bytes=own_bytes)
                if backend.is_gpu:
                    found = dataclasses.replace(found, warnings=lint.gpu_warnings(each))
                if ops and backend.is_cpu and found.timed:
                    ran = {"signature": found.signature} if found.signature else backend.options
                    taken = profile.profile(
                        each.path,
                        dataclasses.replace(backend, options=ran),
                        threads=count,
                        timeout_s=timeout_s,
                    )
                    found = dataclasses.replace(found, profile=taken)
                results.append(found)
    return results


def _static(file: content.FileContent) -> dict[str, Any]:
    """What the file alone says."""
    return {
        "macs": file.macs,
        "size_bytes": size_bytes(file.path),
        "gzip_bytes": gzip_bytes(file.path),
        "weight_bytes": sum(file.weight_bytes.values()),
        "activation_bytes": activation_bytes(file),
        "input_bytes": input_bytes(file),
        "peak_dtype": main_dtype(file),
    }


def _timed(
    files: Sequence[str | os.PathLike[str]],
    probes: Sequence[Probe],
    backend: Backend,
    threads: int,
    limits: dict[str, Any],
) -> list[tuple[Probe, Latency]]:
    """The times of the files that passed, beside what became of each.

    A file whose process ends while it is at work drops out with that outcome, and the others are
    timed again without it. Where no file can be named, each is timed alone, without ratios.
    """
    found = list(probes)
    none = [Latency(path=os.fspath(file), backend=backend.name, threads=threads) for file in files]
    times = list(none)
    together = True
    while True:
        left = [n for n, seen in enumerate(found) if seen.outcome in TIMED and times[n] is none[n]]
        if not left:
            return list(zip(found, times, strict=True))
        turn = left if together else left[:1]
        try:
            measured = latency(
                [files[n] for n in turn], backend=backend.name, threads=threads, **limits
            )
        except BenchmarkError as error:
            named = [n for n in turn if os.path.abspath(files[n]) == error.file]
            if not named and len(turn) > 1:
                together = False
                continue
            for n in named or turn:
                found[n] = dataclasses.replace(found[n], outcome=error.outcome, reason=error.cause)
            continue
        for n, each in zip(turn, measured, strict=True):
            if turn[0] != 0:  # the first file isn't among them
                each = dataclasses.replace(each, ratio=None, ratio_p10=None, ratio_p90=None)
            times[n] = each


def _joined(
    static: dict[str, Any],
    backend: Backend,
    seen: Probe,
    times: Latency,
    peaks: Mapping[str, float],
) -> FileBenchmark:
    """All that is known about one file on one backend."""
    macs, p50 = static["macs"], times.latency_ms_p50
    gmacs = macs / p50 / 1e6 if macs and p50 else None
    peak = peaks.get(static["peak_dtype"]) if backend.is_cpu else None
    return FileBenchmark(
        **dataclasses.asdict(times),
        **static,
        kind=backend.kind,
        outcome=seen.outcome,
        reason=seen.reason,
        gmacs_per_s=gmacs,
        peak_gmacs_per_s=peak,
        peak_share=gmacs / peak if gmacs and peak else None,
        peak_memory_bytes=seen.peak_memory_bytes,
        parity_relative_rms=_finite(seen.parity.relative_rms) if seen.parity else None,
        parity_max_abs=_finite(seen.parity.max_abs) if seen.parity else None,
        adapter=seen.adapter.name if seen.adapter else None,
        adapter_type=seen.adapter.type if seen.adapter else None,
        software=seen.adapter.software if seen.adapter else False,
        precision=backend.precision,
        accelerated_ops=seen.accelerated_ops,
        cpu_ops=seen.cpu_ops,
        signature=seen.signature,
    )


def _finite(value: float) -> float | None:
    """The value; None for infinity, which JSON doesn't have."""
    return value if value < float("inf") else None
