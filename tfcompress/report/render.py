"""Fills in the package's templates, in which text stays text."""

from __future__ import annotations

import functools
import pathlib
import re
from typing import TYPE_CHECKING, Any

from tfcompress.report import table

if TYPE_CHECKING:
    import jinja2


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
    )
    environment.filters["cell"] = markdown_cell
    environment.filters["whole"] = table.whole
    environment.filters["milliseconds"] = table.milliseconds
    return environment


def markdown_cell(text: Any) -> str:
    r"""Escapes text for a Markdown table: no markup, no HTML, no new column or line.

    >>> markdown_cell("a|b <script> _c_")
    'a\\|b &lt;script> \\_c\\_'
    """
    flat = " ".join(str(text).split()).replace("&", "&amp;")
    flat = flat.replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", flat)
