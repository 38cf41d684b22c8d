"""Makes the model card of a file: what it is, how it is used, what was measured, its limits."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from tfcompress.report.headline import headline
from tfcompress.report.result import RunResult
from tfcompress.report.table import Row, comparison, headers
from tfcompress.tflite import compatibility, content, metadata
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.versions import oldest

# How the rows begin that say what a file costs, and not how it was made.
_ROWS = ("accuracy of", "file size", "after gzip", "latency median", "peak memory", "MACs")


@dataclasses.dataclass(frozen=True)
class Card:
    """What a card says, as text.

    Attributes:
        title: the name in the file's metadata, or else the model's and the data set's.
        headline: the result in a sentence.
        file: the file's name.
        metadata: the file's metadata.
        input: type, shape and meaning of the input.
        output: type, shape and meaning of the output.
        headers: of the table of measurements.
        rows: the measurements beside the baseline's.
        runtime: the oldest runtime that runs the file.
        issues: what GPUs and other programs may refuse.
        result: the run.
    """

    title: str
    headline: str
    file: str
    metadata: Metadata
    input: str
    output: str
    headers: list[str]
    rows: list[Row]
    runtime: str
    issues: list[str]
    result: RunResult


def model_card(result: RunResult, folder: str | os.PathLike[str]) -> Card | None:
    """Makes the card of a run's compressed file, the first where there are several.

    Args:
        result: of the run.
        folder: the folder of the run's files.

    Returns:
        The card, or None if the file isn't there.
    """
    path = Path(folder) / (result.files[0].path if result.files else "none")
    if not path.is_file():
        return None
    single = len(result.files) == 1
    file = content.read(path)
    file_metadata = metadata.read(path) or Metadata()
    inputs, outputs = file.inputs[0], file.outputs[0]
    scaled = " with the file's own scale" if inputs.dtype in ("int8", "uint8") else ""
    normalisation = (
        f"(pixel - mean) / std of RGB pixels in 0..255, mean {_numbers(file_metadata.mean)}, "
        f"std {_numbers(file_metadata.std)}"
        if file_metadata.mean
        else "images, normalised as in training"
    )
    return Card(
        title=file_metadata.name or f"{result.model} on {result.dataset}",
        headline=headline(result),
        file=path.name,
        metadata=file_metadata,
        input=f"{inputs.dtype} {'x'.join(map(str, inputs.shape))}: {normalisation}{scaled}",
        output=f"{outputs.dtype} {'x'.join(map(str, outputs.shape))}: a score for each class",
        headers=["", "baseline, float32", "this file", "ratio or change"]
        if single
        else headers(result),
        rows=[row for row in comparison(result) if row.label.startswith(_ROWS)],
        runtime=str(oldest(file)),
        issues=[
            f"{issue.who}: {issue.text}"
            for issue in (*compatibility.gpu(file), *compatibility.old(file))
        ],
        result=result,
    )


def _numbers(values: tuple[float, ...]) -> str:
    """Writes numbers for a reader; a single one if all are equal."""
    shown = values[:1] if len(set(values)) == 1 else values
    return ", ".join(f"{value:.5g}" for value in shown)
