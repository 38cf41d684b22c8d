"""Runs files in a process of their own: JSON request on stdin, one JSON message a line on stdout.

`tfcompress.runtime.process` starts it as `python -m tfcompress.runtime.child`. It imports
ai_edge_litert and nothing heavier, for what it imports counts as memory.

Requests:
    {"task": "check", "paths": [...], "memory_bytes": 8e9} loads each file and runs it once, in at
     most so much memory.
    {"task": "memory", "paths": [one path, or none for the baseline], "threads": 1,
     "xnnpack": true, "seed": 0, "loads": 3} measures the peak memory, and then times 3 more loads.

Messages:
    {"stage": ..., "file": ...} says what is being done, so that a crash can be put down to it.
    {"stage": ..., "file": ..., "error": ...} ends a failed request.
    {"answer": {...}} ends a request.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import numpy as np

DEFAULTS: Mapping[str, Any] = {"threads": 1, "xnnpack": True, "seed": 0}


class Reporter:
    """Writes the protocol's messages and remembers what is being done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._current: dict[str, Any] = {"stage": "start", "file": None}

    def stage(self, name: str, file: str | None = None) -> None:
        """Announces what comes next."""
        self._current = {"stage": name, "file": file}
        self._write(self._current)

    def error(self, text: str) -> None:
        """Ends the request with an error in the announced stage."""
        self._write({**self._current, "error": text})

    def answer(self, values: dict[str, Any]) -> None:
        """Ends the request with its result."""
        self._write({"answer": values})

    def _write(self, message: dict[str, Any]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


def make_input(details: dict[str, Any], seed: int) -> np.ndarray:
    """Makes a fixed input for one tensor: standard normal if float, uniform if 8-bit, else zeros.

    Wider integers are mostly indices, for which a random number may be out of range.
    """
    import numpy as np

    shape, dtype = tuple(details["shape"]), np.dtype(details["dtype"])
    random = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return random.standard_normal(shape).astype(dtype)
    if dtype in (np.int8, np.uint8):
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return np.zeros(shape, dtype)


def load_interpreter(path: str, request: Mapping[str, Any]) -> Any:
    """Loads a file and allocates its tensors, with our delegate if the file needs it."""
    # Not above: larq-compute-engine's Python runs this file and has no tfcompress.
    from tfcompress.runtime.interpreter import open_file

    return open_file(
        path,
        threads=request["threads"],
        xnnpack=request["xnnpack"],
        signature=request.get("signature"),
    ).interpreter


def fill_inputs(interpreter: Any, seed: int) -> None:
    """Puts fixed values into an interpreter's inputs, where they stay from run to run."""
    for number, details in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(details["index"], make_input(details, seed + number))


def check(request: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads each file and runs it once.

    Returns:
        `errors`: for each file the runtime's error, or None if it ran; and `peak_memory_bytes`.
    """
    limit_memory(int(request["memory_bytes"]))
    errors: list[str | None] = []
    for path in request["paths"]:
        report.stage("load", path)
        try:
            interpreter = load_interpreter(path, {**DEFAULTS, **request})
            fill_inputs(interpreter, 0)
            report.stage("first run", path)
            interpreter.invoke()
            errors.append(None)
        except Exception as error:
            errors.append(one_line(error))
    return {"errors": errors, "peak_memory_bytes": peak_memory_bytes()}


def limit_memory(memory_bytes: int) -> None:
    """Bounds this process's memory: a wrong shape in a file could fill the machine's."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
    if hard_limit != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, hard_limit)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard_limit))


def measure_memory(request: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Measures the peak memory of loading one file and running it once, or of the runtime alone.

    Returns:
        `peak_memory_bytes`, and `load_ms`: the median time of the loads that follow, None if there
        are none. The first load isn't timed: it pays for the library's own start.
    """
    import ai_edge_litert.interpreter  # noqa: F401  its memory is part of the baseline

    for path in request["paths"][:1]:
        report.stage("load", path)
        interpreter = load_interpreter(path, request)
        fill_inputs(interpreter, request["seed"])
        report.stage("first run", path)
        interpreter.invoke()
        del interpreter
    peak = peak_memory_bytes()
    loads_ms = []
    for path in request["paths"][:1] * request.get("loads", 0):
        start = time.perf_counter()
        load_interpreter(path, request)
        loads_ms.append(1000 * (time.perf_counter() - start))
    return {
        "peak_memory_bytes": peak,
        "load_ms": statistics.median(loads_ms) if loads_ms else None,
    }


def peak_memory_bytes() -> int | None:
    """Returns the most memory that this process has held so far; None if the system doesn't say.

    Linux: VmHWM, the resident set's high-water mark. (getrusage would name the parent's peak if
    that was larger, for it survives exec.) macOS: ru_maxrss, in bytes there.
    """
    if sys.platform.startswith("linux"):
        try:
            with open("/proc/self/status", encoding="ascii", errors="replace") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            return None
        return None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def one_line(error: BaseException) -> str:
    """Returns an exception's type and text on one line of at most 1,000 characters.

    Whoever shows it passes it through `tfcompress.plain_text`, which isn't there in
    larq-compute-engine's Python.
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:1000]


Task = Callable[[Mapping[str, Any], Reporter], dict[str, Any]]


def serve(tasks: Mapping[str, Task]) -> int:
    """Answers the request on stdin and returns the exit status: 0, or 1 if a file failed."""
    # Native libraries may print to stdout: the messages get a descriptor of their own, and
    # whatever else is written to stdout goes to stderr.
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    report = Reporter(stream)
    request = json.load(sys.stdin)
    try:
        report.answer(tasks[request["task"]](request, report))
    except Exception as error:
        report.error(one_line(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve({"check": check, "memory": measure_memory}))
