"""Binary weights as bits: 15 to a 16-bit number in the file, unpacked once as it is loaded.

```
weights[n, k] = magnitudes[n, bit[n, k]]        magnitudes[n] = (-a_n, a_n)
```

The bits are looked up in a table of all 15-bit numbers. Its ops, like all that follow them, have
constants for inputs and no kernels in XNNPACK: the interpreter runs them once, as it allocates
tensors, and keeps the results. So that no such op multiplies floats, the filter's magnitude comes
in by the lookup, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfcompress.export import im2col
from tfcompress.export.surgery import Surgery

_WORD = 15  # Bits of a 16-bit index that isn't negative.
_DIGITS = 3  # The table is a product of so many small ones.


def one_magnitude(kernel: np.ndarray) -> bool:
    """Whether all weights of each filter (the first axis, as TFLite has it) are +-c."""
    size = np.abs(kernel.reshape(len(kernel), -1))
    return bool(np.all(size.max(1) - size.min(1) <= 1e-6 * size.max(1)))


def pack(bits: np.ndarray) -> np.ndarray:
    """Bits in their order, the first of each word in its highest place: int16, none negative.

    >>> pack(np.array([1, 0, 1]))
    array([20480], dtype=int16)
    """
    bits = np.asarray(bits, bool).ravel()
    words = np.zeros((-(-bits.size // _WORD), _WORD), np.int32)
    words.ravel()[: bits.size] = bits
    return (words @ (1 << np.arange(_WORD - 1, -1, -1))).astype(np.int16)


def write(surgery: Surgery) -> dict[str, str]:
    """Packs the weights of every product whose filters have one magnitude each.

    Args:
        surgery: a float file. Its convolutions become slices and a product.

    Returns:
        Output name of each product that was left as it was, and why.
    """
    table: int | None = None
    before: list[Any] = []
    kept: dict[str, str] = {}
    for op in surgery.ops():
        if surgery.name(op) not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        kernel = surgery.values(op.inputs[1])
        if kernel is None:
            continue
        why = None if one_magnitude(kernel) else "its weights aren't one magnitude a filter"
        why = why or im2col.why_not(surgery, op)
        if why:
            kept[surgery.text(op.outputs[0])] = why
            continue
        if table is None:
            table = _table(surgery, before)
        rows = [kernel] if kernel.ndim == 2 else list(kernel.transpose(1, 0, 2, 3))
        unpacked = [_weights(surgery, row.reshape(len(row), -1), table, before) for row in rows]
        im2col.with_weights(surgery, op, unpacked.__getitem__)
    surgery.first(before)
    return kept


def _table(surgery: Surgery, ops: list[Any]) -> int:
    """All words' bits: int32 (2**15, 15), as a product of three tables of five bits."""
    size = _WORD // _DIGITS
    small = (np.arange(2**size)[:, None] >> np.arange(size - 1, -1, -1)) & 1
    found, shape = -1, [1] * _DIGITS + [_WORD]
    for digit in range(_DIGITS):
        values = np.ones((2**size, _WORD), np.int32)
        values[:, digit * size : (digit + 1) * size] = small
        own = [1] * _DIGITS + [_WORD]
        own[digit] = 2**size
        factor = surgery.constant(values.reshape(own))
        shape[digit] = 2**size
        if digit == 0:
            found = factor
            continue
        found = surgery.then("MUL", [found, factor], list(shape), "int32", ops)
    return surgery.reshaped(found, (2**_WORD, _WORD), ops, "int32")


def _weights(surgery: Surgery, matrix: np.ndarray, table: int, ops: list[Any]) -> int:
    """A matrix (filters, inputs) from its bits."""
    words = pack(matrix >= 0)
    shape = (len(words), _WORD)
    index = surgery.constant(words)
    x = surgery.then("GATHER", [table, index], shape, "int32", ops, axis=0)
    if matrix.size != words.size * _WORD:
        x = surgery.reshaped(x, (words.size * _WORD,), ops, "int32")
        ends = [surgery.constant(np.array([end], np.int32)) for end in (0, matrix.size, 1)]
        x = surgery.then("STRIDED_SLICE", [x, *ends], (matrix.size,), "int32", ops)
    x = surgery.reshaped(x, matrix.shape, ops, "int32")
    size = np.abs(matrix).max(1)
    values = surgery.constant(np.stack([-size, size], 1))
    return surgery.then("GATHER", [values, x], matrix.shape, "float32", ops, axis=1, batchDims=1)
