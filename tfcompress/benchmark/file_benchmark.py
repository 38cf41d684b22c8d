"""Holds what was measured about one file on one backend."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.benchmark.latency import Latency
from tfcompress.benchmark.profile import Profile


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileBenchmark(Latency):
    """What was measured about one file on one backend. None is a number that wasn't measured.

    Attributes:
        kind: the backend without its options, such as `gpu`.
        outcome: `ok`; `partial` (the CPU ran some of the ops); or why there is no latency:
            `unsupported` (the backend refused the file), `no-adapter` (there is no GPU), `crashed`,
            `mismatch` (its outputs aren't the CPU's), `timeout`.
        reason: why the outcome isn't `ok`, or why the file ran otherwise than it was asked to;
            empty if there is nothing to say.
        warnings: what may fail on a GPU, found in the file; empty on other backends.
        size_bytes: the file's size.
        gzip_bytes: its size after gzip at level 9.
        macs: multiply-accumulates of one inference; None if the file has ops we can't count.
        weight_bytes: size of the constants that its ops read.
        activation_bytes: size of what its ops write, each tensor counted once.
        input_bytes: size of what an inference reads.
        gmacs_per_s: multiply-accumulates per second at the median, in 1e9.
        peak_gmacs_per_s: speed of a matrix product on this CPU with as many threads; None on other
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
        precision: what the GPU was asked for: `fp16` where it can, or `fp32`.
        accelerated_ops: the file's ops that ran on the GPU or in the delegate.
        cpu_ops: the file's ops that stayed on the CPU.
        signature: the signature that ran, such as `xnor`; None if the file hasn't several.
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
        """Tells whether the file has a latency."""
        return self.latency_runs > 0

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "profile"
        }
        op_times = self.profile.to_json() if self.profile else None
        return {**values, "warnings": list(self.warnings), "profile": op_times}
