"""A page of results: a title, what made the rows, what they mean, and the table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfcompress.benchmark.machine import machine_line
from tfcompress.console import table

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: of the page.
        note: what the numbers are.
        headers: of the table.
        rows: of the table: the cells, as text, and the keys of the measurements they come from.
        more: keys of what the note shows.
    """

    title: str
    note: str
    headers: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[str]]]
    more: Sequence[str] = ()


def text_of(page: Page, records: Callable[[Iterable[str]], list[Record]]) -> str:
    """Returns the page as Markdown.

    Args:
        page: what it shows.
        records: gives the records of the measurements of some keys, each once.
    """
    keys = [*page.more, *(key for _, keys in page.rows for key in keys)]
    made = records(keys)
    headers, rows = list(page.headers), [list(cells) for cells, _ in page.rows]
    if len(made) == 1:
        lines = [line(made[0])]
    elif not made:
        lines = ["No row is measured yet."]
    else:
        lines = ["Measured (the table's last column names which):", ""]
        lines += [f"{number}. {line(record)}" for number, record in enumerate(made, 1)]
        headers.append("measured")
        for cells, (_, own) in zip(rows, page.rows, strict=True):
            cells.append(", ".join(str(made.index(record) + 1) for record in records(own)))
    return "\n".join(
        [f"# {page.title}", "", *lines, "", page.note, "", table(rows, headers, markdown=True), ""]
    )


def mean_and_range(values: Sequence[float]) -> str:
    """Writes the mean of some values, of several with their range; of none nothing."""
    if not values:
        return ""
    spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def line(record: Record) -> str:
    """Returns where and when a measurement was made, by what, in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    where = machine_line(record)
    if record.get("features") is None:
        where += ", processor's features not recorded"
    if "committed" in record:
        where += f", committed as {record['committed']}"
    remark = f"; {record['remark']}" if "remark" in record else ""
    return f"`{record['command']}`, {record['date']}, {where}; {packages}{remark}"
