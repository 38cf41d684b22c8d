"""The first look at a file on a backend: does it run there, and does it compute the same?

Each file gets a process of its own, so that one that crashes, hangs or is wrong has an outcome and
costs the others nothing. Only files that pass are timed.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from tfcompress.benchmark import gpu, process
from tfcompress.benchmark.backends import REFERENCE, Backend
from tfcompress.benchmark.parity import INTEGER_TOLERANCE, TOLERANCES, Parity, compare
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.tflite.content import FileContent

# Of these a file's times may be shown.
TIMED = ("ok", "partial")
OUTCOMES = (*TIMED, "unsupported", "no-adapter", "crashed", "mismatch", "timeout")
SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """What became of one run.

    Attributes:
        outcome: one of `OUTCOMES`.
        reason: why it isn't `ok`, in words; empty if it is.
        peak_memory_bytes: the process's peak; None if it wasn't reached or the system doesn't say.
        parity: how near the outputs are to the CPU's; None on the CPU, if there were none, and of
            files with a delegate's own ops, which no CPU runs.
        adapter: the GPU; None on other backends.
        accelerated_ops: the file's ops that a GPU or a delegate took; None on the CPU.
        cpu_ops: the ops that stayed on the CPU; None on the CPU.
        signature: which one of a file with several ran; None of other files.
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
    """The CPU's outputs of each file, computed when first asked for.

    They come from the runtime's own kernels, without XNNPACK.

    Args:
        timeout_s: a process is killed after this.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._kept: dict[str, dict[str, Any] | BenchmarkError] = {}

    def outputs(self, path: str) -> list[dict[str, Any]]:
        """The file's outputs.

        Raises:
            BenchmarkError: the file doesn't run on the CPU.
        """
        outputs: list[dict[str, Any]] = self.answer(path)["outputs"]
        return outputs

    def answer(self, path: str) -> dict[str, Any]:
        """The file's `inputs` and `outputs`, as `tfcompress.benchmark.child` gives them.

        Raises:
            BenchmarkError: the file doesn't run on the CPU.
        """
        if path not in self._kept:
            try:
                self._kept[path], _ = _run(path, REFERENCE, 1, self._timeout_s, outputs=True)
            except BenchmarkError as error:
                self._kept[path] = error
        kept = self._kept[path]
        if isinstance(kept, BenchmarkError):
            raise kept
        return kept


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
    content = content.of()  # Other backends than the CPU run the stock signature.
    own_ops = sum(op.subgraph == 0 for op in content.ops)
    try:
        answer, log = _run(path, backend, threads, timeout_s, outputs=not backend.is_cpu)
    except BenchmarkError as error:
        return _failed(backend, error)
    found = Probe(
        peak_memory_bytes=answer["peak_memory_bytes"],
        signature=answer["signature"],
        reason=f"not as bits: {answer['because']}" if answer["because"] else "",
    )
    if backend.is_cpu:
        return found
    try:
        wanted = None if _own_ops(content, backend) else references.outputs(path)
        if backend.is_gpu:
            found = _on_gpu(found, backend, log, own_ops)
        else:
            found = _on_delegate(found, path, backend, threads, timeout_s, own_ops)
    except BenchmarkError as error:
        reason = f"there is nothing to compare with: {error}"
        return dataclasses.replace(found, outcome="unsupported", reason=reason)
    if found.outcome not in TIMED:
        return found
    if wanted is None:
        reason = "no comparison: only the delegate knows its own ops"
        reason = "; ".join(filter(None, [found.reason, reason]))
        return dataclasses.replace(found, reason=reason)
    tolerance = TOLERANCES[backend.precision or "fp32"]
    if any(op.outputs and any(t.quantized for t in op.outputs) for op in content.ops):
        tolerance = INTEGER_TOLERANCE
    parity = compare(answer["outputs"], wanted, tolerance=tolerance)
    found = dataclasses.replace(found, parity=parity)
    if parity.holds:
        return found
    reason = (
        f"the outputs differ from the CPU's by {100 * parity.relative_rms:.3g}% of their rms; "
        f"{100 * tolerance:g}% would do"
    )
    return dataclasses.replace(found, outcome="mismatch", reason=reason)


def _own_ops(content: FileContent, backend: Backend) -> bool:
    """Whether a file has custom ops of a delegate's, so that no CPU can say what is right."""
    return backend.kind == "delegate" and any(op.name.startswith("CUSTOM:") for op in content.ops)


def _run(
    path: str, backend: Backend, threads: int, timeout_s: float, *, outputs: bool
) -> tuple[dict[str, Any], str]:
    """One run in a fresh process: the answer and the log."""
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
    """The outcome of a run that gave no answer."""
    outcome, reason = error.outcome, error.cause
    seen = gpu.adapter(error.stderr) if backend.is_gpu else None
    # LiteRT's own exceptions have no cause in them.
    if seen and outcome == "unsupported" and reason.startswith("RuntimeError"):
        outcome, reason = gpu.failure(error.stderr) or (outcome, reason)
    return Probe(outcome=outcome, reason=reason, adapter=seen)


def _on_gpu(found: Probe, backend: Backend, log: str, own_ops: int) -> Probe:
    """What the log says about where the ops ran."""
    seen = gpu.adapter(log)
    taken, left = seen.gpu_ops, seen.cpu_ops
    if taken is None and (backend.kind == "gpu" or seen.name):
        # The line that splits the ops comes only if some stay.
        taken, left = own_ops, 0
    found = dataclasses.replace(found, adapter=seen, accelerated_ops=taken, cpu_ops=left)
    if taken is None:
        silent = ("unsupported", "nothing in LiteRT's log shows that a GPU ran")
        outcome, reason = gpu.failure(log) or silent
        return dataclasses.replace(found, outcome=outcome, reason=reason)
    return _split(found, taken, left or 0, "the GPU")


def _on_delegate(
    found: Probe, path: str, backend: Backend, threads: int, timeout_s: float, own_ops: int
) -> Probe:
    """What the delegate took, counted where nothing else takes ops."""
    request = {
        "task": "taken",
        "paths": [path],
        "backend": backend.to_json(),
        "threads": threads,
        "own_ops": own_ops,
    }
    taken = process.ask(request, timeout_s=timeout_s)["taken_ops"]
    found = dataclasses.replace(found, accelerated_ops=taken, cpu_ops=own_ops - taken)
    return _split(found, taken, own_ops - taken, "the delegate")


def _split(found: Probe, taken: int, left: int, who: str) -> Probe:
    """The outcome that follows from how many ops were taken and left."""
    total = taken + left
    if taken == 0:
        reason = f"{who} took none of the file's {total} ops"
        return dataclasses.replace(found, outcome="unsupported", reason=reason)
    if left:
        reason = f"{who} took {taken} of the file's {total} ops, the CPU has the rest"
        return dataclasses.replace(found, outcome="partial", reason=reason)
    return found
