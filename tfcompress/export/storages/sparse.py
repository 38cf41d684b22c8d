"""Weights without their zeros, in TFLite's own sparse form.

```
values of the others, in their order     segments[row] .. segments[row + 1]: where a row's stand
                                         indices: their places in the row
```

Rows lie along any one axis. A DENSIFY op puts the zeros back as the file is loaded, so that the
layer then computes as if it had been dense. Dense layers whose zeros come in blocks of four
neighbouring inputs have a kernel that skips them, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfcompress.export import audit
from tfcompress.export.storage import BuildJob, BuiltFile, Method, Storage
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import WEIGHTED

_WEIGHTED = (*WEIGHTED, "TRANSPOSE_CONV")
# Neighbouring inputs that the sparse kernel of FULLY_CONNECTED takes at once, and the share of such
# blocks from which on it isn't faster than a dense one; with single weights it is slower anyway.
_BLOCK = 4
_QUICK = 0.2
# Bytes of an op, a tensor and the tables of a sparse form.
_OVERHEAD = 320


@dataclasses.dataclass(frozen=True)
class SparseWeights:
    """A tensor without its zeros.

    Attributes:
        axis: along which the rows lie.
        block: neighbours along it that stand or fall together.
        segments: first block of each row, and behind the last: (rows + 1,).
        indices: each block's place in its row.
        values: of the blocks.
    """

    axis: int
    block: int
    segments: np.ndarray
    indices: np.ndarray
    values: np.ndarray

    @property
    def size_bytes(self) -> int:
        """The bytes that it takes in the file."""
        tables = sum(_narrow(table).nbytes for table in (self.segments, self.indices))
        return self.values.nbytes + tables + _OVERHEAD


def sparse_weights(weights: np.ndarray, axis: int, block: int = 1) -> SparseWeights:
    """Returns weights without their zeros, the rows in the order of the other axes.

    Args:
        weights: of any shape.
        axis: along which the rows lie.
        block: neighbours that stand or fall together; it divides the axis.

    >>> sparse = sparse_weights(np.array([[0, 5], [6, 7]]), axis=1)
    >>> sparse.segments.tolist(), sparse.indices.tolist(), sparse.values.tolist()
    ([0, 1, 3], [1, 0, 1], [5, 6, 7])
    """
    rows = np.moveaxis(weights, axis, -1)
    blocks = rows.reshape(-1, weights.shape[axis] // block, block)
    there = (blocks != 0).any(-1)
    segments = np.concatenate([[0], np.cumsum(there.sum(1))])
    return SparseWeights(axis, block, segments, np.nonzero(there)[1], blocks[there].ravel())


def write_sparse(editor: Editor) -> dict[str, str]:
    """Takes the zeros out of weights where the file becomes smaller by that.

    Args:
        editor: a float file.

    Returns:
        The output name of each op that was left as it was, and why.
    """
    kept: dict[str, str] = {}
    done: set[int] = set()
    for op in editor.ops():
        if editor.name(op) not in _WEIGHTED:
            continue
        tensor = int(op.inputs[1])
        weights = editor.values(tensor)
        if weights is None:
            if tensor not in done:
                kept[editor.text(op.outputs[0])] = "its weights are no constant"
            continue
        if not weights.any():  # Not a value would be left, and a tensor without is no constant.
            kept[editor.text(op.outputs[0])] = "all its weights are zero"
            continue
        best = min(_candidates(weights), key=lambda candidate: candidate.size_bytes)
        if best.size_bytes >= weights.nbytes:
            zeros = 1 - np.count_nonzero(weights) / weights.size
            kept[editor.text(op.outputs[0])] = (
                f"{zeros:.0%} of its weights are zero: without them it takes "
                f"{best.size_bytes} bytes, and {weights.nbytes} with them"
            )
            continue
        quick = _quick(weights) if editor.name(op) == "FULLY_CONNECTED" else None
        if quick is not None and _readers(editor, tensor) == 1:
            _skip(editor, op, weights, quick)
        else:
            _densify(editor, op, weights, best)
            done.add(tensor)
    return kept


def _candidates(weights: np.ndarray) -> Iterator[SparseWeights]:
    """Yields the forms that DENSIFY takes in every runtime: older ones get blocks wrong."""
    for axis, size in enumerate(weights.shape):
        if size > 1 or weights.size == 1:
            yield sparse_weights(weights, axis)


def _quick(weights: np.ndarray) -> SparseWeights | None:
    """Returns the form that a dense layer's sparse kernel takes; None if that would be slower."""
    if weights.shape[1] % _BLOCK:
        return None
    candidate = sparse_weights(weights, 1, _BLOCK)
    return candidate if candidate.values.size <= _QUICK * weights.size else None


