"""Batch normalisations folded into the products before them, as the converter would do it later.

A folded filter is the filter times its own scale. What the weights of a layer share before that,
they don't share after it: so it is done before values are shared, not behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcompress.graph.rewrite import Graph, clone, rewrite
from tfcompress.qat.parts import Maker, folded, normalization
from tfcompress.qat.prepare import feeding_product, ignoring_none


def fold(model: keras.Model) -> tuple[keras.Model, dict[str, str]]:
    """A flat copy in which each batch normalisation that can be is part of the layer before it.

    A zero stays zero, and is never a negative one: a file's zeros are then all the same bytes.

    Args:
        model: functional, of built-in layers; it stays as it is.

    Returns:
        The copy, and the names of the normalisations that are gone to those of the convolutions
        and dense layers that they are part of now.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3.2, equation 14.
    """
    source = clone(model)
    graph = Graph.of(source)
    make = Maker({*graph.operations, *(x.name for x in source.inputs)})
    replace: dict[str, Callable[..., Any]] = {}
    gone = {}
    for name, layer in graph.operations.items():
        if type(layer).__name__ != "BatchNormalization":
            continue
        before = feeding_product(graph, name)
        if before is None or not _linear(graph.operations[before]):
            continue
        product = graph.operations[before]
        arrays = product.get_weights()
        kind = type(product).__name__
        kernel, bias = folded(kind, arrays[0], (*arrays[1:], None)[0], *normalization(layer))
        new = type(product).from_config({**product.get_config(), "use_bias": True})
        make.weights(new, kernel + 0.0, bias)
        replace[before] = new
        replace[name] = lambda x: x
        gone[name] = before
    if not gone:
        return source, gone
    result = rewrite(source, {name: ignoring_none(new) for name, new in replace.items()})
    make.finish()
    return clone(result), gone


def _linear(layer: Any) -> bool:
    """Whether nothing stands between the product and its normalisation."""
    return layer.activation is keras.activations.linear
