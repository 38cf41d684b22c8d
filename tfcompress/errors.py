"""The errors that a user's input causes, and the checks that raise them.

Nothing here needs more than the standard library.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from tfcompress.plain_text import spell_out


class PlainError(Exception):
    """An error whose message may quote a stranger's file, and steers no terminal all the same."""

    def __str__(self) -> str:
        """Returns the message, with what would steer a terminal spelled out."""
        return spell_out(super().__str__())


class InputError(PlainError, ValueError):
    """What the user handed in can't be used.

    The message is one line that says what was wrong and what would be right; the runner prints it
    behind `error:` and exits with 2.
    """


class UnsafeFileError(InputError):
    """A file could do harm: it holds code, reads other files, or fills the memory.

    No other way to load the file is tried after this error.
    """


class PathError(InputError, OSError):
    """A file or folder can't be written where it is wanted: another place would do."""


class ExportError(PlainError, RuntimeError):
    """A file failed its audit or its parity check; nothing was written.

    It stands here for the commands, which say it in one line and don't import what exports.
    """


def unknown_name(what: str, name: str, known: Iterable[str]) -> InputError:
    """Returns the error for a name that isn't in a list: it names the nearest one, or all.

    >>> str(unknown_name("technique", "xnr", ["baseline", "xnor"]))
    "unknown technique 'xnr': did you mean 'xnor'? Known: baseline, xnor"
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return InputError(f"unknown {what} '{name}': {hint}Known: {', '.join(known) or 'none'}")


def grouped(reasons: Mapping[str, str], most: int = 5) -> str:
    """Says why for many names in a few clauses: one for each reason, the most frequent first.

    Reasons that differ in their numbers alone are one.

    >>> grouped({"conv1": "1x1", "conv2": "1x1", "fc": "only 8 weights"})
    'conv1, conv2: 1x1; fc: only 8 weights'
    """
    groups: dict[str, list[str]] = {}
    for name, why in reasons.items():
        groups.setdefault(re.sub(r"\d[\d.,x]*", "0", why), []).append(name)
    ordered = sorted(groups.values(), key=len, reverse=True)
    clauses = []
    for names in ordered[:most]:
        same = len(names) <= 3 and len({reasons[name] for name in names}) == 1
        which = ", ".join(names) if same else f"{len(names)} layers, such as {names[0]}"
        clauses.append(f"{which}: {reasons[names[0]]}")
    rest = sum(map(len, ordered[most:]))
    return "; ".join([*clauses, *([f"{rest} more for other reasons"] if rest else [])])


def require(condition: bool, message: str) -> None:
    """Raises `InputError(message)` unless the condition holds."""
    if not condition:
        raise InputError(message)


def one_of(flag: str, value: str, allowed: Iterable[str]) -> None:
    """Raises `InputError` unless the value is one of the allowed words."""
    allowed = tuple(allowed)
    require(value in allowed, f"{flag} must be one of {', '.join(allowed)}; got '{value}'")
