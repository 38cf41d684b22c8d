"""Which graphs of a file run which others: loops, branches and initialisations."""

from __future__ import annotations

from typing import Any

# Fields of ops' options that hold a graph's number.
_FIELDS = (
    *("condSubgraphIndex", "bodySubgraphIndex", "thenSubgraphIndex", "elseSubgraphIndex"),
    *("initSubgraphIndex", "subgraph"),
)


def called(model: Any, number: int) -> frozenset[int]:
    """Returns the numbers of a graph and of all that run with it.

    Args:
        model: of the schema's object API; nothing in it need be true.
        number: of the graph.
    """
    reached, left = {number}, [number]
    while left:
        graph = model.subgraphs[left.pop()]
        for op in graph.operators if graph.operators is not None else ():
            for other in {int(getattr(op.builtinOptions, field, number)) for field in _FIELDS}:
                if 0 <= other < len(model.subgraphs) and other not in reached:
                    reached.add(other)
                    left.append(other)
    return frozenset(reached)


def renumber(op: Any, more: int) -> None:
    """Adds to the numbers of the graphs that an op runs."""
    for field in _FIELDS:
        if hasattr(op.builtinOptions, field):
            setattr(op.builtinOptions, field, int(getattr(op.builtinOptions, field)) + more)
