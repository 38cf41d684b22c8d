"""What the techniques share that give inner layers weights of a few bits, and float activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.deferred import keras
from tfcompress.techniques import _blocks
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.graph import Graph
    from tfcompress.graph.layer_maker import LayerMaker
    from tfcompress.layers._rounded_kernel import RoundedKernel


def technique(
    *,
    name: str,
    summary: str,
    reference: str,
    options: type,
    wrapper: str,
    config: Callable[[Any], Mapping[str, Any]],
    becomes: Callable[[Any], str],
    signs_kept: bool,
    epochs: int,
    storages: tuple[str, ...],
) -> Technique:
    """Makes a technique that wraps every inner convolution and dense layer.

    Args:
        name: of the technique.
        summary: for `--list`.
        reference: authors, year, arXiv id.
        options: the hyper-parameters' class.
        wrapper: name of the layer in `tfcompress.layers` that rounds the kernel.
        config: the wrapper's arguments, from the options.
        becomes: what the report says of a layer, from the options.
        signs_kept: whether the batch normalisation behind a layer mustn't turn its weights' signs:
            where the lowest integer has no positive partner, the file couldn't hold them.
        epochs: of the training.
        storages: how the export writes it by default, as `Technique` has them.
    """

    def transform(candidate: Candidate, chosen: Any) -> Candidate:
        from tfcompress import layers

        def wrapped(layer: keras.Layer, maker: LayerMaker) -> Any:
            """Makes the wrapper of a layer, which doesn't have its weights yet."""
            inner = type(layer).from_config(layer.get_config())
            kind = getattr(layers, wrapper)
            return maker.layer(layer.name, "", kind, layer=inner, **config(chosen))

        return _wrap_inner(candidate, wrapped, becomes(chosen), signs_kept)

    return taking_equivalents(
        Technique(
            name=name,
            summary=summary,
            reference=reference,
            options=options,
            transform=transform,
            check=transform,
            training=distilled(epochs=epochs),
            storages=storages,
            produces=frozenset({Property.QUANTISED}),
        )
    )


def _wrap_inner(
    candidate: Candidate,
    wrapped: Callable[[keras.Layer, LayerMaker], Any],
    becomes: str,
    signs_kept: bool,
) -> Candidate:
    """Wraps every inner convolution and dense layer; the others stay as they are."""
    from tfcompress.graph import Graph, clone
    from tfcompress.graph.layer_maker import LayerMaker, replace_layers

    source = clone(candidate.model)
    graph = Graph.of(source)
    maker = LayerMaker(source)
    replace: dict[str, Any] = {}
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if not _blocks.weighted(layer):
            continue
        kind = type(layer).__name__
        why = _blocks.not_inner(graph, name, "more bits", "few-bit")
        if why:
            lines.append(LayerLine(name, kind, "kept", why))
            continue
        if signs_kept:
            _keep_signs(graph, name)
        replace[name] = wrapped(layer, maker)
        lines.append(LayerLine(name, kind, "quantised", becomes))
    if not replace:
        raise _blocks.no_layer(source, "quantised", lines)
    weights = {name: source.get_layer(name).get_weights() for name in replace}
    model = replace_layers(source, replace, maker)
    for name, arrays in weights.items():
        _start(model.get_layer(name), arrays)
    return candidate.then(model, *lines)


def _start(wrapper: RoundedKernel, arrays: list[np.ndarray]) -> None:
    """Gives a wrapped layer its weights, and the wrapper steps or scales that fit them."""
    wrapper.layer.set_weights(arrays)
    wrapper.start()


def _keep_signs(graph: Graph, name: str) -> None:
    """Turns the filters that the batch normalisation behind them turns, and keeps it from it.

    The layers compute what they did: kernel, bias, mean and gamma of such a filter change sign.
    """
    block = _blocks.find(graph, name)
    layer, bn = graph.operations[name], graph.operations[block.bn] if block.bn else None
    if bn is None or not bn.scale:
        return
    gamma = np.asarray(keras.ops.convert_to_numpy(bn.gamma))
    signs = np.where(gamma < 0, -1, 1).astype(gamma.dtype)
    for weight in [*layer.weights, bn.gamma, bn.moving_mean]:
        weight.assign(weight * signs)  # The last axis is the filters'.
    bn.gamma_constraint = bn.gamma.constraint = keras.constraints.NonNeg()
