"""The measuring process: a JSON request on stdin, one JSON message a line on stdout.

`tfcompress.benchmark.process` starts it as `python -m tfcompress.benchmark.child`. It imports
ai_edge_litert and nothing heavier, for what it imports counts as memory.

Requests, each with `task` and, where a file runs, `paths`, `backend`, `threads` and `seed`:
    latency: all files in turns; `runs`, `min_seconds`, `max_seconds`
    probe: one file, once; `outputs` says whether the answer holds them
    taken: how many ops of one file the delegate replaced
    baseline: the memory of a process that only imports the runtime
    peak: the fastest matrix products of this machine; `dtypes`, `seconds`
    profile: the times of one file's ops; `xnnpack`, `runs`, `seconds`

Messages:
    {"stage": ..., "file": ...} says what is being done, so that a crash can be put down to it.
    {"stage": ..., "file": ..., "error": ...} ends a failed request.
    {"answer": {...}} ends a request.
"""

from __future__ import annotations

import base64
import gc
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.benchmark.runners import LiteRunner, Runner, load
from tfcompress.runtime.child import Reporter, Task, make_input, peak_memory_bytes, serve

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
# A matrix product of this size fits the caches and still keeps the multipliers busy.
PEAK_SIZE = 512
# What isn't freed before the process ends: a backend's clean-up may crash.
ALIVE: list[Runner] = []


