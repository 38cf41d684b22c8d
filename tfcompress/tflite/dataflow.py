"""Which op writes and which ops read each tensor of a file that is open for editing."""

from __future__ import annotations

import math
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

    def levels(self, total: Any) -> tuple[int, tuple[float, ...], list[Any]] | None:
        """Returns what an op adds levels of: a tensor, its three thresholds, and the ops between.

        A level is a sum of three comparisons, as in `[x >= 1] + [x >= 2] + [x >= 3]`. The converter
        adds a single row as a bias, which has its shape without the batch.

        None if the op adds something else.
        """
        ops, thresholds, sources = [total], list[float | None](), set[int]()
        for op in ops:  # It grows on the way.
            name = self.name(op)
            if name == "ADD" and op.builtinOptions.fusedActivationFunction == 0:
                ops += [self.producer(tensor) for tensor in op.inputs]
            elif name in ("CAST", "RESHAPE"):
                ops.append(self.producer(op.inputs[0]))
            elif name == "GREATER_EQUAL":
                thresholds.append(self.scalar(op.inputs[1]))
                sources.add(int(op.inputs[0]))
            else:
                return None
            if len(thresholds) > 3 or self._values(op.outputs[0]) != self._values(total.outputs[0]):
                return None
        begin = sorted(each for each in thresholds if each is not None)
        if len(begin) != 3 or len(sources) != 1:
            return None
        return sources.pop(), tuple(begin), ops

    def _values(self, tensor: int) -> int:
        """Returns how many values a tensor has."""
        return math.prod(self.editor.shape(int(tensor)))
