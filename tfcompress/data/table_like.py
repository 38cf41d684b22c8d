"""Makes a table's inputs as those of another table were made, whatever else stands in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcompress.data.source import Request
from tfcompress.errors import require

if TYPE_CHECKING:
    import numpy as np

    from tfcompress.data.examples import Examples
    from tfcompress.data.table import Column, Layout


def unlabelled(request: Request, data: Any) -> Examples:
    """Reads a table without targets, its inputs made as those of other data were.

    Args:
        request: of the source `csv:`.
        data: with the inputs' columns under `preparation`.

    Raises:
        InputError: the data aren't of a table, or the file can't be used.
    """
    from tfcompress.data.examples import Examples
    from tfcompress.data.protocol import Batch
    from tfcompress.data.table import existing_file

    file = existing_file(request.path, "a CSV file")
    columns = getattr(data, "preparation", {}).get("columns", ())
    require(
        bool(columns),
        f"transfer set {request.name} is a table, and {data.name} is none whose columns are known",
    )
    rows = rows_like(file, request.options.layout(), columns)
    return Examples(train=Batch(rows), name=request.name, units="rows", source=str(file))


def rows_like(file: Path, layout: Layout, columns: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns the inputs of a table without targets: float32 (rows, inputs).

    Args:
        file: CSV with the columns' names in its first line; others than those needed are ignored.
        layout: how its text is to be read.
        columns: how each input of the other table was made, as `csv:` has it under `preparation`.

    Raises:
        InputError: a column is missing, or has a cell that can't be used.
    """
    import numpy as np

    from tfcompress.data.table import read_header, read_table

    names = read_header(file, layout)
    wanted = [column["name"] for column in columns]
    missing = [name for name in wanted if name not in names]
    require(not missing, f"{file} has no column '{''.join(missing[:1])}', which is an input")
    texts = [column["name"] for column in columns if "one_hot" in column or "codes" in column]
    ignored = [name for name in names if name not in wanted]
    table = read_table(file, layout, ignore=ignored, as_text=texts)
    read = {column.name: column for column in table}
    parts = [_inputs(file, read[how["name"]], how) for how in columns]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _inputs(file: Path, column: Column, how: Mapping[str, Any]) -> np.ndarray:
    """Returns what becomes of one column: (rows, inputs)."""
    import numpy as np

    known = how.get("one_hot", how.get("codes"))
    if known is None:
        require(column.words is None, f"{file}: column '{column.name}' is text, not numbers")
        values = column.values
        require(
            "fill" in how or not column.missing.any(),
            f"{file} line {column.first_missing}, column '{column.name}': the cell is empty",
        )
        values = np.where(column.missing, how.get("fill", 0.0), values)
    else:
        places = {word: at for at, word in enumerate(known)}
        of_words = np.array([places.get(word, -1) for word in column.words or ()] + [-1])
        values = of_words[column.values]
        if "one_hot" in how:
            return (values[:, None] == np.arange(len(known))).astype(np.float32)
    scaled: np.ndarray = (values - how.get("mean", 0.0)) / how.get("std", 1.0)
    return scaled[:, None]