def block_runs(fastest_s: float, runs: int) -> int:
    """Decides how often each file runs back to back in a round, with one count for all files.

    With a single run, a tiny model's round would mostly measure the caches that the file before
    left behind. The number of rounds stays at 20 or more, or at `runs` if that is less.

    Args:
        fastest_s: seconds of one inference of the fastest file.
        runs: timed runs asked for, per file.
    """
    wanted = math.ceil(BLOCK_SECONDS / max(fastest_s, 1e-9))
    return max(1, min(wanted, MAX_BLOCK_RUNS, runs // MIN_ROUNDS))


def rotated(count: int, by: int) -> list[int]:
    """Lists the numbers below `count`, beginning with `by`: so no file is always the first."""
    return [(index + by) % count for index in range(count)]


def load_runner(path: str, request: Mapping[str, Any]) -> Runner:
    """Loads a file on the request's backend."""
    return load(path, request["backend"], threads=request["threads"])


def measure_latency(request: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads all files, then runs them in turns.

    Returns:
        `loads_ns` and `firsts_ns`: per file, the times of its loads and of the first runs after
        them; `warmups_ns`: per file, the runs before the rounds; `rounds_ns`: per round, per file,
        the times of its runs; `block_runs`.
    """
    paths = request["paths"]
    loads_ns, firsts_ns = _time_loads(request, report)
    runners, warmups_ns = [], []
    for path in paths:
        report.stage("load", path)
        runner = load_runner(path, request)
        runner.feed(request["seed"])
        report.stage("warm-up", path)
        warmups_ns.append(_warm_up(runner))
        runners.append(runner)
    report.stage("timed runs", paths[0] if len(paths) == 1 else None)
    block = block_runs(min(map(min, warmups_ns)) / 1e9, request["runs"])
    return {
        "loads_ns": loads_ns,
        "firsts_ns": firsts_ns,
        "warmups_ns": warmups_ns,
        "rounds_ns": _time_rounds(runners, block, request),
        "block_runs": block,
    }


def _time_loads(
    request: Mapping[str, Any], report: Reporter
) -> tuple[list[list[int]], list[list[int]]]:
    """Times each file's loads, and the first runs after them; returns nanoseconds per file."""
    paths = request["paths"]
    clock = time.perf_counter_ns
    loads_ns: list[list[int]] = [[] for _ in paths]
    firsts_ns: list[list[int]] = [[] for _ in paths]
    for trial in range(1 + LOAD_TRIALS):
        for index in rotated(len(paths), trial):
            report.stage("load", paths[index])
            start = clock()
            runner = load_runner(paths[index], request)
            load_ns = clock() - start
            runner.feed(request["seed"])
            report.stage("first run", paths[index])
            start = clock()
            runner.invoke()
            first_ns = clock() - start
            # Freed before the next one: which memory is at hand changes a load's time fivefold.
            del runner
            # The first trial doesn't count: whichever file came first would pay for the page
            # cache and for the library's own start.
            if trial > 0:
                loads_ns[index].append(load_ns)
                firsts_ns[index].append(first_ns)
    return loads_ns, firsts_ns


def _warm_up(runner: Runner) -> list[int]:
    """Runs until caches and clock frequency have settled; returns each run's nanoseconds."""
    times_ns: list[int] = []
    began = time.perf_counter()
    while len(times_ns) < WARMUP_RUNS or time.perf_counter() - began < WARMUP_SECONDS:
        start = time.perf_counter_ns()
        runner.invoke()
        times_ns.append(time.perf_counter_ns() - start)
    return times_ns


def _time_rounds(
    runners: Sequence[Runner], block: int, request: Mapping[str, Any]
) -> list[list[list[int]]]:
    """Times files in turns; returns nanoseconds per round, per file, per run."""
    clock = time.perf_counter_ns
    enough_rounds = math.ceil(request["runs"] / block)
    rounds_ns: list[list[list[int]]] = []
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    while True:
        times: list[list[int]] = [[] for _ in runners]
        for index in rotated(len(runners), len(rounds_ns)):
            invoke = runners[index].invoke
            # Once untimed after each change of file: the caches held the other file's weights.
            invoke()
            for _ in range(block):
                start = clock()
                invoke()
                times[index].append(clock() - start)
        rounds_ns.append(times)
        spent = time.perf_counter() - began
        enough = len(rounds_ns) >= enough_rounds and (
            spent >= request["min_seconds"] or len(rounds_ns) >= MAX_EXTRA_ROUNDS
        )
        if enough or spent >= request["max_seconds"]:
            break
    gc.enable()
    return rounds_ns


def probe(request: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads one file and runs it once.

    Returns:
        `peak_memory_bytes`; `signature`, `because` and `slow`, as `LiteRunner` has them; and, if
        the request asks for them, `inputs` and `outputs`: per tensor its `place` in the file,
        `dtype`, `shape`, `data` (base64) and `quantization` (scale and zero point, or None).
    """
    (path,) = request["paths"]
    report.stage("load", path)
    runner = load_runner(path, request)
    ALIVE.append(runner)
    inputs = runner.feed(request["seed"])
    report.stage("first run", path)
    runner.invoke()
    # Before the outputs are copied: the copies aren't the file's.
    answer: dict[str, Any] = {"peak_memory_bytes": peak_memory_bytes()}
    answer["signature"] = runner.signature if isinstance(runner, LiteRunner) else None
    answer["because"] = runner.because if isinstance(runner, LiteRunner) else ""
    answer["slow"] = runner.slow if isinstance(runner, LiteRunner) else ""
    if request["outputs"]:
        report.stage("outputs", path)
        scales = runner.scales() if isinstance(runner, LiteRunner) else {}
        answer["inputs"] = _packed(inputs, {})
        answer["outputs"] = _packed(runner.outputs(), scales)
    return answer


def _packed(
    tensors: Mapping[int, np.ndarray], scales: Mapping[int, tuple[float, int]]
) -> list[dict[str, Any]]:
    """Turns tensors, by their place in the file, into JSON values."""
    return [
        {
            "place": place,
            "dtype": values.dtype.name,
            "shape": list(values.shape),
            "data": base64.b64encode(values.tobytes()).decode("ascii"),
            "quantization": [float(scale) for scale in scales[place]] if place in scales else None,
        }
        for place, values in tensors.items()
    ]


def count_taken_ops(request: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Loads one file with a delegate and without XNNPACK, and counts the ops that it took."""
    (path,) = request["paths"]
    report.stage("load", path)
    runner = LiteRunner(path, request["backend"], threads=request["threads"], delegate_only=True)
    ALIVE.append(runner)
    return {"taken_ops": runner.taken_ops(request["file_ops"])}


def baseline(_: Mapping[str, Any], __: Reporter) -> dict[str, Any]:
    """Measures the peak memory of a process that only imports the runtime."""
    import ai_edge_litert.interpreter  # noqa: F401  its memory is part of the baseline

    return {"peak_memory_bytes": peak_memory_bytes()}


def peak(request: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Measures the fastest matrix product of each type, in multiply-accumulates per second."""
    from ai_edge_litert.interpreter import Interpreter

    from tfcompress.benchmark.matmul import matmul_file

    macs_per_s = {}
    for dtype in request["dtypes"]:
        report.stage(f"{dtype} matrix product")
        content = matmul_file(dtype, PEAK_SIZE)
        interpreter = Interpreter(model_content=content, num_threads=request["threads"])
        interpreter.allocate_tensors()
        (details,) = interpreter.get_input_details()
        interpreter.set_tensor(details["index"], make_input(details, request["seed"]))
        interpreter.invoke()
        fastest_ns, began = math.inf, time.perf_counter()
        while time.perf_counter() - began < request["seconds"]:
            start = time.perf_counter_ns()
            interpreter.invoke()
            fastest_ns = min(fastest_ns, time.perf_counter_ns() - start)
        macs_per_s[dtype] = PEAK_SIZE**3 / fastest_ns * 1e9
    return {"macs_per_s": macs_per_s}


def profile(request: Mapping[str, Any], report: Reporter) -> dict[str, Any]:
    """Times one file's ops, as `tfcompress.benchmark.profiler.op_times` does."""
    from tfcompress.benchmark import profiler

    (path,) = request["paths"]
    report.stage("profile", path)
    return profiler.op_times(path, request)


TASKS: Mapping[str, Task] = {
    "latency": measure_latency,
    "probe": probe,
    "taken": count_taken_ops,
    "baseline": baseline,
    "peak": peak,
    "profile": profile,
}


if __name__ == "__main__":
    status = serve(TASKS)
    sys.stderr.flush()
    # Not by Python's own way out: a backend's clean-up may crash or hang, and the answer is given.
    os._exit(status)
