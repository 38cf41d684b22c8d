"""What the experiments share: a page with a table and what made it, and results that are kept."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfcompress.benchmark.machine import machine, machine_line
from tfcompress.console import table
from tfcompress.files import write
from tfcompress.pipeline.provenance import versions


def command(**shown: object) -> str:
    """The command that is running; a flag named in `shown` is printed with that value instead."""
    words = ["python", *sys.argv]
    for flag, value in shown.items():
        words = [f"--{flag}={value}" if word.startswith(f"--{flag}=") else word for word in words]
    return shlex.join(words)


def page(
    folder: Path,
    title: str,
    made: str,
    note: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Writes `README.md` into the folder, and prints it.

    Args:
        folder: is made if it isn't there.
        title: of the page.
        made: the command.
        note: what the numbers are.
        headers: of the table.
        rows: of the table, as text.
    """
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    text = [
        f"# {title}",
        "",
        f"`{made}`, {time.strftime('%Y-%m-%d')}, {machine_line(machine())}; {packages}",
        "",
        note,
        "",
        table(rows, headers, markdown=True),
        "",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "README.md", "\n".join(text))
    print("\n".join(text))


class Kept:
    """Results by key in `runs.json`: what is there isn't run again, so that one may stop anytime.

    Args:
        folder: is made if it isn't there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "runs.json"
        self._runs = json.loads(self._path.read_text()) if self._path.exists() else {}

    def __contains__(self, key: str) -> bool:
        return key in self._runs

    def get(self, key: str, run: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
        """The result of the key, from `run(*args)` if it isn't there yet."""
        if key not in self._runs:
            self._runs[key] = run(*args)
            write(self._path, json.dumps(self._runs, indent=1) + "\n")
            print(f"{key}: {self._runs[key]}", flush=True)
        return self._runs[key]
