"""The model card beside a file: what it is, how it is used, what was measured, what it can't do."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from tfcompress.report.headline import headline
from tfcompress.report.result import RunResult
from tfcompress.report.table import Row, rows
from tfcompress.tflite import compatibility, content, metadata
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.versions import oldest

# Rows of the comparison that say what a file costs, not how it came about.
_ROWS = ("accuracy of", "file size", "after gzip", "latency median", "peak memory", "MACs")


@dataclasses.dataclass(frozen=True)
class Card:
    """What a card says, as text.

    Attributes:
        title: the file's own name for itself.
        headline: the result in a sentence.
        file: the file's name.
        said: the file's metadata.
        takes: what goes into the file, and what it means.
        gives: what comes out.
        rows: the measurements beside the baseline's.
        needs: the oldest runtime that runs it.
        issues: what GPUs and other programs may refuse.
        result: the run.
    """

    title: str
    headline: str
    file: str
    said: Metadata
    takes: str
    gives: str
    rows: list[Row]
    needs: str
    issues: list[str]
    result: RunResult


def card(result: RunResult, folder: str | os.PathLike[str]) -> Card | None:
    """The card of a run's compressed file.

    Args:
        result: of the run.
        folder: where the run's files are.

    Returns:
        The card, or None if the file isn't there.
    """
    path = Path(folder) / result.compressed.path
    if not path.is_file():
        return None
    held = content.read(path)
    said = metadata.read(path) or Metadata()
    put, out = held.inputs[0], held.outputs[0]
    scaled = " with the file's own scale" if put.dtype in ("int8", "uint8") else ""
    normal = (
        f"(pixel - mean) / std of RGB pixels in 0..255, mean {_numbers(said.mean)}, "
        f"std {_numbers(said.std)}"
        if said.mean
        else "images, normalised as in training"
    )
    return Card(
        title=said.name or f"{result.model} on {result.dataset}",
        headline=headline(result),
        file=path.name,
        said=said,
        takes=f"{put.dtype} {'x'.join(map(str, put.shape))}: {normal}{scaled}",
        gives=f"{out.dtype} {'x'.join(map(str, out.shape))}: a score for each class",
        rows=[row for row in rows(result) if row.label.startswith(_ROWS)],
        needs=str(oldest(held)),
        issues=[
            f"{issue.who}: {issue.text}"
            for issue in (*compatibility.gpu(held), *compatibility.old(held))
        ],
        result=result,
    )


def _numbers(values: tuple[float, ...]) -> str:
    """Numbers for a reader; one if all are equal."""
    shown = values[:1] if len(set(values)) == 1 else values
    return ", ".join(f"{value:.5g}" for value in shown)
