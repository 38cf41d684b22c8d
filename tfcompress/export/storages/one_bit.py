"""Binary weights as bits: 15 to a 16-bit number in the file, unpacked once at load.

```
weights[n, k] = magnitudes[n, bit[n, k]]        magnitudes[n] = (-a_n, a_n)
```

The bits are looked up in a table of all 15-bit numbers. Its ops, like all that follow them, have
constants for inputs and no kernels in XNNPACK: the interpreter runs them once, as it allocates
tensors, and keeps the results. So that no such op multiplies floats, the filter's magnitude comes
in by the lookup, too; on the way there numbers have 16 bits, for all of them stay in memory.

A dense layer that takes one row of signs gets its weights as 8-bit integers, -1 and 1, and the
magnitudes behind it. The runtime's integer kernel reads a quarter of the bytes; its sums are exact,
for it makes 127 and -127 of signs.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tfcompress.export import audit, im2col, words
from tfcompress.export.storage import BuildJob, BuiltFile, Method, Storage
from tfcompress.tflite.dataflow import Dataflow
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import one_magnitude

_OPS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def write_bits(editor: Editor) -> dict[str, str]:
    """Packs the weights of every op whose filters have one magnitude each.

    Args:
        editor: a float file. Its convolutions become slices and matrix products.

    Returns:
        The output name of each op that was left as it was, and why.
    """
    flow = Dataflow(editor)
    table: int | None = None
    before: list[Any] = []
    kept: dict[str, str] = {}
    for op in editor.ops():
        if editor.name(op) not in _OPS:
            continue
        kernel = editor.values(op.inputs[1])
        if kernel is None:
            continue
        why = None if one_magnitude(kernel) else "its weights aren't one magnitude a filter"
        why = why or im2col.why_not(editor, op)
        if why:
            kept[editor.text(op.outputs[0])] = why
            continue
        if table is None:
            table = words.table(editor, 2, before)
        if editor.name(op) == "FULLY_CONNECTED" and _takes_signs(flow, op):
            _integers(editor, op, _matrix(editor, kernel, table, before), kernel, before)
            continue
        rows = [kernel] if kernel.ndim == 2 else list(kernel.transpose(1, 0, 2, 3))
        unpacked = [_floats(editor, row.reshape(len(row), -1), table, before) for row in rows]
        im2col.with_weights(editor, op, unpacked.__getitem__)
    editor.first(before)
    return kept


def _matrix(editor: Editor, matrix: np.ndarray, table: int, ops: list[Any]) -> int:
    """Unpacks the bits of a matrix (filters, inputs): int16, 1 for what isn't negative."""
    return words.unpacked(editor, words.pack(matrix >= 0, 2), table, matrix.shape, ops)


def _floats(editor: Editor, matrix: np.ndarray, table: int, ops: list[Any]) -> int:
    """Unpacks a matrix (filters, inputs) as floats."""
    x = _matrix(editor, matrix, table, ops)
    size = np.abs(matrix).max(1)
    values = editor.constant(np.stack([-size, size], 1))
    return editor.then("GATHER", [values, x], matrix.shape, "float32", ops, axis=1, batchDims=1)


def _takes_signs(flow: Dataflow, op: Any) -> bool:
    """Returns whether a dense op takes one row, of -1 and 1."""
    editor, maker = flow.editor, flow.producer(op.inputs[0])
    if math.prod(editor.shape(op.outputs[0])[:-1]) != 1:
        return False  # Of BATCH_MATMUL, which several rows need, integers would come out wrong.
    while flow.name(maker) == "RESHAPE":
        maker = flow.producer(maker.inputs[0])
    return flow.sign(maker) is not None


def _integers(editor: Editor, op: Any, packed: int, kernel: np.ndarray, before: list[Any]) -> None:
    """Gives a dense op its weights' signs as integers, with the magnitudes behind it.

    Args:
        editor: the file.
        op: the FULLY_CONNECTED.
        packed: the weights' bits.
        kernel: its weights.
        before: where ops on constants are put.
    """
    signs = editor.constant(np.array([-1, 1], np.int8), scale=1.0)
    weights = editor.then("GATHER", [signs, packed], kernel.shape, "int8", before, scale=1.0)
    bare = im2col.without_factors(editor, op, np.abs(kernel).max(1))
    bare.inputs = [op.inputs[0], weights]


def _build(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    packed_bytes = 0

    def write(editor: Editor) -> dict[str, str]:
        """Packs the weights, and counts how many bytes they were."""
        nonlocal packed_bytes
        before = {
            editor.text(op.outputs[0]): kernel.nbytes
            for op in editor.ops()
            if editor.name(op) in _OPS
            for kernel in [editor.values(op.inputs[1])]
            if kernel is not None
        }
        kept = write_bits(editor)
        packed_bytes = sum(size for output, size in before.items() if output not in kept)
        return kept

    built = build.edited(
        job,
        write,
        nothing=(
            "storage 1bit finds no binary weights in model '{model}': use float32, or a technique "
            "that makes some, such as bwn or xnor"
        ),
        prefix="4 bytes a weight: ",
    )
    size = built.path.stat().st_size
    as_bytes = built.float_path.stat().st_size - packed_bytes * 3 // 4
    if size <= as_bytes:
        return built
    note = (
        f"the binary weights are few: with 1 byte each the file would have about "
        f"{as_bytes / 1024:,.1f} KiB instead of {size / 1024:,.1f}, for the ops that unpack bits "
        "take more than they save; use int8, or dynamic where the layers' inputs are floats"
    )
    return dataclasses.replace(built, notes=(note,))


_METHOD = Method(build=_build, audit=audit.float_constants)

STORAGE = Storage(
    name="1bit",
    summary=(
        "1 bit a binary weight, unpacked once as the file is loaded (to integers in dense layers "
        "of signs, else to floats), 4 bytes any other; exact. Convolutions take 1.1 to 1.5 of "
        "float32's latency and no less memory, dense layers of signs 0.4 to 0.9"
    ),
    method=lambda traits: _METHOD,
)
