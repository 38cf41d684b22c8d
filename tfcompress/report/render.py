"""The package's templates, and text that stays text in them."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from tfcompress.report import table


def rendered(template: str, *, autoescape: bool, **values: Any) -> str:
    """A template of this package with the values in it.

    Args:
        template: its name.
        autoescape: whether values become HTML text; in Markdown they pass `markdown_cell`.
        values: what the template names, all of it.
    """
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
    return environment.get_template(template).render(values)


def markdown_cell(text: Any) -> str:
    r"""Text that stays text in a Markdown table: no markup, no HTML, no new column or line.

    >>> markdown_cell("a|b <script> _c_")
    'a\\|b &lt;script> \\_c\\_'
    """
    flat = " ".join(str(text).split()).replace("&", "&amp;")
    flat = flat.replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", flat)
