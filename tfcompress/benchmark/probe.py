"""Tries a file on a backend: does it run there, and does it compute what the CPU computes?

Each file gets a process of its own, so that one that crashes, hangs or is wrong has an outcome and
costs the others nothing. Only files that pass are timed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.benchmark import gpu, process
from tfcompress.benchmark.backends import REFERENCE, Backend
from tfcompress.benchmark.parity import INTEGER_TOLERANCE, TOLERANCES, Parity, compare
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.tflite.content import FileContent

# The outcomes of files that are timed.
TIMED = ("ok", "partial")
SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """What came of running a file once on a backend.

    Attributes:
        outcome: `ok`, `partial`, `unsupported`, `no-adapter`, `crashed`, `mismatch` or `timeout`;
            see `tfcompress.benchmark.FileBenchmark`.
        reason: why the outcome isn't `ok`, in words; empty if there is nothing to say.
        peak_memory_bytes: the process's peak memory; None if the file didn't run or the system
            doesn't say.
        parity: how near the outputs are to the CPU's; None on the CPU, if there were no outputs,
            and for files with a delegate's own ops, which no CPU runs.
        adapter: the GPU; None on other backends.
        accelerated_ops: the file's ops that a GPU or a delegate took; None on the CPU.
        cpu_ops: the file's ops that stayed on the CPU; None on the CPU.
        signature: the signature that ran; None if the file hasn't several.
    """

    outcome: str = "ok"
    reason: str = ""
    peak_memory_bytes: int | None = None
    parity: Parity | None = None
    adapter: gpu.Adapter | None = None
    accelerated_ops: int | None = None
    cpu_ops: int | None = None
    signature: str | None = None


class References:
    """Computes the CPU's outputs of each file when they are first asked for, and keeps them.

    They come from the runtime's own kernels, without XNNPACK.

    Args:
        timeout_s: a process is killed after this.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._answers: dict[str, dict[str, Any] | BenchmarkError] = {}

    def outputs(self, path: str) -> list[dict[str, Any]]:
        """Returns the file's outputs.

        Raises:
            BenchmarkError: the file doesn't run on the CPU.
        """
        outputs: list[dict[str, Any]] = self.answer(path)["outputs"]
        return outputs

    def answer(self, path: str) -> dict[str, Any]:
        """Returns the file's `inputs` and `outputs`, as `tfcompress.benchmark.child` gives them.

        Raises:
            BenchmarkError: the file doesn't run on the CPU.
        """
        if path not in self._answers:
            try:
                self._answers[path], _ = _run(path, REFERENCE, 1, self._timeout_s, outputs=True)
            except BenchmarkError as error:
                self._answers[path] = error
        answer = self._answers[path]
        if isinstance(answer, BenchmarkError):
            raise answer
        return answer


def probe(
    content: FileContent,
    backend: Backend,
    references: References,
    *,
    threads: int,
    timeout_s: float,
) -> Probe:
    """Runs a file once in a fresh process, and compares it with the CPU if it ran elsewhere.

    Args:
        content: the file.
        backend: where it runs.
        references: the CPU's outputs.
        threads: CPU threads of the inference.
        timeout_s: a process is killed after this.
    """
    path = os.path.abspath(content.path)
    main = content.of()  # Other backends than the CPU run the main graph.
    try:
        answer, log = _run(path, backend, threads, timeout_s, outputs=not backend.is_cpu)
    except BenchmarkError as error:
        return _failed(backend, error)
    ran = Probe(
        peak_memory_bytes=answer["peak_memory_bytes"],
        signature=answer["signature"],
        reason=f"not as bits: {answer['because']}" if answer["because"] else answer["slow"],
    )
    if backend.is_cpu:
        return ran
    file_ops = sum(op.subgraph == 0 for op in main.ops)
    try:
        expected = None if _has_delegate_ops(main, backend) else references.outputs(path)
        if backend.is_gpu:
            ran = _on_gpu(ran, backend, log, file_ops)
        else:
            ran = _on_delegate(ran, path, backend, threads, timeout_s, file_ops)
    except BenchmarkError as error:
        reason = f"there is nothing to compare with: {error}"
        return dataclasses.replace(ran, outcome="unsupported", reason=reason)
    if ran.outcome not in TIMED:
        return ran
    if expected is None:
        reason = "no comparison: only the delegate knows its own ops"
        return dataclasses.replace(ran, reason="; ".join(filter(None, [ran.reason, reason])))
    return _compared(ran, answer["outputs"], expected, tolerance_of(main, backend))


