"""Reads, counts and rewrites the graph of a functional Keras model."""

from tfcompress.graph.batch_norm import scale_and_offset
from tfcompress.graph.count import LayerCount, count, macs, parameters, summary
from tfcompress.graph.names import free_name
from tfcompress.graph.rewrite import Graph, clone, lower, rewrite

__all__ = [
    "Graph",
    "LayerCount",
    "clone",
    "count",
    "free_name",
    "lower",
    "macs",
    "parameters",
    "rewrite",
    "scale_and_offset",
    "summary",
]
