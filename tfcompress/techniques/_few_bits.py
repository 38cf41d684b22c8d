"""What the techniques share that give inner layers weights and activations of a few bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import require
from tfcompress.techniques import _blocks, _ends, _layer_inputs
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.graph import Graph
    from tfcompress.graph.layer_maker import LayerMaker
    from tfcompress.layers import FewBitActivations
    from tfcompress.layers._rounded_kernel import RoundedKernel

# Of a FewBitActivations before a layer: its arguments.
Activations = Mapping[str, Any]
# Inputs that come from no ReLU, and those of the first and the last layer.
_EIGHT_BITS: Activations = {"num_bits": 8, "trained": "step"}
_DRAWN = 8
_OPEN_SIZE = 32


def _float_activations(options: Any) -> None:
    """Leaves activations as they are."""


def check_bits(name: str, bits: int, allowed: Any) -> None:
    """Refuses a number of bits that isn't one of those allowed.

    Raises:
        InputError: it isn't.
    """
    most = [each for each in allowed if each < 32][-1]
    text = f"from {allowed[0]} to {most}" + (", or 32" if 32 in allowed else "")
    require(bits in allowed, f"option {name} must be {text}; got {bits}")


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
    aliases: tuple[str, ...] = (),
    activations: Callable[[Any], Activations | None] = _float_activations,
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
        aliases: other words for it.
        activations: arguments of the layers that round the inner layers' inputs, from the options;
            None leaves all inputs as they are. The first and the last layer then have weights and
            inputs of 8 bits.
    """

    def transform(candidate: Candidate, chosen: Any) -> Candidate:
        from tfcompress import layers

        def wrapped(layer: keras.Layer, maker: LayerMaker) -> Any:
            """Makes the wrapper of a layer, which doesn't have its weights yet."""
            inner = type(layer).from_config(layer.get_config())
            kind = getattr(layers, wrapper)
            return maker.layer(layer.name, "", kind, layer=inner, **config(chosen))

        return _wrap_inner(candidate, wrapped, becomes(chosen), signs_kept, activations(chosen))

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
            aliases=aliases,
            produces=frozenset({Property.GRIDS}),
        )
    )


def _wrap_inner(
    candidate: Candidate,
    wrapped: Callable[[keras.Layer, LayerMaker], Any],
    becomes: str,
    signs_kept: bool,
    activations: Activations | None,
) -> Candidate:
    """Wraps every inner convolution and dense layer; the others stay as they are.

    With activations of a few bits their inputs are rounded, and the first and the last layer have
    weights and inputs of 8 bits.
    """
    from tfcompress.graph import Graph, clone
    from tfcompress.graph.layer_maker import LayerMaker, replace_layers

    source = clone(candidate.model)
    graph = Graph.of(source)
    maker = LayerMaker(source)
    wrappers: dict[str, Any] = {}
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if not _blocks.weighted(layer):
            continue
        kind = type(layer).__name__
        why = _blocks.not_inner(graph, name, "more bits", "few-bit")
        if why and activations and _ends.can_be_rounded(graph, name):
            wrappers[name] = _ends.rounded_weights(layer)
            lines.append(LayerLine(name, kind, "quantised", _ends.REASON))
            continue
        if why:
            lines.append(LayerLine(name, kind, "kept", why))
            continue
        if signs_kept:
            _keep_signs(graph, name)
        wrappers[name] = wrapped(layer, maker)
        lines.append(LayerLine(name, kind, "quantised", becomes))
    if not any(line.reason == becomes for line in lines):
        raise _blocks.no_layer(source, "quantised", lines)
    weights = {name: source.get_layer(name).get_weights() for name in wrappers}
    replace = dict(wrappers)
    roundings: dict[str, FewBitActivations] = {}
    inputs = layer_inputs(source, set(wrappers), candidate.samples) if activations else {}
    for line in [line for line in lines if line.name in inputs]:
        few = activations if line.reason == becomes and activations else _EIGHT_BITS
        rounding = _rounding(maker, line.name, inputs[line.name], few)
        roundings[line.name] = rounding
        replace[line.name] = behind(rounding, wrappers[line.name])
    lines = [_with_inputs(line, roundings.get(line.name)) for line in lines]
    model = replace_layers(source, replace, maker)
    for name, arrays in weights.items():
        _start(model.get_layer(name), arrays)
    for name, rounding in roundings.items():
        model.get_layer(rounding.name).start(inputs[name])
    return candidate.then(model, *lines)


def layer_inputs(model: keras.Model, names: set[str], samples: Any) -> dict[str, np.ndarray]:
    """Returns what layers take where a batch of samples runs through a model, by their names.

    Args:
        model: flat.
        names: of layers.
        samples: examples in the structure of the model's inputs; None draws some.
    """
    if samples is None:
        rng = np.random.default_rng(0)

        def draw(x: Any) -> np.ndarray:
            shape = [size or _OPEN_SIZE for size in x.shape[1:]]
            values = rng.standard_normal((_DRAWN, *shape))
            return (
                values.astype("float32") if "float" in x.dtype else np.zeros(values.shape, x.dtype)
            )

        samples = keras.tree.map_structure(draw, model.input)
    return _layer_inputs.inputs(model, names, samples)


def _rounding(
    maker: LayerMaker, name: str, values: np.ndarray, wanted: Activations
) -> FewBitActivations:
    """Makes the layer that rounds another one's inputs.

    Args:
        maker: makes it.
        name: of the other layer.
        values: some of these inputs.
        wanted: its arguments where the inputs are those of a ReLU: none is below 0.
    """
    from tfcompress.layers import FewBitActivations

    config = dict(wanted)
    if (values < 0).any():  # PACT's and DoReFa's levels start at 0.
        config = {**(wanted if wanted["trained"] == "step" else _EIGHT_BITS), "signed": True}
    rounding: FewBitActivations = maker.layer(name, "inputs", FewBitActivations, **config)
    return rounding


def behind(rounding: keras.Layer, layer: keras.Layer) -> Callable[..., Any]:
    """Returns both layers as one function."""
    return lambda x, *args, **kwargs: layer(rounding(x), *args, **kwargs)


def _with_inputs(line: LayerLine, rounding: FewBitActivations | None) -> LayerLine:
    """Returns a layer's line with the bits of its inputs, if they are rounded."""
    if rounding is None:
        return line
    text = f"{line.reason}; inputs of {rounding.num_bits} bits"
    if rounding.signed:
        text += " with a sign, since they come from no ReLU"
    return dataclasses.replace(line, reason=text)


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
