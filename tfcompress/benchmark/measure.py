"""Measures all there is to measure about files, per file, backend and thread count."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfcompress.benchmark import android, lint, profile
from tfcompress.benchmark.backends import BACKENDS, Backend, parse
from tfcompress.benchmark.file_benchmark import FileBenchmark
from tfcompress.benchmark.latency import Latency, latency
from tfcompress.benchmark.memory import baseline_memory_bytes
from tfcompress.benchmark.peak import main_dtype, peaks_gmacs_per_s
from tfcompress.benchmark.probe import TIMED, Probe, References, probe
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.benchmark.profile import Profile
from tfcompress.benchmark.sizes import activation_bytes, gzip_bytes, input_bytes, size_bytes
from tfcompress.errors import require
from tfcompress.options import check_type, check_types
from tfcompress.tflite import content
from tfcompress.tflite.content import FileContent

__all__ = ["BACKENDS", "FileBenchmark", "measure"]


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
            signatures runs on a CPU as `tfcompress.load` would run it, by the default one with
            `?signature=serving_default`, and elsewhere by its main graph.
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
    check_types(
        measure, {"runs": runs, "min_seconds": min_seconds, "timeout_s": timeout_s, "ops": ops}
    )
    settings = _Settings(
        backends=_parsed(_several(backends)),
        threads=tuple(_several(threads)),
        runs=runs,
        min_seconds=min_seconds,
        timeout_s=timeout_s,
        ops=ops,
        benchmark_model=os.fspath(benchmark_model or ""),
    )
    # All files are parsed before any is run: a misspelled name shouldn't cost the others' time.
    return _measure_all(_read(_several(paths)), settings)


def _several(values: Any) -> list[Any]:
    """Returns one value, or all of several, as a list."""
    one = isinstance(values, str | os.PathLike) or not isinstance(values, Iterable)
    return [values] if one else list(values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    """What `measure` was asked for, apart from the files.

    Raises:
        InputError: a number is out of its range, or a phone has no program to run.
    """

    backends: tuple[Backend, ...]
    threads: tuple[int, ...]
    runs: int
    min_seconds: float
    timeout_s: float
    ops: bool
    benchmark_model: str

    def __post_init__(self) -> None:
        """Refuses what can't be measured."""
        require(len(self.threads) > 0, "benchmark needs a number of threads, 1 or more")
        for count in self.threads:
            check_type("threads", count, int)
            require(count >= 1, f"threads must be 1 or more; got {count}")
        require(self.runs >= 1, f"runs must be 1 or more; got {self.runs}")
        require(self.min_seconds >= 0, f"min_seconds must be 0 or more; got {self.min_seconds}")
        require(self.timeout_s > 0, f"timeout_s must be positive; got {self.timeout_s}")
        if any(backend.kind == "android" for backend in self.backends):
            has_program = self.benchmark_model != ""
            require(has_program, "a phone needs benchmark_model, the program's path")
            android.binary_abi(self.benchmark_model)

    def threads_on(self, backend: Backend) -> tuple[int, ...]:
        """Returns the thread counts to try on a backend; a GPU that runs all ops has one."""
        return self.threads[:1] if backend.kind == "gpu" else self.threads


@dataclasses.dataclass(frozen=True, kw_only=True)
class _File:
    """A file, and the fields of `FileBenchmark` that it tells without being run."""

    path: str | os.PathLike[str]
    content: FileContent
    size_bytes: int
    gzip_bytes: int
    weight_bytes: int
    activation_bytes: int
    input_bytes: int
    peak_dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Machine:
    """What was measured without any file; see `FileBenchmark`.

    Attributes:
        baseline_memory_bytes: None where only a phone is asked for.
        peaks_gmacs_per_s: by the number of threads and the type; empty without a CPU backend.
    """

    baseline_memory_bytes: int | None
    peaks_gmacs_per_s: Mapping[int, Mapping[str, float]]


def _parsed(names: Sequence[str]) -> tuple[Backend, ...]:
    """Parses the backends' names."""
    require(len(names) > 0, f"benchmark needs a backend: {', '.join(BACKENDS)}")
    for name in names:
        check_type("backends", name, str)
    return tuple(parse(name) for name in names)


def _read(paths: Sequence[str | os.PathLike[str]]) -> list[_File]:
    """Reads what the files tell without being run."""
    require(len(paths) > 0, "benchmark needs at least one .tflite file")
    contents = [content.read(path) for path in paths]
    return [
        _File(
            path=path,
            content=file,
            size_bytes=size_bytes(file.path),
            gzip_bytes=gzip_bytes(file.path),
            weight_bytes=sum(file.weight_bytes.values()),
            activation_bytes=activation_bytes(file),
            input_bytes=input_bytes(file),
            peak_dtype=main_dtype(file),
        )
        for path, file in zip(paths, contents, strict=True)
    ]


def _measure_all(files: Sequence[_File], settings: _Settings) -> list[FileBenchmark]:
    """Measures all files on every backend with every number of threads."""
    machine = _measure_machine(files, settings)
    references = References(settings.timeout_s)
    return [
        result
        for backend in settings.backends
        for count in settings.threads_on(backend)
        for result in _measure_files(files, backend, count, references, machine, settings)
    ]


