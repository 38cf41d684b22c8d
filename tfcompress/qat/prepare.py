"""The QAT-ready pass: the same function in layers that an integer file has ops for.

TFMOT quantises what it has patterns for, and leaves the rest float without a word: a batch
normalisation behind a dense layer, a swish inside a convolution. Here each layer is rewritten to
parts with one integer op each, before TFMOT sees the model; what has none is refused by name, or
stays as a float island that is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np

from tfcompress.bridge import compare
from tfcompress.bridge.errors import BridgeError
from tfcompress.bridge.to_keras import to_keras
from tfcompress.bridge.to_tf_keras import fits, index_limits, keras_outputs, to_tf_keras
from tfcompress.graph.nodes import input_structure
from tfcompress.graph.rewrite import Graph, clone, fresh_inputs, functional, rewrite, run
from tfcompress.qat.parts import Maker, folded, normalization
from tfcompress.qat.rules import (
    IDENTITIES,
    INTEGER,
    PLAIN_ACTIVATIONS,
    RULES,
    SPLITS,
    without_activation,
)

OnUnsupported = Literal["error", "keep_float"]
# Of sums in another order; the bridge's own default is for models that nothing is done to.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Change:
    """What was done to one layer.

    Attributes:
        name: the layer's.
        kind: its class name.
        action: one or two words, such as `split`, `folded`, `kept float`.
        reason: why.
    """

    name: str
    kind: str
    action: str
    reason: str


def prepare(
    model: keras.Model, *, on_unsupported: OnUnsupported = "error"
) -> tuple[keras.Model, list[Change]]:
    """A model of the same function in layers that can be trained quantised.

    Activations inside layers become layers of their own; a batch normalisation is folded into the
    dense layer or transposed convolution before it, stays behind a convolution (whose training
    wants it), and is a 1x1 depthwise convolution elsewhere, as rescalings are; separable
    convolutions become two, those over one axis become those over two; swish becomes a sigmoid and
    a product. Behind each input of floats and each float island stands an `Identity`, the place
    where its values are quantised.

    Args:
        model: a functional or Sequential model; it stays as it is.
        on_unsupported: `error`, or `keep_float` for layers that have no integer form.

    Returns:
        A flat model of built-in layers with weights of its own, and what was done.

    Raises:
        InputError: the model has no graph, or layers that have no integer form, all named.
        BridgeError: a layer has no equal in tf_keras, or the outputs differ by more than 1e-4 of
            their scale.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3.
    """
    # There and back: afterwards every operation is a built-in layer that both sides know by name.
    there = to_tf_keras(functional(model), tolerance=TOLERANCE)
    original = to_keras(there, tolerance=TOLERANCE)
    changes: list[Change] = []
    result = original
    for one_pass in (_split, _expand, _fold, _mark):
        result = one_pass(result, changes)
    _refuse(result, changes, on_unsupported)
    _check(original, result)
    return result, changes


def _rewritten(
    model: keras.Model, replace: dict[str, Callable[..., Any]], make: Maker
) -> keras.Model:
    """The rewritten model, flat and with free names, its new layers' weights in place."""
    if not replace:
        return model
    result = rewrite(model, {name: ignoring_none(new) for name, new in replace.items()})
    make.finish()
    return clone(result)


