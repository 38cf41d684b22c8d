"""Clusters the weights of a Keras 3 model while anybody trains it: by `fit`, or by a loop.

Layers are wrapped as TFMOT wraps them: what is trained are latent weights and the values that they
share, and the layer computes with the nearest values. The wrapper keeps the layer's name and calls
the layer itself, so that everything else of the model stays what it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras

from tfcompress.graph import clone, rewrite
from tfcompress.graph.nodes import operations
from tfcompress.layers._cluster_weights import ClusterWeights, LayerClustering


def clustered(
    model: keras.Model,
    kernels: Mapping[str, Sequence[keras.Variable]],
    plan: Mapping[str, LayerClustering],
) -> keras.Model:
    """Returns a model whose kernels share values; it has the given one's layers and weights.

    Args:
        model: flat, as `graph.clone` returns it.
        kernels: each layer's, by its name.
        plan: how each is clustered, by layer name.
    """
    layers = {layer.name: layer for layer in operations(model)}
    wrappers = {}
    for name, settings in plan.items():
        chosen = {id(kernel) for kernel in kernels[name]}
        places = [n for n, each in enumerate(layers[name].weights) if id(each) in chosen]
        wrappers[name] = ClusterWeights(
            layers[name], kernels=places, **dataclasses.asdict(settings)
        )
    return rewrite(model, wrappers)


def wrappers(model: keras.Model) -> list[ClusterWeights]:
    """Returns what clusters a model's kernels; empty if nothing does."""
    return [each for each in operations(model) if isinstance(each, ClusterWeights)]


def finished(model: keras.Model) -> keras.Model:
    """Returns a copy without wrappers, whose kernels hold the shared values."""
    return clone(rewrite(model, {each.name: each.lower() for each in wrappers(model)}))
