"""Reading and rewriting the graph of a functional Keras model."""

from tfcompress.graph.count import LayerCount, count, macs, parameters, summary
from tfcompress.graph.rewrite import Graph, clone, lower, rewrite

__all__ = [
    "Graph",
    "LayerCount",
    "clone",
    "count",
    "lower",
    "macs",
    "parameters",
    "rewrite",
    "summary",
]
