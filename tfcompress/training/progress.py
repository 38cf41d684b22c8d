"""A line for each stage and epoch, and on a terminal a bar for the steps of an epoch."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TextIO

from rich import progress
from rich.console import Console

from tfcompress.plain_text import spell_out, unfiltered
from tfcompress.training.context import TrainingContext


def say(stage: str, text: str) -> None:
    """Prints one line of a stage."""
    print(spell_out(f"{stage:<10} {text}"), flush=True)


class Progress:
    """Prints a training's progress and the time that is left.

    Args:
        stage: the first word of each line.
        epochs: how many there will be.
        stream: where to print; stdout if None.
    """

    def __init__(self, stage: str, epochs: int, stream: TextIO | None = None) -> None:
        self._stage = spell_out(stage)
        self._epochs = epochs
        self._stream = sys.stdout if stream is None else stream
        self._bar: progress.Progress | None = None
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
        if self._bar:
            self._bar.stop()
            self._bar = None
        self._stream.write(
            f"{self._stage:<10} epoch {number:>{len(str(self._epochs))}}/{self._epochs}  "
            f"loss {row['loss']:.3f}  {_judged(row)}{end}\n"
        )
        self._stream.flush()

    def step(self, epoch: int, step: int, steps: int) -> None:
        """On a terminal, draws a bar with the steps of the epoch and the time that it will take."""
        if not self._stream.isatty():
            return
        if self._bar is None:
            self._bar = _bar(Console(file=unfiltered(self._stream)))
            self._bar.add_task(f"{self._stage:<10} epoch {epoch}/{self._epochs}", total=steps)
            self._bar.start()
            # Who stops the training with Ctrl-C gets a terminal with a cursor.
            self._bar.console.show_cursor(True)
        self._bar.update(self._bar.task_ids[0], completed=step)
        now = time.monotonic()
        if now - self._shown > 0.2 or step == steps:
            self._shown = now
            self._bar.refresh()


def _judged(row: dict[str, float]) -> str:
    """Returns what a row says besides the loss, errors as percentages."""
    judged = [(name, value) for name, value in row.items() if name.startswith(("train_", "test_"))]
    return "".join(
        f"{name.replace('_', ' ')} "
        + (f"{value:6.2%}  " if name in ("train_error", "test_error") else f"{value:.4g}  ")
        for name, value in judged
    )


def with_progress(context: TrainingContext, stage: str, epochs: int) -> TrainingContext:
    """Returns the context of a training whose epochs and steps are printed as they end."""
    progress = Progress(stage, epochs)
    return dataclasses.replace(context, on_epoch=progress.epoch, on_step=progress.step)


def _bar(console: Console) -> progress.Progress:
    """Makes a bar that goes away when it is stopped, and is drawn by `refresh` alone."""
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TextColumn("step {task.completed}/{task.total}"),
        progress.TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def duration(seconds: float) -> str:
    """Writes seconds in the unit that reads best.

    >>> duration(48.2), duration(200), duration(7320)
    ('48 s', '3 min 20 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