def tolerance_of(content: FileContent, backend: Backend) -> float:
    """Returns the largest relative rms at which a backend still computes a file's function.

    Args:
        content: the file; one with integers is allowed more.
        backend: a GPU that may compute in half precision is allowed more than any other.
    """
    if any(tensor.quantized for op in content.ops for tensor in op.outputs):
        return INTEGER_TOLERANCE
    return TOLERANCES[backend.precision or "fp32"]


def _compared(
    ran: Probe,
    actual: Sequence[Mapping[str, Any]],
    expected: Sequence[Mapping[str, Any]],
    tolerance: float,
) -> Probe:
    """Adds the comparison with the CPU's outputs; the outcome is `mismatch` if it fails."""
    parity = compare(actual, expected, tolerance=tolerance)
    ran = dataclasses.replace(ran, parity=parity)
    if parity.holds:
        return ran
    reason = (
        f"the outputs differ from the CPU's by {100 * parity.relative_rms:.3g}% of their rms; "
        f"{100 * tolerance:g}% would do"
    )
    return dataclasses.replace(ran, outcome="mismatch", reason=reason)


def _has_delegate_ops(content: FileContent, backend: Backend) -> bool:
    """Tells whether a file has custom ops of a delegate's, for which no CPU knows the outputs."""
    return backend.kind == "delegate" and any(op.name.startswith("CUSTOM:") for op in content.ops)


def _run(
    path: str, backend: Backend, threads: int, timeout_s: float, *, outputs: bool
) -> tuple[dict[str, Any], str]:
    """Runs a file once in a fresh process; returns the answer and the log."""
    request = {
        "task": "probe",
        "paths": [path],
        "backend": backend.to_json(),
        "threads": threads,
        "outputs": outputs,
        "seed": SEED,
    }
    return process.ask_with_log(request, timeout_s=timeout_s)


def _failed(backend: Backend, error: BenchmarkError) -> Probe:
    """Says what came of a run that gave no answer."""
    outcome, reason = error.outcome, error.cause
    seen = gpu.parse_adapter(error.stderr) if backend.is_gpu else None
    # LiteRT's own exceptions have no cause in them.
    if seen and outcome == "unsupported" and reason.startswith("RuntimeError"):
        outcome, reason = gpu.explain_failure(error.stderr) or (outcome, reason)
    return Probe(outcome=outcome, reason=reason, adapter=seen)


def _on_gpu(ran: Probe, backend: Backend, log: str, file_ops: int) -> Probe:
    """Adds what the log says about where the ops ran."""
    seen = gpu.parse_adapter(log)
    taken, left = seen.gpu_ops, seen.cpu_ops
    if taken is None and (backend.kind == "gpu" or seen.name):
        # The line that splits the ops comes only if some stay.
        taken, left = file_ops, 0
    ran = dataclasses.replace(ran, adapter=seen, accelerated_ops=taken, cpu_ops=left)
    if taken is None:
        unexplained = ("unsupported", "nothing in LiteRT's log shows that a GPU ran")
        outcome, reason = gpu.explain_failure(log) or unexplained
        return dataclasses.replace(ran, outcome=outcome, reason=reason)
    return _judge_split(ran, taken, left or 0, "the GPU")


def _on_delegate(
    ran: Probe, path: str, backend: Backend, threads: int, timeout_s: float, file_ops: int
) -> Probe:
    """Adds how many ops the delegate takes, counted where nothing else takes any."""
    request = {
        "task": "taken",
        "paths": [path],
        "backend": backend.to_json(),
        "threads": threads,
        "file_ops": file_ops,
    }
    taken = process.ask(request, timeout_s=timeout_s)["taken_ops"]
    ran = dataclasses.replace(ran, accelerated_ops=taken, cpu_ops=file_ops - taken)
    return _judge_split(ran, taken, file_ops - taken, "the delegate")


def _judge_split(ran: Probe, taken: int, left: int, who: str) -> Probe:
    """Sets the outcome that follows from how many ops were taken and how many left."""
    total = taken + left
    if taken == 0:
        reason = f"{who} took none of the file's {total} ops"
        return dataclasses.replace(ran, outcome="unsupported", reason=reason)
    if left:
        reason = f"{who} took {taken} of the file's {total} ops, the CPU has the rest"
        return dataclasses.replace(ran, outcome="partial", reason=reason)
    return ran
