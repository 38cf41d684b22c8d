"""Fills in the package's templates, and writes Markdown and CSV, in which text stays text."""

from __future__ import annotations

import csv
import functools
import io
import numbers
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.plain_text import spell_out
from tfcompress.report import table

if TYPE_CHECKING:
    import jinja2

# How a cell begins that a spreadsheet takes for a formula.
_FORMULA = frozenset("=+-@\t\r\n")
# How a line of Markdown begins that is a heading, a list, a quotation or a rule.
_BLOCK = re.compile(r"(?=#{1,6}\s|[-+=>]\s|>|[-=]{2,}$)")


def render_template(template: str, *, autoescape: bool, **values: Any) -> str:
    """Fills in a template of this package.

    Args:
        template: its name.
        autoescape: whether values become HTML text; in Markdown they pass `markdown_cell`.
        values: all that the template names.
    """
    return _environment(autoescape).get_template(template).render(values)


@functools.cache
def _environment(autoescape: bool) -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # What a template puts in, before it is escaped: a page and its source are shown in
        # terminals too.
        finalize=_plain,
    )
    environment.filters["cell"] = markdown_cell
    environment.filters["code"] = markdown_code
    environment.filters["whole"] = table.whole
    environment.filters["milliseconds"] = table.milliseconds
    return environment


def markdown_cell(text: Any) -> str:
    r"""Escapes text for a Markdown table: no markup, no HTML, no new column or line.

    >>> markdown_cell("a|b <script> _c_")
    'a\\|b &lt;script> \\_c\\_'
    """
    flat = spell_out(" ".join(str(text).split())).replace("&", "&amp;").replace("<", "&lt;")
    marked = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", flat)
    return f"\\{marked}" if _BLOCK.match(marked) else marked


def markdown_code(text: Any) -> str:
    r"""Writes text as code within a line of Markdown.

    >>> markdown_code("m.tflite"), markdown_code("`<b>`")
    ('`m.tflite`', "`'<b>'`")
    """
    return f"`{spell_out(' '.join(str(text).split())).replace('`', chr(39))}`"


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    r"""Writes rows as CSV.

    Texts that a spreadsheet would take for a formula begin with an apostrophe, which makes them
    texts; numbers stay numbers, and None an empty cell.

    >>> csv_text([["model", "points"], ["=cmd|'/c calc'!A0", -0.5]])
    "model,points\n'=cmd|'/c calc'!A0,-0.5\n"
    """
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([map(_csv_cell, row) for row in rows])
    return lines.getvalue()


def _csv_cell(value: object) -> object:
    """Returns a number as it is, and anything else as a text that is no formula."""
    if value is None or isinstance(value, numbers.Number):
        return value
    text = str(value)
    # Spreadsheets of East Asia take full-width letters too.
    first = unicodedata.normalize("NFKC", text[:1])
    return spell_out(f"'{text}" if first in _FORMULA else text)


def _plain(value: Any) -> Any:
    """Spells out what would steer a terminal in a text; what is marked as HTML stays as it is."""
    return spell_out(value) if type(value) is str else value
