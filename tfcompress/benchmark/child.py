"""The measuring process: a JSON request on stdin, one JSON message per line on stdout.

Run as `python -m tfcompress.benchmark.child`; `tfcompress.benchmark.process` does. It imports
ai_edge_litert and nothing heavier, for what it imports counts as memory.

Requests:
    {"task": "latency", "paths": [...], "threads": 1, "xnnpack": true, "runs": 200,
     "min_seconds": 1.0, "max_seconds": 150.0, "seed": 0}
    {"task": "memory", "paths": [one path, or none for the baseline], "threads": 1,
     "xnnpack": true, "seed": 0}

Messages:
    {"stage": ..., "file": ...} says what is being done, so that a crash has a name.
    {"stage": ..., "file": ..., "error": ...} ends a failed request.
    {"answer": {...}} ends a request.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import numpy as np

WARMUP_RUNS = 3
WARMUP_SECONDS = 0.1
# Timed loads of each file, each followed by a first run.
LOAD_TRIALS = 3
# Back-to-back runs of one file in a round: enough to fill this long, but never more than that many.
BLOCK_SECONDS = 0.005
MAX_BLOCK_RUNS = 10
# A ratio's spread over rounds says something only if there are some.
MIN_ROUNDS = 20
# Where `min_seconds` asks for more rounds than `runs` does: a 1 us model would do 50,000 in 1 s.
MAX_EXTRA_ROUNDS = 2000


class Reporter:
    """Writes the protocol's messages and remembers what is being done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._at: dict[str, Any] = {"stage": "start", "file": None}

    def stage(self, name: str, file: str | None = None) -> None:
        """Announces what comes next."""
        self._at = {"stage": name, "file": file}
        self._write(self._at)

    def error(self, text: str) -> None:
        """Ends the request with a failure of the announced stage."""
        self._write({**self._at, "error": text})

    def answer(self, values: dict[str, Any]) -> None:
        """Ends the request."""
        self._write({"answer": values})

    def _write(self, message: dict[str, Any]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


def block_runs(fastest_s: float, runs: int) -> int:
    """How often each file runs back to back in a round: one count for all files of a request.

    A tiny model's round would mostly measure the caches that the other file left behind. The
    number of rounds stays at 20 or more, or at `runs` if that is less.

    Args:
        fastest_s: seconds of one inference of the fastest file.
        runs: timed runs asked for, per file.
    """
    wanted = math.ceil(BLOCK_SECONDS / max(fastest_s, 1e-9))
    return max(1, min(wanted, MAX_BLOCK_RUNS, runs // MIN_ROUNDS))


def rotated(count: int, by: int) -> list[int]:
    """The numbers below `count`, beginning `by` places further: no file is always the first."""
    return [(index + by) % count for index in range(count)]


def filling(details: dict[str, Any], seed: int) -> np.ndarray:
    """A fixed input for one tensor: standard normal if float, uniform if 8-bit, else zeros.

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


def loaded(path: str, request: dict[str, Any]) -> Any:
    """An interpreter with its tensors allocated."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        path,
        num_threads=request["threads"],
        experimental_op_resolver_type=OpResolverType.AUTO
        if request["xnnpack"]
        else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def fed(interpreter: Any, seed: int) -> Any:
    """The interpreter with fixed values in its inputs, which stay there from run to run."""
    for number, details in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(details["index"], filling(details, seed + number))
    return interpreter


def measure_latency(request: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads all files, then runs them in turns.

    Returns:
        `loads_ns` and `firsts_ns`: per file, the times of its loads and of the first runs after
        them; `rounds_ns`: per round, per file, the times of its runs; `block_runs`.
    """
    paths = request["paths"]
    clock = time.perf_counter_ns
    loads_ns: list[list[int]] = [[] for _ in paths]
    firsts_ns: list[list[int]] = [[] for _ in paths]
    for trial in range(1 + LOAD_TRIALS):
        for index in rotated(len(paths), trial):
            report.stage("load", paths[index])
            start = clock()
            interpreter = loaded(paths[index], request)
            load_ns = clock() - start
            fed(interpreter, request["seed"])
            report.stage("first run", paths[index])
            start = clock()
            interpreter.invoke()
            first_ns = clock() - start
            # Freed before the next one: which memory is at hand changes a load's time fivefold.
            del interpreter
            # The first time of all isn't kept: whichever file came first would pay for the page
            # cache and for the library's own start.
            if trial > 0:
                loads_ns[index].append(load_ns)
                firsts_ns[index].append(first_ns)

    interpreters, warm_s = [], []
    for path in paths:
        report.stage("load", path)
        interpreters.append(fed(loaded(path, request), request["seed"]))
        report.stage("warm-up", path)
        warm_s.append(_warmed_up(interpreters[-1]))

    report.stage("timed runs")
    block = block_runs(min(warm_s), request["runs"])
    wanted_rounds = math.ceil(request["runs"] / block)
    rounds_ns: list[list[list[int]]] = []
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    while True:
        times: list[list[int]] = [[] for _ in paths]
        for index in rotated(len(paths), len(rounds_ns)):
            invoke = interpreters[index].invoke
            # Once untimed after each change of file: the caches held the other file's weights.
            invoke()
            for _ in range(block):
                start = clock()
                invoke()
                times[index].append(clock() - start)
        rounds_ns.append(times)
        spent = time.perf_counter() - began
        enough = len(rounds_ns) >= wanted_rounds and (
            spent >= request["min_seconds"] or len(rounds_ns) >= MAX_EXTRA_ROUNDS
        )
        if enough or spent >= request["max_seconds"]:
            break
    gc.enable()
    return {
        "loads_ns": loads_ns,
        "firsts_ns": firsts_ns,
        "rounds_ns": rounds_ns,
        "block_runs": block,
    }


def _warmed_up(interpreter: Any) -> float:
    """Runs until nothing is new any more; returns the fastest run's seconds."""
    fastest, runs, began = math.inf, 0, time.perf_counter()
    while runs < WARMUP_RUNS or time.perf_counter() - began < WARMUP_SECONDS:
        start = time.perf_counter()
        interpreter.invoke()
        fastest = min(fastest, time.perf_counter() - start)
        runs += 1
    return fastest


def measure_memory(request: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads one file and runs it once, or only imports the runtime; then asks for the peak."""
    import ai_edge_litert.interpreter  # noqa: F401  its memory is part of the baseline

    for path in request["paths"][:1]:
        report.stage("load", path)
        interpreter = fed(loaded(path, request), request["seed"])
        report.stage("first run", path)
        interpreter.invoke()
    return {"peak_memory_bytes": peak_memory_bytes()}


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held so far; None where the system doesn't say.

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


def main() -> int:
    """Answers the request on stdin; 0 if it was answered, 1 if a file failed."""
    # Native libraries may print to stdout: the messages get a descriptor of their own, and
    # whatever else is written to stdout goes to stderr.
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    report = Reporter(stream)
    tasks = {"latency": measure_latency, "memory": measure_memory}
    request = json.load(sys.stdin)
    try:
        report.answer(tasks[request["task"]](request, report))
    except Exception as error:
        report.error(" ".join(f"{type(error).__name__}: {error}".split()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
