"""Makes the model card of a file: what it is, how it is used, what was measured, its limits."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from tfcompress.report.headline import headline
from tfcompress.report.result import RunResult
from tfcompress.report.table import Row, comparison, headers
from tfcompress.tflite import compatibility, content, metadata, signatures
from tfcompress.tflite.content import FileContent, Tensor
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.versions import oldest

# How the rows begin that say what a file costs, and not how it was made.
_ROWS = ("file size", "after gzip", "latency median", "peak memory", "MACs")
# How those end that say what it is worth.
_WORTH = " of the file"


@dataclasses.dataclass(frozen=True)
class Card:
    """What a card says, as text.

    Attributes:
        title: the name in the file's metadata, or else the model's and the data set's.
        headline: the result in a sentence.
        file: the file's name.
        metadata: the file's metadata.
        images: whether it classifies images.
        inputs: type, shape and meaning of each input.
        outputs: likewise of each output.
        call: what a program calls the file with, as Python.
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
    images: bool
    inputs: list[str]
    outputs: list[str]
    call: str
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
    images = result.examples == "images"
    names = _names(path, file)
    return Card(
        title=file_metadata.name or f"{result.model} on {result.dataset}",
        headline=headline(result),
        file=path.name,
        metadata=file_metadata,
        images=images,
        inputs=_inputs(file, names[0], file_metadata, images),
        outputs=[
            f"{_shown(tensor)}: a score for each class" if images else f"{name}{_shown(tensor)}"
            for name, tensor in zip(names[1], file.outputs, strict=True)
        ],
        call="x" if len(file.inputs) == 1 else _by_name(names[0]),
        headers=["", "baseline, float32", "this file", "ratio or change"]
        if single
        else headers(result),
        rows=[
            row
            for row in comparison(result)
            if row.label.startswith(_ROWS) or row.label.endswith(_WORTH)
        ],
        runtime=str(oldest(file)),
        issues=[
            f"{issue.who}: {issue.text}"
            for issue in (*compatibility.gpu(file), *compatibility.old(file))
        ],
        result=result,
    )


def _names(path: Path, file: FileContent) -> list[list[str]]:
    """Returns what stands before each input and output: its name where there are several."""
    shown = []
    for tensors, by_tensor in zip(
        (file.inputs, file.outputs), signatures.io_names(path, None), strict=True
    ):
        known = [name for names in by_tensor.values() for name in names]
        names = known if len(known) == len(tensors) else [tensor.name for tensor in tensors]
        shown.append([f"'{name}' " if len(tensors) > 1 else "" for name in names])
    return shown


def _by_name(names: list[str]) -> str:
    """Writes a dictionary of inputs as Python."""
    return "{" + ", ".join(f"{name.strip()}: ..." for name in names) + "}"


def _inputs(file: FileContent, names: list[str], known: Metadata, images: bool) -> list[str]:
    """Says what goes into the file."""
    meaning = "as the Keras model takes it"
    if images:
        meaning = (
            f"(pixel - mean) / std of RGB pixels in 0..255, mean {_numbers(known.mean)}, "
            f"std {_numbers(known.std)}"
            if known.mean
            else "images, normalised as in training"
        )
    scale = " with the file's own scale"
    return [
        f"{name}{_shown(tensor)}: {meaning}{scale if tensor.dtype in ('int8', 'uint8') else ''}"
        for name, tensor in zip(names, file.inputs, strict=True)
    ]


def _shown(tensor: Tensor) -> str:
    """Writes a tensor's type and shape."""
    return f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}"


def _numbers(values: tuple[float, ...]) -> str:
    """Writes numbers for a reader; a single one if all are equal."""
    shown = values[:1] if len(set(values)) == 1 else values
    return ", ".join(f"{value:.5g}" for value in shown)
