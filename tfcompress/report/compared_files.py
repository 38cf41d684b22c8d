"""Compares `.tflite` files in one table: size; on images accuracy and agreement, or a metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tfcompress.metric import Metric
from tfcompress.report.render import csv_text, markdown_cell, render_template
from tfcompress.report.table import MISSING, factor, kibibytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A file beside the first one. None stands for what wasn't or can't be measured.

    Attributes:
        number: the line's.
        file: its path.
        takes: types and shapes of its inputs.
        size_bytes: its size.
        size_ratio: that divided by the first file's.
        accuracy: share of images with a known label that it classifies rightly.
        agreement: share of images with the first file's label.
        largest_difference: of a probability from the first file's.
        metric: by which it is judged on a data set.
        value: the metric's.
        relative_rms: rms of the outputs' differences from the first file's as a share of theirs.
    """

    number: int
    file: str
    takes: str
    size_bytes: int
    size_ratio: float
    accuracy: float | None = None
    agreement: float | None = None
    largest_difference: float | None = None
    metric: Metric | None = None
    value: float | None = None
    relative_rms: float | None = None

    @property
    def metric_name(self) -> str:
        """What stands under `value`."""
        return self.metric.name if self.metric is not None else ""


# Header and key of a column, and its text for people; the first are of all files, the others are
# taken on images.
_OF_FILES: tuple[tuple[str, str, Callable[[Line], str]], ...] = (
    ("no.", "number", lambda line: str(line.number)),
    ("file", "file", lambda line: line.file),
    ("input", "takes", lambda line: line.takes),
    ("size, KiB", "size_bytes", lambda line: kibibytes(line.size_bytes)),
    ("size ratio", "size_ratio", lambda line: factor(line.size_ratio)),
)
_ON_IMAGES: tuple[tuple[str, str, Callable[[Line], str]], ...] = (
    ("accuracy, %", "accuracy", lambda line: _percent(line.accuracy)),
    ("same label as 1, %", "agreement", lambda line: _percent(line.agreement)),
    (
        "largest difference",
        "largest_difference",
        lambda line: MISSING if line.largest_difference is None
        else f"{line.largest_difference:.3g}",
    ),
)  # fmt: skip
_ON_DATA: tuple[tuple[str, str, Callable[[Line], str]], ...] = (
    ("metric", "metric_name", lambda line: line.metric_name),
    ("value", "value", lambda line: line.metric.text(line.value) if line.metric else MISSING),
    (
        "differs from 1, rms",
        "relative_rms",
        lambda line: MISSING if line.relative_rms is None else f"{100 * line.relative_rms:.2g}%",
    ),
)
_TEXT = 3  # The columns before the first number.


def note(images: int, labelled: int) -> str:
    """Says what the figures were taken on.

    Args:
        images: how many; 0 for none.
        labelled: how many of them lie in a folder named as a class.
    """
    if not images:
        return (
            "Ratios are to the first file. For accuracy and agreement give --images=FOLDER: any "
            "images, in folders named as the labels where there are any."
        )
    counted = f"accuracy on {labelled:,} in folders named as a label" if labelled else (
        "no accuracy, for no folder is named as a label of the files"
    )  # fmt: skip
    return (
        f"On {images:,} images, {counted}. Ratios, labels and differences (of a probability) are "
        "to the first file."
    )


def note_on_data(dataset: str, examples: int, metric: Metric) -> str:
    """Says what the figures were taken on.

    Args:
        dataset: its name.
        examples: how many were held out.
        metric: by which the files are judged.
    """
    better = "higher" if metric.higher_is_better else "lower"
    return (
        f"On {examples:,} held-out examples of {dataset}; {better} is better. Ratios, and the rms "
        "of the differences as a share of the outputs', are to the first file."
    )


def markdown(lines: Sequence[Line], about: str) -> str:
    """Writes the lines as a Markdown table with a note."""
    columns = _columns(lines)
    headers = [header for header, *_ in columns]
    rules = ["---" if 0 < at < _TEXT else "---:" for at in range(len(columns))]
    rows = [[markdown_cell(text(line)) for *_, text in columns] for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headers, rules, *rows]) + f"\n\n{about}\n"


def comma_separated(lines: Sequence[Line], about: str) -> str:
    """Writes the lines as CSV; what wasn't measured is left empty."""
    keys = [key for _, key, _ in _columns(lines)]
    return csv_text([keys, *([getattr(line, key) for key in keys] for line in lines)])


def html(lines: Sequence[Line], about: str) -> str:
    """Writes the lines as a self-contained page."""
    columns = _columns(lines)
    return render_template(
        "compare_files.html.j2",
        autoescape=True,
        headers=[header for header, *_ in columns],
        rows=[[text(line) for *_, text in columns] for line in lines],
        text_columns=_TEXT,
        note=about,
    )


def _columns(lines: Sequence[Line]) -> tuple[tuple[str, str, Callable[[Line], str]], ...]:
    """Returns the columns that have something to say."""
    on_images = any(line.agreement is not None for line in lines)
    on_data = any(line.metric is not None for line in lines)
    return (*_OF_FILES, *(_ON_IMAGES if on_images else ()), *(_ON_DATA if on_data else ()))


def _percent(share: float | None) -> str:
    """Writes a share in percent."""
    return MISSING if share is None else f"{100 * share:.2f}"
