"""Stores weights that are blocks of a codebook as the blocks' numbers, looked up once at load.

```
weights[f, y, x, g * c + j] = book[codes[f, g], y, x, j]      g: groups of c channels
```

The numbers come several to a word (`export.words`). Places in the book are made of them with 16
bits, and only the last lookup gives floats, in the shape that the product takes: XNNPACK would take
over a RESHAPE or a CONCATENATION of floats, and copy the weights in each inference. For the same
reason the book's values are whole numbers of a step (`ops.codebooks`): RANGE makes floats of all
that there are, where DEQUANTIZE of 16-bit floats isn't computed as the file is loaded.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from tfcompress.export import folded, im2col, words
from tfcompress.graph.rewrite import operations
from tfcompress.layers._codebook import CodebookWeights
from tfcompress.ops.codebooks import LEVELS, step_of
from tfcompress.tflite.editor import Editor


@dataclasses.dataclass(frozen=True)
class Codebook:
    """The blocks of a layer's weights, and where each stands.

    Attributes:
        book: the blocks, float32 (blocks, height, width, channels); whole numbers of a step.
        codes: which one stands where: (filters, groups).
    """

    book: np.ndarray
    codes: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """The weights: float32 (filters, inputs), as a file has them."""
        blocks = self.book[self.codes]  # (filters, groups, height, width, channels)
        return blocks.transpose(0, 2, 3, 1, 4).reshape(len(blocks), -1)


def of(model: keras.Model) -> list[Codebook]:
    """Returns the codebooks of a model's layers."""
    books = []
    for layer in operations(model):
        if isinstance(layer, CodebookWeights):
            *window, channels, _ = layer.logical_shape()
            height, width = window or (1, 1)
            book = keras.ops.convert_to_numpy(layer.rounded_codebook())
            codes = np.rint(keras.ops.convert_to_numpy(layer.codes)).astype(np.int32)
            shape = (len(book), height, width, channels // len(codes))
            books.append(Codebook(book.reshape(shape), codes.T))
    return books


def write_codebooks(editor: Editor, layers: list[Codebook]) -> dict[str, str]:
    """Puts codes in the place of the weights that they stand for.

    Args:
        editor: a float file.
        layers: of the model that it came from.

    Returns:
        The output name of each weighted op that was left as it was, and why.
    """
    writer = _Writer(editor)
    left: dict[str, str] = {}
    rows: dict[int, list[int]] = {}
    for op in editor.ops():
        if editor.name(op) not in ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D"):
            continue
        kernel = editor.values(op.inputs[1])
        if kernel is None:
            continue
        why: str | None = "its weights have no codebook"
        for number, layer in enumerate(layers):
            if kernel.size != layer.codes.size * layer.book[0].size:
                continue
            factors = folded.factors(kernel.reshape(len(kernel), -1), layer.matrix)
            if factors is None:
                continue
            why = im2col.why_not(editor, op) or _too_large(layer)
            if why is None:
                if (factors != 1).any():
                    op = im2col.without_factors(editor, op, factors)
                if number not in rows:  # A layer that is called twice is looked up once.
                    rows[number] = writer.rows(layer)
                im2col.with_weights(editor, op, rows[number].__getitem__)
            break
        if why:
            left[editor.text(op.outputs[0])] = why
    editor.first(writer.before)
    return left


def _too_large(layer: Codebook) -> str | None:
    """Says why 16 bits don't number the values that a row of the filter has; None if they do."""
    values = layer.book[:, 0].size
    if values <= words.WORDS:
        return None
    return f"its codebook's {values:,} values in a row of the filter are more than {words.WORDS:,}"


class _Writer:
    """Writes ops on constants that look blocks up.

    Attributes:
        before: these ops, in order.
    """

    def __init__(self, editor: Editor) -> None:
        self.before: list[Any] = []
        self._editor = editor
        self._tables: dict[int, int] = {}
        self._levels: dict[float, int] = {}

    def rows(self, layer: Codebook) -> list[int]:
        """Looks up a layer's weights: for each row of the filters float32 (filters, inputs)."""
        editor, (count, height, width, channels) = self._editor, layer.book.shape
        filters, groups = layer.codes.shape
        codes = self._codes(layer)
        parts = []
        for column in range(width):
            # Where the blocks' values for this column stand in a row of the book.
            first = (column * count + np.arange(count)[:, None]) * channels
            starts = editor.constant((first + np.arange(channels)).astype(np.int16))
            cut = (filters, groups, channels)
            part = editor.then("GATHER", [starts, codes], cut, "int16", self.before, axis=0)
            parts.append(editor.reshaped(part, (filters, groups * channels), self.before, "int16"))
        places, shape = parts[0], (filters, width * groups * channels)
        if width > 1:
            places = editor.then("CONCATENATION", parts, shape, "int16", self.before, axis=1)
        # (height, width, count, channels)
        values = layer.book.transpose(1, 2, 0, 3).reshape(height, -1)
        books = [self._book(row, step_of(layer.book)) for row in values]
        return [editor.then("GATHER", [book, places], shape, "float32", self.before, axis=0)
                for book in books]  # fmt: skip

    def _codes(self, layer: Codebook) -> int:
        """Unpacks a layer's codes: int16 (filters, groups)."""
        editor, base = self._editor, max(len(layer.book), 2)
        if words.digits(base) == 1:
            return editor.constant(layer.codes.astype(np.int16))
        if base not in self._tables:
            self._tables[base] = words.table(editor, base, self.before)
        packed = words.pack(layer.codes, base)
        return words.unpacked(editor, packed, self._tables[base], layer.codes.shape, self.before)

    def _book(self, values: np.ndarray, step: float) -> int:
        """Looks up values among the whole numbers of a step: float32."""
        editor = self._editor
        if step not in self._levels:
            ends = (-LEVELS * step, (LEVELS + 0.5) * step, step)
            inputs = [editor.constant(np.array(end, np.float32)) for end in ends]
            size = (2 * LEVELS + 1,)
            self._levels[step] = editor.then("RANGE", inputs, size, "float32", self.before)
        numbers = (np.rint(values / step) + LEVELS).astype(np.int16)
        inputs = [self._levels[step], editor.constant(numbers)]
        return editor.then("GATHER", inputs, values.shape, "float32", self.before, axis=0)