def _measure_machine(files: Sequence[_File], settings: _Settings) -> _Machine:
    """Measures the runtime's own memory and the CPU's speed, as far as a backend needs them."""
    here = any(backend.kind != "android" for backend in settings.backends)
    on_cpu = any(backend.is_cpu for backend in settings.backends)
    dtypes = sorted({file.peak_dtype for file in files})
    return _Machine(
        baseline_memory_bytes=(
            baseline_memory_bytes(timeout_s=settings.timeout_s) if here else None
        ),
        peaks_gmacs_per_s=(
            {count: peaks_gmacs_per_s(dtypes, count) for count in settings.threads}
            if on_cpu
            else {}
        ),
    )


def _measure_files(
    files: Sequence[_File],
    backend: Backend,
    threads: int,
    references: References,
    machine: _Machine,
    settings: _Settings,
) -> list[FileBenchmark]:
    """Measures all files on one backend with one number of threads."""
    if backend.kind == "android":
        timed = android.measure(
            [file.path for file in files],
            backend,
            binary=settings.benchmark_model,
            threads=threads,
            runs=settings.runs,
            min_seconds=settings.min_seconds,
            timeout_s=settings.timeout_s,
        )
    else:
        probes = [
            probe(file.content, backend, references, threads=threads, timeout_s=settings.timeout_s)
            for file in files
        ]
        timed = _time_files(files, probes, backend, threads, settings)
    results = [
        _joined(file, backend, file_probe, times, machine)
        for file, (file_probe, times) in zip(files, timed, strict=True)
    ]
    if not (settings.ops and backend.is_cpu):
        return results
    return [
        dataclasses.replace(result, profile=_profile(result, backend, settings.timeout_s))
        if result.timed
        else result
        for result in results
    ]


def _time_files(
    files: Sequence[_File],
    probes: Sequence[Probe],
    backend: Backend,
    threads: int,
    settings: _Settings,
) -> list[tuple[Probe, Latency]]:
    """Times the files that passed; returns every file's probe and times.

    A file whose process ends while it is at work drops out with that outcome, and the others are
    timed again without it. Where no file can be named, each is timed alone, without ratios.
    """
    outcomes = list(probes)
    times: list[Latency | None] = [None] * len(files)
    together = True
    while left := [
        n for n, seen in enumerate(outcomes) if seen.outcome in TIMED and times[n] is None
    ]:
        turn = left if together else left[:1]
        try:
            measured = latency(
                [files[n].path for n in turn],
                backend=backend.name,
                threads=threads,
                runs=settings.runs,
                min_seconds=settings.min_seconds,
                timeout_s=settings.timeout_s,
            )
        except BenchmarkError as error:
            named = [n for n in turn if os.path.abspath(files[n].path) == error.file]
            if not named and len(turn) > 1:
                together = False
                continue
            for n in named or turn:
                outcomes[n] = dataclasses.replace(
                    outcomes[n], outcome=error.outcome, reason=error.cause
                )
            continue
        for n, of_file in zip(turn, measured, strict=True):
            if turn[0] != 0:  # The first file isn't among them, so that there is no ratio to it.
                of_file = dataclasses.replace(of_file, ratio=None, ratio_p10=None, ratio_p90=None)
            times[n] = of_file
    return [
        (seen, of_file or Latency(path=os.fspath(file.path), backend=backend.name, threads=threads))
        for file, seen, of_file in zip(files, outcomes, times, strict=True)
    ]


def _joined(
    file: _File, backend: Backend, seen: Probe, times: Latency, machine: _Machine
) -> FileBenchmark:
    """Joins all that is known about one file on one backend."""
    macs, p50_ms = file.content.macs, times.latency_ms_p50
    gmacs = macs / p50_ms / 1e6 if macs and p50_ms else None
    peaks = machine.peaks_gmacs_per_s.get(times.threads, {}) if backend.is_cpu else {}
    peak = peaks.get(file.peak_dtype)
    return FileBenchmark(
        **dataclasses.asdict(times),
        kind=backend.kind,
        outcome=seen.outcome,
        reason=seen.reason,
        warnings=lint.gpu_warnings(file.content) if backend.is_gpu else (),
        size_bytes=file.size_bytes,
        gzip_bytes=file.gzip_bytes,
        macs=macs,
        weight_bytes=file.weight_bytes,
        activation_bytes=file.activation_bytes,
        input_bytes=file.input_bytes,
        gmacs_per_s=gmacs,
        peak_gmacs_per_s=peak,
        peak_dtype=file.peak_dtype,
        peak_share=gmacs / peak if gmacs and peak else None,
        peak_memory_bytes=seen.peak_memory_bytes,
        baseline_memory_bytes=machine.baseline_memory_bytes,
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


def _profile(result: FileBenchmark, backend: Backend, timeout_s: float) -> Profile:
    """Times the ops of a file, by the signature that was timed."""
    options = {"signature": result.signature} if result.signature else backend.options
    return profile.profile(
        result.path,
        dataclasses.replace(backend, options=options),
        threads=result.threads,
        timeout_s=timeout_s,
    )


def _finite(value: float) -> float | None:
    """Returns the value; None for infinity, which JSON doesn't have."""
    return value if value < float("inf") else None
