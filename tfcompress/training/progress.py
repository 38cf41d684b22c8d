"""A line for each stage and epoch, and on a terminal one that counts the steps."""

from __future__ import annotations

import sys
import time
from typing import TextIO


def say(stage: str, text: str) -> None:
    """Prints one line of a stage."""
    print(f"{stage:<10} {text}", flush=True)


class Progress:
    """Prints how training goes on and how long it will take.

    Args:
        stage: the first word of each line.
        epochs: how many there will be.
        stream: where to print; stdout if None.
    """

    def __init__(self, stage: str, epochs: int, stream: TextIO | None = None) -> None:
        self._stage = stage
        self._epochs = epochs
        self._stream = sys.stdout if stream is None else stream
        self._live = self._stream.isatty()
        self._shown = 0.0
        self._seconds: list[float] = []

    def epoch(self, row: dict[str, float]) -> None:
        """Prints the row of `training.fit` for a finished epoch."""
        number = int(row["epoch"])
        self._seconds.append(row["seconds"])
        # The latest epochs tell best: the first one also compiles.
        recent = self._seconds[-3:]
        left = (self._epochs - number) * sum(recent) / len(recent)
        end = (
            f"{row['seconds']:.1f} s, {duration(left)} left" if left else f"{row['seconds']:.1f} s"
        )
        self._line(
            f"{self._stage:<10} epoch {number:>{len(str(self._epochs))}}/{self._epochs}  "
            f"loss {row['loss']:.3f}  train error {row['train_error']:6.2%}  "
            f"test error {row['test_error']:6.2%}  {end}",
            "\n",
        )

    def step(self, epoch: int, step: int, steps: int) -> None:
        """On a terminal, overwrites one line, a few times a second."""
        now = time.monotonic()
        if self._live and (now - self._shown > 0.2 or step == steps):
            self._shown = now
            self._line(f"{self._stage:<10} epoch {epoch}/{self._epochs}  step {step}/{steps}", "\r")

    def _line(self, text: str, end: str) -> None:
        clear = "\r\033[K" if self._live else ""
        self._stream.write(f"{clear}{text}{end}")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best.

    >>> duration(48.2), duration(200), duration(7320)
    ('48 s', '3 min 20 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
