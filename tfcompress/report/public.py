"""Leaves this machine's folders out of what people are given to read."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from tfcompress.report.result import RunResult

# A flag or a scheme before an absolute path, as in --dataset=folder:/home/me/pictures.
_PATH = re.compile(
    r"(?P<before>((--)?[\w.]+=)?([\w,.+-]+:)?)(?P<path>([A-Za-z]:)?[/\\].*)", re.DOTALL
)


def without_folders(result: RunResult) -> RunResult:
    """Returns the result with the bare names of the user's model and data, for pages and cards.

    report.json keeps the paths: the same run starts from it again.
    """
    try:
        words = shlex.split(result.command)
    except ValueError:  # A report of others.
        words = []
    return dataclasses.replace(
        result,
        model=_bare(result.model),
        dataset=_bare(result.dataset),
        teacher=_with_bare_name(result.teacher),
        transfer=_with_bare_name(result.transfer),
        command=" ".join(map(_quoted, words))
        if any(map(_PATH.fullmatch, words))
        else result.command,
    )


def _with_bare_name(named: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Returns what has a name, its folders left out; of names with commas those of each."""
    if named is None:
        return None
    return {**named, "name": ",".join(map(_bare, str(named["name"]).split(",")))}


def _bare(text: str) -> str:
    """Returns a text without the folders of the absolute path that it ends in.

    >>> _bare("folder:/home/me/pictures"), _bare("vgg_small")
    ('folder:pictures', 'vgg_small')
    """
    found = _PATH.fullmatch(text)
    return found["before"] + PurePath(found["path"]).name if found else text


def _quoted(word: str) -> str:
    """Returns a word of a command without folders, as a shell takes it."""
    return shlex.quote(_bare(word))