def ignoring_none(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without the arguments `mask` and `training` that Keras adds and nobody set."""
    return lambda *args, **kwargs: function(
        *args, **{key: value for key, value in kwargs.items() if value is not None}
    )


def _maker(model: keras.Model) -> Maker:
    graph = Graph.of(model)
    return Maker({*graph.operations, *(x.name for x in model.inputs)})


def _split(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Activations inside products become layers of their own."""
    make = _maker(model)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in Graph.of(model).operations.items():
        kind = type(layer).__name__
        if kind not in SPLITS or layer.activation is keras.activations.linear:
            continue
        body, tail = without_activation(layer, make)
        replace[name] = lambda x, body=body, tail=tail: tail(body(x))
        made = getattr(layer.activation, "__name__", None) or type(layer.activation).__name__
        changes.append(Change(name, kind, "split", f"{made} stands behind it as a layer"))
    return _rewritten(model, replace, make)


def _expand(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Every layer that is one of the rules' in parts that have integer ops."""
    make = _maker(model)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in Graph.of(model).operations.items():
        rule = RULES.get(type(layer).__name__)
        found = rule(layer, make) if rule else None
        if found is not None:
            replace[name], what = found
            if what:
                changes.append(Change(name, type(layer).__name__, "rewritten", what))
    return _rewritten(model, replace, make)


def _fold(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Batch normalisations that don't stay behind a convolution."""
    make = _maker(model)
    graph = Graph.of(model)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in graph.operations.items():
        if type(layer).__name__ != "BatchNormalization":
            continue
        if not _of_last_axis(layer):
            continue  # Refused or kept float below.
        before = feeding_product(graph, name)
        if before is not None and type(graph.operations[before]).__name__ in CONVOLUTIONS:
            continue
        scale, offset = normalization(layer)
        if before is not None:
            product = graph.operations[before]
            kind = type(product).__name__
            arrays = product.get_weights()
            kernel, bias = folded(kind, arrays[0], (*arrays[1:], None)[0], scale, offset)
            config = {**product.get_config(), "use_bias": True}
            new = type(product).from_config(config)
            make.weights(new, kernel, bias)
            replace[before] = new
            replace[name] = lambda x: x
            changes.append(Change(name, "BatchNormalization", "folded", f"into {before}"))
        else:
            replace[name] = lambda x, name=name, scale=scale, offset=offset: make.affine(
                name, "", x, scale, offset
            )
            reason = "behind no convolution: a 1x1 depthwise convolution"
            changes.append(Change(name, "BatchNormalization", "rewritten", reason))
    return _rewritten(model, replace, make)


CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")


def _of_last_axis(layer: Any) -> bool:
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    return axis in (-1, len(layer.get_build_config()["input_shape"]) - 1)


def feeding_product(graph: Graph, name: str) -> str | None:
    """The product that alone feeds a batch normalisation and nothing else, or None."""
    producers = graph.producers[name]
    if graph.calls[name] != 1 or len(producers) != 1 or not _of_last_axis(graph.operations[name]):
        return None
    before = producers[0]
    known = (*CONVOLUTIONS, "Conv2DTranspose", "Dense")
    if type(graph.operations[before]).__name__ not in known or graph.calls[before] != 1:
        return None
    return before if graph.only_consumer(before) == name else None


def _mark(model: keras.Model, changes: list[Change]) -> keras.Model:
    """An `Identity` where floats come in: behind each input and each layer that stays float."""
    make = _maker(model)
    islands = unsupported(model)

    def marked(owner: str, values: Any) -> Any:
        flat = keras.tree.flatten(values)
        for index, x in enumerate(flat):
            if keras.backend.is_float_dtype(x.dtype):
                part = "quantize" if index == 0 else f"quantize_{index}"
                flat[index] = make.once(owner, part, "Identity")(x)
        return keras.tree.pack_sequence_as(values, flat)

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        return marked(operation.name, outputs) if operation.name in islands else outputs

    inputs = fresh_inputs(model)
    given = keras.tree.map_structure(lambda x: marked(x.name, x), inputs)
    return clone(keras.Model(inputs, run(model, given, apply), name=model.name))


def unsupported(model: keras.Model) -> dict[str, str]:
    """The layers of a model that have no integer form: name to why, in the graph's order."""
    graph = Graph.of(model)
    found = {}
    for name, layer in graph.operations.items():
        kind = type(layer).__name__
        if kind in INTEGER or kind in IDENTITIES:
            continue
        if kind == "Activation":
            what = getattr(layer.activation, "__name__", "?")
            if what not in PLAIN_ACTIVATIONS:
                found[name] = f"the activation {what} has no integer op"
        elif kind == "BatchNormalization":
            if feeding_product(graph, name) is None:
                found[name] = "it normalises another axis than the last"
        elif kind == "ReLU":
            if layer.threshold or (layer.negative_slope and layer.max_value is not None):
                found[name] = "a ReLU with a threshold, or with a slope and a bound"
        else:
            found[name] = "it has no integer op"
    return found


def _refuse(model: keras.Model, changes: list[Change], on_unsupported: str) -> None:
    """Names what has no integer form.

    Raises:
        BridgeError: there is something, and it isn't to be kept float.
    """
    found = unsupported(model)
    kinds = {name: type(Graph.of(model).operations[name]).__name__ for name in found}
    if found and on_unsupported == "error":
        named = ", ".join(f"'{name}' ({kinds[name]}: {why})" for name, why in found.items())
        raise BridgeError(
            f"quantization-aware training can't quantise {named}: rewrite the model without, or "
            "give option on_unsupported=keep_float to leave them float in the file"
        )
    for name, why in found.items():
        changes.append(Change(name, kinds[name], "kept float", why))


def _check(original: keras.Model, result: keras.Model) -> None:
    """Compares the rewritten model with the one that it was made of.

    Raises:
        BridgeError: they differ.
    """

    def packed(inputs: list[np.ndarray]) -> Any:
        return keras.tree.pack_sequence_as(input_structure(original), inputs)

    limits = index_limits(original)
    for inputs in compare.samples(original.inputs, limits, lambda x: fits(original, packed(x))):
        expected = compare.arrays(keras_outputs(original, packed(inputs)))
        got = compare.arrays(keras_outputs(result, packed(inputs)))
        found = compare.difference(expected, got)
        if not found <= TOLERANCE or not all(np.isfinite(x).all() for x in expected):
            raise BridgeError(
                f"'{original.name}', rewritten for quantization, differs by {found:.3g} of its "
                f"outputs' scale (allowed: {TOLERANCE:.3g}): give a model with sound weights"
            )
        return
