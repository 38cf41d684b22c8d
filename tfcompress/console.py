"""Lays out tables for a terminal and for Markdown pages."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tfcompress.plain_text import spell_out

# A line under the headers and nothing else, in letters that any terminal and log has.
_PLAIN = box.Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
# A column of words is at least so wide, in characters, unless all its words are shorter.
WORDS = 16


def table(
    rows: Iterable[Sequence[object]],
    headers: Sequence[str] = (),
    *,
    words: int | None = None,
    width: int | None = None,
    markdown: bool = False,
) -> str:
    """Lays out rows as text.

    Where a table is wider than the terminal, words are wrapped and numbers never: it may still be
    too wide. On a pipe it has the width it needs.

    Args:
        rows: of the same length; cells are shown as they are, without any markup.
        headers: over the columns; none if empty.
        words: how many columns, from the left, hold words; the others hold numbers and are aligned
            to the right. None if all hold words.
        width: the longest line, in characters, unless numbers need more; a narrower terminal's
            width comes first.
        markdown: whether to write GitHub's Markdown, each row on one line.

    Returns:
        Lines without trailing blanks, and without a line break at the end.
    """
    cells = [[_shown(str(cell), markdown) for cell in row] for row in rows]
    columns = len(headers) or max(map(len, cells), default=0)
    drawn = Table(
        box=box.MARKDOWN if markdown else _PLAIN,
        show_header=bool(headers),
        show_edge=markdown,
        pad_edge=markdown,
        padding=(0, 1) if markdown else (0, 1, 0, 0),
        header_style="",
    )
    for column in range(columns):
        number = words is not None and column >= words
        drawn.add_column(
            Text(headers[column]) if headers else "",
            justify="right" if number else "left",
            no_wrap=number or markdown,
            overflow="fold",
        )
    for line in cells:
        drawn.add_row(*map(Text, line))
    free = Console(file=io.StringIO(), width=1_000_000, color_system=None)
    natural = Measurement.get(free, free.options, drawn).maximum
    # Names have no blanks to break at, so that the library's own minimum is too wide.
    longest = [
        max(map(_width, column))
        for column in zip(*([headers] if headers else []), *cells, strict=True)
    ]
    least = natural - sum(max(n - WORDS, 0) for n in longest[:words])
    widths = [natural, width or natural]
    if sys.stdout.isatty() and not markdown:
        widths.append(Console().width)
    with free.capture() as captured:
        free.print(drawn, width=max(min(widths), least), crop=False, no_wrap=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")


def _shown(cell: str, markdown: bool) -> str:
    """Returns a cell's text, with characters spelled out that would control a terminal.

    A stranger's file may hold some in the names of its tensors.
    """
    plain = spell_out(cell)
    return " ".join(plain.split()).replace("|", "\\|") if markdown else plain


def _width(cell: str) -> int:
    """Returns the width of a cell's longest line, in characters."""
    return max(map(cell_len, cell.split("\n")))
