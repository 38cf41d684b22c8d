"""Runs a target's inputs in forks of one process, and measures each input's time and memory.

A worker reads inputs one after another. What is counted is the worker's own: processor time, the
growth of its resident memory's peak, exceptions. Processes that the product starts to try a file in
are not part of it (`tests.fuzz.forked`). A worker that dies or hangs is a finding of the input that
it was at; the next worker goes on behind it.
"""

import dataclasses
import faulthandler
import gc
import json
import os
import pathlib
import random
import resource
import selectors
import signal
import subprocess
import tempfile
import time
import traceback

from tests.fuzz import forked, targets

# What an input may take of our own process.
SECONDS = 2.0
BYTES = 512 << 20
# Beyond this a worker's memory is refused by the system: no input may fill the machine's.
_MOST_BYTES = 6 << 30
# A worker that uses no processor time hangs as well.
_HANG_SECONDS = 90.0
_BATCH = 400
# Inputs of targets that start processes for which these are started as a user's are.
_REAL_EVERY = 350
_KEPT_OF_A_KIND = 3


@dataclasses.dataclass
class Summary:
    """What became of a target's inputs."""

    target: str
    wanted: int
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    found: int = 0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    children: int = 0
    children_crashed: int = 0
    children_stopped: int = 0
    kinds: dict[str, int] = dataclasses.field(default_factory=dict)


def rng_of(target: str, seed: int, number: int) -> random.Random:
    """The generator of one input: it is the same whatever came before."""
    return random.Random(f"{seed} {target} {number}")


def run(target, *, seed, numbers, seconds, keep, say=print) -> Summary:
    """Reads a target's inputs, as many as the time allows.

    Args:
        target: one of `targets.TARGETS`.
        seed: of the campaign.
        numbers: of the inputs.
        seconds: after so many no further worker is started.
        keep: the folder for findings.
        say: prints a line.
    """
    summary = Summary(target.name, len(numbers))
    target.prepare()
    gc.collect()
    gc.freeze()
    begun = said = time.monotonic()
    left = list(numbers)
    while left and time.monotonic() - begun < seconds:
        batch = left[:_BATCH]
        done = _batch(target, seed, batch, summary, keep, begun + seconds)
        left = left[done:]
        if time.monotonic() - said > 20:
            said = time.monotonic()
            say(f"{target.name:<10} {summary.inputs:>7,} of {summary.wanted:,} inputs, "
                f"{summary.found} findings")  # fmt: skip
    return summary


def _batch(target, seed, batch, summary, keep, end) -> int:
    """Reads some inputs in one worker, and returns how many it came through."""
    reader, writer = os.pipe()
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # Disks take longer than readers.
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder:
        log = pathlib.Path(folder) / "stderr"
        worker = os.fork()
        if worker == 0:
            os.close(reader)
            _work(target, seed, batch, pathlib.Path(folder), writer, end)
        os.close(writer)
        done, hung = 0, False
        with selectors.DefaultSelector() as selector, open(reader, "rb", buffering=0) as pipe:
            selector.register(pipe, selectors.EVENT_READ)
            rest = b""
            while True:
                if not selector.select(_HANG_SECONDS):
                    hung = True
                    os.kill(worker, signal.SIGKILL)
                part = pipe.read(1 << 16)
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    _count(target, seed, batch[done], json.loads(line), summary, keep)
                    done += 1
                if not part:
                    break
        status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if status == 0:
            return done if done == len(batch) else max(done, 1)
        said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    how = f"no result after {_HANG_SECONDS:g} s" if hung else _how(status)
    fate = {"fate": "found", "kind": how, "text": said, "seconds": 0.0, "bytes": 0}
    _count(target, seed, batch[done], fate, summary, keep)
    return done + 1


def _how(status: int) -> str:
    if status == -signal.SIGPROF:
        return f"more than {SECONDS:g} s"
    return f"the process ended with {signal.Signals(-status).name if status < 0 else status}"


def _count(target, seed, number, result, summary, keep) -> None:
    """Adds one result to the summary, and keeps the input of a finding."""
    summary.inputs += 1
    summary.slowest_s = max(summary.slowest_s, result["seconds"])
    summary.peak_bytes = max(summary.peak_bytes, result["bytes"])
    for name in ("children", "children_crashed", "children_stopped"):
        setattr(summary, name, getattr(summary, name) + result.get(name, 0))
    if result["fate"] != "found":
        setattr(summary, result["fate"], getattr(summary, result["fate"]) + 1)
        return
    summary.found += 1
    count = summary.kinds[result["kind"]] = summary.kinds.get(result["kind"], 0) + 1
    if count > _KEPT_OF_A_KIND:
        return
    keep.mkdir(parents=True, exist_ok=True)
    data = target.make(rng_of(target.name, seed, number))
    path = keep / f"{target.name}-{seed}-{number}{pathlib.Path(target.file).suffix}"
    path.write_bytes(data)
    again = f".venv/bin/python -m tests.fuzz --target={target.name} --seed={seed} --only={number}"
    path.with_suffix(".txt").write_text(f"{result['kind']}\n\n{again}\n\n{result['text']}\n",
                                        errors="backslashreplace")  # fmt: skip


def _work(target, seed, batch, folder, writer, end) -> None:
    """Is the worker: writes a line of JSON for each input, and never returns."""
    from tfcompress.runtime import process

    log = os.open(folder / "stderr", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDWR)
    for number, descriptor in ((0, null), (1, log), (2, log)):
        os.dup2(descriptor, number)
    faulthandler.enable(log)  # Says in what native code crashed.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _status("VmSize") + _MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    for number in batch:
        os.truncate(log, 0)
        process.subprocess = subprocess if number % _REAL_EVERY == 7 else forked.Subprocess
        result = measured(target, rng_of(target.name, seed, number), folder / "input")
        os.write(writer, (json.dumps(result) + "\n").encode())
        if result["bytes"] > BYTES or time.monotonic() > end:
            break  # What it took would hide the next one's.
    os._exit(0)


def measured(target, rng, folder) -> dict:
    """Reads one input and says what became of it, in JSON's values."""
    data = target.make(rng)
    targets.clear(folder)
    path = folder / target.file
    path.write_bytes(data)
    forked.counts.__init__()
    del data
    before = _forget_peak()
    used = time.process_time()
    # Ends the process, whatever code is running.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    kind = text = ""
    try:
        fate = target.read(path, rng)
    except BaseException as error:
        fate, kind, text = "found", _place(error), "".join(traceback.format_exception(error))
    signal.setitimer(signal.ITIMER_PROF, 0)
    used = time.process_time() - used
    grown = max(0, _status("VmHWM") - before)
    if fate != "found" and grown > BYTES:
        fate, kind, text = "found", f"more than {BYTES >> 20} MB", f"{grown >> 20} MB"
    return {
        "fate": fate,
        "kind": kind,
        "text": text[-6000:],
        "seconds": used,
        "bytes": grown,
        "children": forked.counts.started,
        "children_crashed": forked.counts.crashed,
        "children_stopped": forked.counts.stopped,
    }


def _place(error: BaseException) -> str:
    """Names an exception and the last line of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/tfcompress/" in frame.filename] or frames
    last = ours[-1]
    name = type(error).__name__
    if isinstance(error, targets.Broken):
        name += f" {str(error)[:40]}"
    return f"{name} at {pathlib.Path(last.filename).name}:{last.lineno} {last.name}"


def _status(name: str) -> int:
    """A number of bytes of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{name}:"))


def _forget_peak() -> int:
    """Makes the peak of resident memory what it is now, and returns it."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return _status("VmHWM")
