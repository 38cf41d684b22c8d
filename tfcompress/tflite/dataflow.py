"""Which op writes and which ops read each tensor of a file that is open for editing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfcompress.tflite.editor import Editor


def producers_and_consumers(ops: Iterable[Any]) -> tuple[dict[int, Any], dict[int, list[Any]]]:
    """Returns the op that writes each tensor, and the ops that read it, each op once.

    Args:
        ops: of the schema's object API.
    """
    producers: dict[int, Any] = {}
    consumers: dict[int, list[Any]] = {}
    for op in ops:
        producers.update({int(tensor): op for tensor in op.outputs})
        for tensor in dict.fromkeys(map(int, op.inputs)):
            consumers.setdefault(tensor, []).append(op)
    return producers, consumers


class Dataflow:
    """Producers and consumers of the tensors of a file's main graph.

    Args:
        editor: the open file; later edits aren't seen.

    Attributes:
        editor: the open file.
        producers: tensor to the op that writes it.
        consumers: tensor to the ops that read it.
        outputs: the graph's outputs.
    """

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.producers, self.consumers = producers_and_consumers(editor.ops())
        self.outputs = {int(tensor) for tensor in editor.graph.outputs}

    def name(self, op: Any) -> str:
        """Returns an op's name; empty for None."""
        return self.editor.name(op) if op is not None else ""

    def producer(self, tensor: int) -> Any:
        """Returns the op that writes a tensor, or None."""
        return self.producers.get(int(tensor))

    def only_consumer(self, tensor: int) -> Any:
        """Returns the op that alone reads a tensor, or None."""
        ops = self.consumers.get(int(tensor), [])
        return ops[0] if len(ops) == 1 and int(tensor) not in self.outputs else None

    def scalar(self, tensor: int) -> float | None:
        """Returns a constant's only value; None if it has several, or is no constant."""
        values = self.editor.values(int(tensor))
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None

    def per_filter(self, tensor: int, filters: int) -> np.ndarray | None:
        """Returns a constant with one value for each filter, or one for all: float32 (filters,).

        None for any other tensor.
        """
        values = self.editor.values(int(tensor))
        if values is None or values.size not in (1, filters):
            return None
        if values.size == filters and values.shape[-1:] not in ((filters,), ()):
            return None
        return np.broadcast_to(values.ravel(), (filters,)).astype("float32")

    def sign(self, select: Any) -> tuple[int, Any] | None:
        """Returns the tensor whose signs an op selects, and the comparing op.

        None if the op doesn't choose between 1 and -1 by a comparison with 0.
        """
        if self.name(select) not in ("SELECT", "SELECT_V2"):
            return None
        compare = self.producer(select.inputs[0])
        if (
            self.name(compare) != "GREATER_EQUAL"
            or self.scalar(compare.inputs[1]) != 0.0
            or self.scalar(select.inputs[1]) != 1.0
            or self.scalar(select.inputs[2]) != -1.0
        ):
            return None
        return int(compare.inputs[0]), compare