def _readers(editor: Editor, tensor: int) -> int:
    """Counts the ops that read a tensor."""
    return sum(tensor in [int(i) for i in op.inputs] for op in editor.ops())


def _densify(editor: Editor, op: Any, weights: np.ndarray, sparse: SparseWeights) -> None:
    """Lets an op make the dense weights of the sparse ones."""
    dense = int(op.inputs[1])
    constant = _constant(editor, weights, sparse, editor.text(dense))
    editor.graph.tensors[dense].buffer = 0
    editor.replace(op, [editor.op("DENSIFY", [constant], [dense]), op])


def _skip(editor: Editor, op: Any, weights: np.ndarray, sparse: SparseWeights) -> None:
    """Lets an op read the sparse weights itself."""
    constant = _constant(editor, weights, sparse, editor.text(int(op.inputs[1])))
    inputs = [int(op.inputs[0]), constant, *(int(index) for index in op.inputs[2:])]
    new = editor.op(
        "FULLY_CONNECTED", inputs, list(op.outputs), version=8, **vars(op.builtinOptions)
    )
    editor.replace(op, [new])


def _constant(editor: Editor, weights: np.ndarray, sparse: SparseWeights, name: str) -> int:
    """Adds a tensor with the values, and the tables that say where they belong."""
    from ai_edge_litert import schema_py_generated as schema

    index = editor.constant(sparse.values, f"{name}/nonzero")
    tensor = editor.graph.tensors[index]
    tensor.shape = list(weights.shape)
    tensor.sparsity = schema.SparsityParametersT()
    others = [axis for axis in range(weights.ndim) if axis != sparse.axis]
    levels = [_dense(schema, weights.shape[axis]) for axis in others]
    levels.append(_rows(schema, sparse))
    tensor.sparsity.traversalOrder = [*others, sparse.axis]
    if sparse.block > 1:
        levels.append(_dense(schema, sparse.block))
        tensor.sparsity.traversalOrder.append(weights.ndim)
        tensor.sparsity.blockMap = [sparse.axis]
    tensor.sparsity.dimMetadata = levels
    return index


def _dense(schema: Any, size: int) -> Any:
    """Describes an axis of which everything is there."""
    level = schema.DimensionMetadataT()
    level.format, level.denseSize = schema.DimensionType.DENSE, int(size)
    return level


def _rows(schema: Any, sparse: SparseWeights) -> Any:
    """Describes the axis of which only some is there."""
    level = schema.DimensionMetadataT()
    level.format = schema.DimensionType.SPARSE_CSR
    for field in ("segments", "indices"):
        values = _narrow(getattr(sparse, field))
        kind = f"{values.dtype.name.capitalize()}Vector"
        table = getattr(schema, f"{kind}T")()
        table.values = values
        name = f"array{field.capitalize()}"
        setattr(level, name, table)
        setattr(level, f"{name}Type", getattr(schema.SparseIndexVector, kind))
    return level


def _narrow(table: np.ndarray) -> np.ndarray:
    """Returns a table of places in the narrowest type that the schema has for it."""
    largest = int(table.max(initial=0))
    for dtype in (np.uint8, np.uint16):
        if largest <= np.iinfo(dtype).max:
            return table.astype(dtype)
    return table.astype(np.int32)


def _build(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.edited(
        job,
        write_sparse,
        nothing=(
            "storage sparse finds no layer of model '{model}' with enough zeros ({why}): use "
            "float32, or the technique prune, which makes some"
        ),
    )


_METHOD = Method(build=_build, audit=audit.float_weights)

STORAGE = Storage(
    name="sparse",
    summary=(
        "float weights without their zeros, 5 to 6 bytes each of the others, where that is "
        "smaller: for prune; exact. As fast as float32 and no less memory, but for dense layers of "
        "which at least 80% is zero in blocks of 4 inputs: those are faster"
    ),
    method=lambda traits: _METHOD,
    by_values=True,
)
