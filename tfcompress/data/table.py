"""Reads tables from CSV files: columns of numbers and columns of text.

A file is passed through twice, a row at a time: first to tell numbers from text, then to keep the
cells as arrays. What a row costs in memory is 8 bytes a column.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from tfcompress.errors import InputError, require
from tfcompress.images import MEMORY_BUDGET_BYTES
from tfcompress.plain_text import one_line

# Cells that hold nothing, in lower case.
_MISSING = frozenset(("", "?", "na", "n/a", "nan", "null"))
_DELIMITERS = (",", ";", "\t", "|")
# What spreadsheets write above the header.
_TOLD_DELIMITER = re.compile("sep=(.?)", re.I)
# Characters of a line of the file: a line without an end would fill the memory.
_LONGEST_LINE = 1 << 20
# Names of row numbers: id, customer_id, PassengerId, index, and pandas's own without a name.
_ROW_NUMBER = re.compile(
    r"(?i:id|idx|index|uuid|guid|row|row.?(?:id|number|index)|unnamed: 0|column 1)"
    r"|.+[\W_](?i:id|uuid|guid)|.*[a-z]I[Dd]"
)
# A column with this many times more numbers than text is one of numbers with a mistake.
_MISTAKES = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How a file's text is to be read.

    Attributes:
        delimiter: between cells; empty for the one of `, ; | tab` that parts the header most.
        decimal: the sign before the decimals of a number.
        encoding: of the text.
    """

    delimiter: str = ""
    decimal: str = "."
    encoding: str = "utf-8"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        name: in the header.
        values: numbers, float64 (rows,), NaN where a cell is empty; or, of text, each row's index
            into the words, -1 where a cell is empty.
        words: the texts that occur, in their order; None of a column of numbers.
        first_missing: the line of the first empty cell; 0 if there is none.
    """

    name: str
    values: np.ndarray
    words: tuple[str, ...] | None
    first_missing: int

    @property
    def missing(self) -> np.ndarray:
        """Whether each row's cell is empty: bool (rows,)."""
        return np.isnan(self.values) if self.words is None else self.values < 0

    def at(self, rows: np.ndarray) -> Column:
        """Returns these rows of the column."""
        return dataclasses.replace(self, values=self.values[rows])


@dataclasses.dataclass
class _Seen:
    """What a first pass found in a column: counts, and where the first of a kind stands."""

    numbers: int = 0
    texts: int = 0
    first_text: tuple[int, str] = (0, "")
    first_missing: int = 0


def existing_file(path: str, what: str) -> Path:
    """Returns the path of a regular file, `~` expanded.

    Raises:
        InputError: there is none, or it is something else.
    """
    file = Path(path).expanduser()
    require(bool(path) and file.exists(), f"there is no file '{path}'")
    require(not file.is_dir(), f"'{path}' is a folder: {what} is needed")
    require(file.is_file(), f"'{path}' is a pipe, socket or device: {what} is needed")
    return file


def read_header(file: Path, layout: Layout) -> list[str]:
    """Returns the names of a file's columns; one without a name is called by its number.

    Raises:
        InputError: there is no header, a name occurs twice, or the file can't be read.
    """
    with _naming(file), _opened(file, layout) as stream:
        return _header(_rows(file, stream, layout))


def _opened(file: Path, layout: Layout) -> TextIO:
    """Opens a file as text; a byte order mark is passed over."""
    encoding = layout.encoding.lower()
    try:
        if encoding in ("utf-8", "utf8"):
            with file.open("rb") as start:
                wide = start.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            encoding = "utf-16" if wide else "utf-8-sig"
        return file.open(encoding=encoding, newline="")
    except LookupError as error:
        raise InputError(
            f"encoding '{layout.encoding}' isn't known: utf-8, latin-1, ..."
        ) from error
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}") from error


def _lines(file: Path, stream: TextIO) -> Iterator[str]:
    """Yields the lines of a file, none longer than can be one."""
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        require(len(line) < _LONGEST_LINE, f"{file} line {number} is longer than 1 MiB")
        yield line


