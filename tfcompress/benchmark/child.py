"""The measuring process: a JSON request on stdin, one JSON message per line on stdout.

Run as `python -m tfcompress.benchmark.child`; `tfcompress.benchmark.process` does. It imports
ai_edge_litert and nothing heavier, for what it imports counts as memory.

Requests, each with `task` and, where a file runs, `paths`, `backend`, `threads` and `seed`:
    latency: all files in turns; `runs`, `min_seconds`, `max_seconds`
    probe: one file, once; `outputs` says whether the answer holds them
    taken: how many ops of one file the delegate replaced
    baseline: the memory of a process that only imports the runtime
    peak: the fastest matrix product of this process; `seconds`
    profile: the times of one file's ops; `xnnpack`, `runs`, `seconds`

Messages:
    {"stage": ..., "file": ...} says what is being done, so that a crash has a name.
    {"stage": ..., "file": ..., "error": ...} ends a failed request.
    {"answer": {...}} ends a request.
"""

from __future__ import annotations

import base64
import gc
import json
import math
import os
import sys
import time
from typing import Any, TextIO

from tfcompress.benchmark.runners import LiteRunner, Runner, load

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
# A matrix product of this size fits a core's caches and still keeps its multipliers busy.
PEAK_SIZE = 512
# What isn't freed before the process ends: a backend's clean-up may crash.
ALIVE: list[Runner] = []


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


def loaded(path: str, request: dict[str, Any]) -> Runner:
    """The file on the request's backend."""
    return load(path, request["backend"], threads=request["threads"])


def measure_latency(request: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads all files, then runs them in turns.

    Returns:
        `loads_ns` and `firsts_ns`: per file, the times of its loads and of the first runs after
        them; `warmups_ns`: per file, the runs before the rounds; `rounds_ns`: per round, per file,
        the times of its runs; `block_runs`.
    """
    paths = request["paths"]
    clock = time.perf_counter_ns
    loads_ns: list[list[int]] = [[] for _ in paths]
    firsts_ns: list[list[int]] = [[] for _ in paths]
    for trial in range(1 + LOAD_TRIALS):
        for index in rotated(len(paths), trial):
            report.stage("load", paths[index])
            start = clock()
            runner = loaded(paths[index], request)
            load_ns = clock() - start
            runner.feed(request["seed"])
            report.stage("first run", paths[index])
            start = clock()
            runner.invoke()
            first_ns = clock() - start
            # Freed before the next one: which memory is at hand changes a load's time fivefold.
            del runner
            # The first time of all isn't kept: whichever file came first would pay for the page
            # cache and for the library's own start.
            if trial > 0:
                loads_ns[index].append(load_ns)
                firsts_ns[index].append(first_ns)

    runners, warmups_ns = [], []
    for path in paths:
        report.stage("load", path)
        runner = loaded(path, request)
        runner.feed(request["seed"])
        report.stage("warm-up", path)
        warmups_ns.append(_warmed_up(runner))
        runners.append(runner)

    report.stage("timed runs", paths[0] if len(paths) == 1 else None)
    block = block_runs(min(map(min, warmups_ns)) / 1e9, request["runs"])
    wanted_rounds = math.ceil(request["runs"] / block)
    rounds_ns: list[list[list[int]]] = []
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    while True:
        times: list[list[int]] = [[] for _ in paths]
        for index in rotated(len(paths), len(rounds_ns)):
            invoke = runners[index].invoke
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
        "warmups_ns": warmups_ns,
        "rounds_ns": rounds_ns,
        "block_runs": block,
    }


def _warmed_up(runner: Runner) -> list[int]:
    """Runs until nothing is new any more; returns each run's nanoseconds."""
    times_ns: list[int] = []
    began = time.perf_counter()
    while len(times_ns) < WARMUP_RUNS or time.perf_counter() - began < WARMUP_SECONDS:
        start = time.perf_counter_ns()
        runner.invoke()
        times_ns.append(time.perf_counter_ns() - start)
    return times_ns


def probe(request: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads one file and runs it once.

    Returns:
        `peak_memory_bytes` and, if asked for, `outputs`: per output its `place` in the file,
        `dtype`, `shape`, `data` (base64) and `quantization` (scale and zero point, or None).
    """
    (path,) = request["paths"]
    report.stage("load", path)
    runner = loaded(path, request)
    ALIVE.append(runner)
    runner.feed(request["seed"])
    report.stage("first run", path)
    runner.invoke()
    # Before the outputs are copied: the copies aren't the file's.
    answer: dict[str, Any] = {"peak_memory_bytes": peak_memory_bytes()}
    if request["outputs"]:
        report.stage("outputs", path)
        scales = runner.scales() if isinstance(runner, LiteRunner) else {}
        answer["outputs"] = [
            {
                "place": place,
                "dtype": values.dtype.name,
                "shape": list(values.shape),
                "data": base64.b64encode(values.tobytes()).decode("ascii"),
                "quantization": [float(scale) for scale in scales[place]]
                if place in scales
                else None,
            }
            for place, values in runner.outputs().items()
        ]
    return answer


def taken(request: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads one file with a delegate and without XNNPACK, and counts what the delegate took."""
    (path,) = request["paths"]
    report.stage("load", path)
    runner = LiteRunner(path, request["backend"], threads=request["threads"], alone=True)
    ALIVE.append(runner)
    return {"taken_ops": runner.taken_ops(request["own_ops"])}


def baseline(_: dict[str, Any], __: Reporter) -> dict[str, Any]:
    """Imports the runtime and asks for the peak."""
    import ai_edge_litert.interpreter  # noqa: F401  its memory is part of the baseline

    return {"peak_memory_bytes": peak_memory_bytes()}


def peak(request: dict[str, Any], _: Reporter) -> dict[str, Any]:
    """The fastest of many float32 matrix products, in multiply-accumulates per second."""
    import numpy as np

    a = np.random.default_rng(0).standard_normal((PEAK_SIZE, PEAK_SIZE)).astype(np.float32)
    b, result = a.T.copy(), np.empty_like(a)
    fastest_ns, began = math.inf, time.perf_counter()
    while time.perf_counter() - began < request["seconds"]:
        start = time.perf_counter_ns()
        np.matmul(a, b, out=result)
        fastest_ns = min(fastest_ns, time.perf_counter_ns() - start)
    return {"macs_per_s": PEAK_SIZE**3 / fastest_ns * 1e9}


def profile(request: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """The times of one file's ops, as `tfcompress.benchmark.profiler.op_times` gives them."""
    from tfcompress.benchmark import profiler

    (path,) = request["paths"]
    report.stage("profile", path)
    return profiler.op_times(path, request)


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


TASKS = {
    "latency": measure_latency,
    "probe": probe,
    "taken": taken,
    "baseline": baseline,
    "peak": peak,
    "profile": profile,
}


def main() -> int:
    """Answers the request on stdin; 0 if it was answered, 1 if a file failed."""
    # Native libraries may print to stdout: the messages get a descriptor of their own, and
    # whatever else is written to stdout goes to stderr.
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    report = Reporter(stream)
    request = json.load(sys.stdin)
    try:
        report.answer(TASKS[request["task"]](request, report))
    except Exception as error:
        report.error(" ".join(f"{type(error).__name__}: {error}".split()))
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Not by Python's own way out: a backend's clean-up may crash or hang, and the answer is given.
    os._exit(status)
