"""The ops of a file that multiply inputs by weights."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.tflite.content import FileContent, Op

if TYPE_CHECKING:
    from tfcompress.tflite.editor import Editor

# Those that quantisers and storages give other weights.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Of these the ones with a fast kernel for 8-bit weights and float activations: XNNPACK has none
# for the depthwise convolution.
FAST_WITH_FLOATS = ("CONV_2D", "FULLY_CONNECTED")


def weighted(editor: Editor) -> list[Any]:
    """Returns a file's weighted ops, in order."""
    return [op for op in editor.ops() if editor.name(op) in WEIGHTED]


def weighted_pairs(floats: Editor, integers: Editor) -> Iterator[tuple[Any, Any]]:
    """Yields each weighted op of a float file with what the quantizer made of it.

    The quantizer keeps the ops' order, but not all their names.
    """
    return zip(weighted(floats), weighted(integers), strict=True)


def weights_type(op: Op) -> str | None:
    """Returns the type of an op's weights; None if they aren't constants of the file."""
    weights = op.inputs[1]
    return weights.dtype if weights is not None and weights.constant else None


def with_constant_weights(content: FileContent) -> Iterator[Op]:
    """Yields the ops that multiply by constants of the file."""
    for op in content.ops:
        if op.macs and op.inputs[1] is not None and op.inputs[1].constant:
            yield op


def arithmetic(content: FileContent) -> list[dict[str, Any]]:
    """Says in what a file multiplies by its weights, the most frequent kind first.

    Returns:
        JSON values, for each kind: `ops`, how many; `inputs` and `weights`, their types in the
        file (of weights that other ops unpack, what the last of these takes); `text`. A file with
        floats outside may hold 8-bit weights all the same, which the runtime multiplies by inputs
        that it rounds each time: "dynamic range".
    """
    unpacked = {
        tensor.number: op.inputs[0].dtype
        for op in content.ops
        if op.folded and op.subgraph == 0 and op.inputs and op.inputs[0] is not None
        for tensor in op.outputs
    }
    counts: collections.Counter[tuple[str, str, bool]] = collections.Counter()
    for op in content.ops:
        inputs, weights = op.inputs[:2] if op.macs and not op.subgraph else (None, None)
        if inputs is None or weights is None:
            continue
        if weights.constant or weights.number in unpacked:
            stored = weights.dtype if weights.constant else unpacked[weights.number]
            counts[inputs.dtype, stored, weights.constant] += 1
    return [
        {
            "ops": count,
            "inputs": inputs,
            "weights": weights,
            "text": _arithmetic_text(inputs, weights, constant=constant),
        }
        for (inputs, weights, constant), count in counts.most_common()
    ]


def _arithmetic_text(inputs: str, weights: str, *, constant: bool) -> str:
    """Names a kind of arithmetic.

    >>> _arithmetic_text("float32", "int8", constant=True)
    'float computation with int8 weights (dynamic range)'
    """
    integers = "int" in inputs
    kind = "integer" if integers else "float"
    if not constant:
        return f"{kind} computation with weights that are unpacked once from {weights}"
    text = f"{kind} computation with {weights} weights"
    return text if integers or "int" not in weights else f"{text} (dynamic range)"


def one_magnitude(kernel: np.ndarray) -> bool:
    """Returns whether each filter (first axis) holds but one number and its negative."""
    size = np.abs(kernel.reshape(len(kernel), -1))
    return bool(np.all(size.max(1) - size.min(1) <= 1e-6 * size.max(1)))
