"""Who makes and who reads what in a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfcompress.tflite.editor import Editor


class Graph:
    """Who makes and who reads each tensor of a file's main graph."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.makers: dict[int, Any] = {}
        self.readers: dict[int, list[Any]] = {}
        for op in editor.ops():
            self.makers.update({int(tensor): op for tensor in op.outputs})
            for tensor in {int(tensor) for tensor in op.inputs}:
                self.readers.setdefault(tensor, []).append(op)
        self.outputs = {int(tensor) for tensor in editor.graph.outputs}

    def name(self, op: Any) -> str:
        """An op's name; empty for None."""
        return self.editor.name(op) if op is not None else ""

    def maker(self, tensor: int) -> Any:
        """The op that makes a tensor, or None."""
        return self.makers.get(int(tensor))

    def reader(self, tensor: int) -> Any:
        """The op that alone reads a tensor, or None."""
        readers = self.readers.get(int(tensor), [])
        return readers[0] if len(readers) == 1 and int(tensor) not in self.outputs else None

    def scalar(self, tensor: int) -> float | None:
        """A constant's only value."""
        values = self.editor.values(int(tensor))
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None

    def per_filter(self, tensor: int, filters: int) -> np.ndarray | None:
        """A constant with one value for each filter, or one for all: float32 (filters,)."""
        values = self.editor.values(int(tensor))
        if values is None or values.size not in (1, filters):
            return None
        if values.size == filters and values.shape[-1:] not in ((filters,), ()):
            return None
        return np.broadcast_to(values.ravel(), (filters,)).astype("float32")

    def sign(self, select: Any) -> tuple[int, Any] | None:
        """The tensor whose signs an op selects, and the comparing op; None if it does not."""
        if self.name(select) not in ("SELECT", "SELECT_V2"):
            return None
        compare = self.maker(select.inputs[0])
        if (
            self.name(compare) != "GREATER_EQUAL"
            or self.scalar(compare.inputs[1]) != 0.0
            or self.scalar(select.inputs[1]) != 1.0
            or self.scalar(select.inputs[2]) != -1.0
        ):
            return None
        return int(compare.inputs[0]), compare
