"""Stores small numbers several to a 16-bit word, and unpacks them once, as a file is loaded.

A word holds numbers below some base as its digits: 15 bits, or 2 numbers below 181. Words are
looked up in a table of all of them. Its ops, like all that follow them, have constants for inputs
and no kernels in XNNPACK: the interpreter runs them once, as it allocates tensors, and keeps the
results; on the way there numbers have 16 bits, for all of them stay in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcompress.tflite.editor import Editor

# Words that aren't negative: indices of a GATHER have a sign.
WORDS = 2**15
_MOST_TABLES = 3


def digits(base: int) -> int:
    """Returns how many digits a word has.

    >>> [digits(base) for base in (2, 4, 32, 181, 182)]
    [15, 6, 3, 2, 1]
    """
    return math.prod(_tables(base))


def _tables(base: int) -> tuple[int, int]:
    """Returns how many tables are multiplied to that of all words, and of how many digits each is.

    At most three: more axes than four no runtime multiplies.
    """
    count = 1
    while base ** (count + 1) <= WORDS:
        count += 1
    each = -(-count // _MOST_TABLES)
    return count // each, each


def pack(numbers: np.ndarray, base: int) -> np.ndarray:
    """Packs numbers in their order, the first of a word as its highest digit: int16.

    >>> pack(np.array([3, 1, 2]), 181)
    array([544, 362], dtype=int16)
    """
    count = digits(base)
    numbers = np.asarray(numbers).ravel()
    rows = np.zeros((-(-numbers.size // count), count), np.int32)
    rows.ravel()[: numbers.size] = numbers
    return (rows @ base ** np.arange(count - 1, -1, -1)).astype(np.int16)


def table(editor: Editor, base: int, ops: list[Any]) -> int:
    """Builds a table of all words' digits, of small tables that are multiplied.

    Args:
        editor: the file.
        base: of the words, 2 or more.
        ops: where ops on constants are put.

    Returns:
        An int16 tensor (words, digits).
    """
    count, width = _tables(base)
    each = base**width
    symbols = np.arange(each)[:, None] // base ** np.arange(width - 1, -1, -1) % base
    rows, shape = -1, [1] * count + [count * width]
    for digit in range(count):
        values = np.ones((each, count * width), np.int32)
        values[:, digit * width : (digit + 1) * width] = symbols
        own = [1] * count + [count * width]
        own[digit] = each
        factor = editor.constant(values.reshape(own))
        shape[digit] = each
        if digit == 0:
            rows = factor
            continue
        rows = editor.then("MUL", [rows, factor], list(shape), "int32", ops)
    flat = (each**count, count * width)
    rows = editor.reshaped(rows, flat, ops, "int32")
    # Not CAST, which runs in each inference.
    narrow = editor.constant(np.arange(base, dtype=np.int16))
    return editor.then("GATHER", [narrow, rows], flat, "int16", ops)


def unpacked(
    editor: Editor, packed: np.ndarray, table: int, shape: Sequence[int], ops: list[Any]
) -> int:
    """Looks words up in the table of all, and returns their digits in this shape: int16.

    Args:
        editor: the file.
        packed: the words.
        table: what `table` returned.
        shape: of the digits; those behind its end are dropped.
        ops: where ops on constants are put.
    """
    width, size = editor.shape(table)[1], math.prod(shape)
    rows = (len(packed), width)
    x = editor.then("GATHER", [table, editor.constant(packed)], rows, "int16", ops, axis=0)
    if size != math.prod(rows):
        x = editor.reshaped(x, (math.prod(rows),), ops, "int16")
        ends = [editor.constant(np.array([end], np.int32)) for end in (0, size, 1)]
        x = editor.then("STRIDED_SLICE", [x, *ends], (size,), "int16", ops)
    return editor.reshaped(x, shape, ops, "int16")