def _rows(file: Path, stream: TextIO, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of each row's last line, and its cells; rows without any are left out.

    Raises:
        InputError: names the line that can't be read.
    """
    lines = _lines(file, stream)
    number = 0
    try:
        first = next(lines, "")
        told = _TOLD_DELIMITER.fullmatch(first.strip("\r\n"))
        first = next(lines, "") if told else first
        delimiter = layout.delimiter or (told[1] if told else "")
        delimiter = delimiter or max(
            _DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), []))
        )
        reader = csv.reader(_followed(first, lines), delimiter=delimiter)
        for cells in reader:
            number = reader.line_num + bool(told)
            if cells:
                yield number, cells
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} after line {number} is no text of encoding {layout.encoding}: save it so, or "
            "give its own as --set encoding=latin-1"
        ) from error
    except (OSError, csv.Error, TypeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise InputError(f"{file} can't be read after line {number}: {reason}") from error


def _followed(first: str, lines: Iterator[str]) -> Iterator[str]:
    """Yields a first line and those behind it."""
    yield first
    yield from lines


def _header(rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Takes the header off the rows of a file."""
    _, cells = next(rows, (0, []))
    names = [cell.strip() or f"column {at}" for at, cell in enumerate(cells, 1)]
    require(bool(names), "the table is empty: its first line must name the columns")
    numbers = [name for name in names if _is_number(name)]
    require(
        len(numbers) < len(names),
        f"the first line must name the columns; got the numbers {', '.join(numbers[:5])[:80]}",
    )
    twice = [name for name in names if names.count(name) > 1]
    require(not twice, f"two columns are called '{(twice or [''])[0][:40]}'")
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Which Python allows in numbers.


def read_table(
    file: Path, layout: Layout, *, ignore: Collection[str], as_text: Collection[str]
) -> list[Column]:
    """Reads the columns of a file.

    A column is one of numbers where each cell is a number or holds nothing: an empty text, `?`,
    `NA`, `N/A`, `NaN` or `null`.

    Args:
        file: CSV, with the columns' names in its first line.
        layout: how its text is to be read.
        ignore: columns that are left out.
        as_text: columns whose numbers are names.

    Returns:
        The other columns, in the file's order.

    Raises:
        InputError: names the file and the line or column that can't be used, or a table that
            doesn't fit the memory.
    """
    with _naming(file):
        names = read_header(file, layout)
        kept = [at for at, name in enumerate(names) if name not in ignore]
        rows, seen = _look(file, layout, names, kept)
        numeric = {at: _is_numeric(names[at], seen[at], names[at] in as_text) for at in kept}
        return _read(file, layout, names, rows, seen, numeric)


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Puts the file's name before the errors of the block that lack it."""
    try:
        yield
    except InputError as error:
        message = str(error)
        if message.startswith(str(file)):
            raise
        raise InputError(f"{file}: {message}") from error


def _look(
    file: Path, layout: Layout, names: list[str], kept: list[int]
) -> tuple[int, dict[int, _Seen]]:
    """Counts the rows, and each column's numbers and texts."""
    seen = {at: _Seen() for at in kept}
    most = MEMORY_BUDGET_BYTES // (8 * max(len(kept), 1))
    count = 0
    with _opened(file, layout) as stream:
        rows = _rows(file, stream, layout)
        _header(rows)
        for line, cells in rows:
            count += 1
            require(
                len(cells) == len(names),
                f"line {line} has {len(cells)} cells, and the header names {len(names)} columns",
            )
            require(
                count <= most,
                f"has more than {most:,} rows of {len(kept)} columns, which take more than "
                f"{MEMORY_BUDGET_BYTES >> 20:,} MiB: give a part of them",
            )
            for at, column in seen.items():
                cell = cells[at].strip()
                if cell.lower() in _MISSING:
                    column.first_missing = column.first_missing or line
                elif _is_number(_with_point(cell, layout)):
                    column.numbers += 1
                else:
                    column.texts += 1
                    if column.texts == 1:
                        column.first_text = line, cell
    require(count > 0, "there are no rows below the header")
    return count, seen


def _with_point(cell: str, layout: Layout) -> str:
    return cell if layout.decimal == "." else cell.replace(layout.decimal, ".")


def _is_numeric(name: str, seen: _Seen, as_text: bool) -> bool:
    """Says whether a column is one of numbers.

    Raises:
        InputError: it is empty, or nearly all of it is numbers.
    """
    require(
        seen.numbers + seen.texts > 0, f"column '{name}' is empty: leave it out, --set ignore=..."
    )
    if as_text or not seen.numbers:
        return False
    line, text = seen.first_text
    require(
        seen.numbers <= _MISTAKES * seen.texts or not seen.texts,
        f"line {line}, column '{name}': '{text[:40]}' is no number, as {seen.numbers:,} of the "
        "column's cells are; mend it, or read the column as text, --set categorical=...",
    )
    return not seen.texts


def _read(
    file: Path,
    layout: Layout,
    names: list[str],
    count: int,
    seen: dict[int, _Seen],
    numeric: dict[int, bool],
) -> list[Column]:
    """Reads the cells in a second pass."""
    values = {
        at: np.empty(count, np.float64 if number else np.int64) for at, number in numeric.items()
    }
    words: dict[int, dict[str, int]] = {at: {} for at, number in numeric.items() if not number}
    with _opened(file, layout) as stream:
        rows = _rows(file, stream, layout)
        _header(rows)
        row = -1
        for row, (line, cells) in enumerate(rows):
            require(row < count and len(cells) == len(names), "changed while it was read")
            for at, number in numeric.items():
                cell = cells[at].strip()
                missing = cell.lower() in _MISSING
                if number:
                    value = math.nan if missing else float(_with_point(cell, layout))
                    require(
                        not math.isinf(value),
                        f"line {line}, column '{names[at]}': '{cell[:40]}' isn't finite",
                    )
                else:
                    value = -1 if missing else words[at].setdefault(cell, len(words[at]))
                values[at][row] = value
        require(row + 1 == count, "changed while it was read")
    return [_column(names[at], values[at], words.get(at), seen[at].first_missing) for at in numeric]


def _column(
    name: str, values: np.ndarray, words: dict[str, int] | None, first_missing: int
) -> Column:
    """Puts the words of a column of text in their order."""
    if words is None:
        return Column(name=name, values=values, words=None, first_missing=first_missing)
    ordered = sorted(words)
    place = np.empty(len(ordered) + 1, np.int64)
    place[-1] = -1  # Where codes of -1 point to.
    for to, word in enumerate(ordered):
        place[words[word]] = to
    return Column(
        name=name, values=place[values], words=tuple(ordered), first_missing=first_missing
    )


def why_no_input(column: Column) -> str:
    """Returns why nothing can be learned from a column; empty if something may be."""
    count = len(column.values)
    values = np.unique(column.values[~column.missing])
    # Of texts, an empty cell is information as well.
    if len(values) < 2 and (column.words is None or not column.missing.any()):
        return "one value in all rows"
    # By its name, too: measurements may all be different.
    whole = column.words is not None or bool(np.all(values == np.rint(values)))
    if len(values) == count and whole and _ROW_NUMBER.fullmatch(column.name):
        return "a different value in every row"
    return ""
