"""Times files in turns, on the machine that exports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfcompress.runtime.interpreter import open_file

# Rounds of the timing, and seconds after which it ends earlier.
_ROUNDS = 25
_SECONDS = 1.0


def seconds_in_turns(paths: Sequence[Path]) -> list[float]:
    """Returns each file's least seconds for one run on random inputs, on one thread.

    Whatever else the machine does only adds to a run's time, by much more than files differ: what
    is written mustn't follow from that.

    Args:
        paths: of files with one input, of floats or integers.
    """
    interpreters = [open_file(path, threads=1, xnnpack=True).interpreter for path in paths]
    random = np.random.default_rng(0)
    for interpreter in interpreters:
        (entry,) = interpreter.get_input_details()
        values = random.random(entry["shape"], np.float32)
        if entry["dtype"] != np.float32:
            values = 100 * values
        interpreter.set_tensor(entry["index"], values.astype(entry["dtype"]))
    times: list[list[float]] = [[] for _ in interpreters]
    end = time.perf_counter() + _SECONDS
    for _ in range(_ROUNDS):
        for interpreter, taken in zip(interpreters, times, strict=True):
            start = time.perf_counter()
            interpreter.invoke()
            taken.append(time.perf_counter() - start)
        if time.perf_counter() > end and len(times[0]) > 2:
            break
    return [min(taken[1:]) for taken in times]  # The first one warms up.
