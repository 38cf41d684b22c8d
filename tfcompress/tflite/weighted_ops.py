"""The ops of a file that multiply inputs by weights."""

from __future__ import annotations

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


def one_magnitude(kernel: np.ndarray) -> bool:
    """Returns whether each filter (first axis) holds but one number and its negative."""
    size = np.abs(kernel.reshape(len(kernel), -1))
    return bool(np.all(size.max(1) - size.min(1) <= 1e-6 * size.max(1)))
