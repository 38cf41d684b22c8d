"""Parses JSON that a stranger may have written, within bounds."""

from __future__ import annotations

import json
import os
import re
from typing import Any

# Lists and objects in one another. A Keras model takes some five for each model within a model;
# Python's own parser, and whatever walks the values, gives up between 300 and 1,000.
NESTING = 200
# Python's values take up to 40 times the bytes of their text.
MOST_BYTES = 8 * 2**20
# Whole numbers beyond 64 bits are no count of anything, and floats can't hold the longest.
_MOST_DIGITS = 20
# A string, which may be cut off, or a bracket. Nothing is tried twice, so that it takes as long as
# the text.
_STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(text: object) -> Any:
    """Parses JSON as Python's own parser does, NaN and infinity included.

    Args:
        text: str, or bytes in UTF-8.

    Raises:
        ValueError: it isn't JSON or no text at all, is nested deeper than `NESTING`, or has a whole
            number beyond 64 bits; the message is one line.
    """
    if isinstance(text, (bytes, bytearray)):
        text = text.decode("utf-8")
    if not isinstance(text, str):
        raise ValueError(f"{type(text).__name__} is no text")
    depth = 0
    for match in _STRUCTURE.finditer(text):
        first = text[match.start()]
        depth += (first in "[{") - (first in "]}")
        if depth > NESTING:
            raise ValueError(f"nested more than {NESTING} deep")
    return json.loads(text, parse_int=_integer)


def read_json(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> Any:
    """Parses a file by `parse_json`.

    Raises:
        OSError: it can't be read.
        ValueError: as there; or the file is larger than `most_bytes`.
    """
    with open(path, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"larger than {most_bytes:,} bytes")
    return parse_json(content)


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > _MOST_DIGITS:
        raise ValueError("a whole number beyond 64 bits")
    return int(digits)
