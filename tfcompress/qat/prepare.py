"""The QAT-ready pass: the same function in layers that an integer file has ops for.

TFMOT quantises what it has patterns for, and leaves the rest float without a word: a batch
normalisation behind a dense layer, a swish inside a convolution. Here each layer is rewritten to
parts with one integer op each, before TFMOT sees the model; what has none is refused by name, or
stays as a float island that is named.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np

from tfcompress.bridge import compare
from tfcompress.bridge.errors import BridgeError
from tfcompress.bridge.to_keras import to_keras
from tfcompress.bridge.to_tf_keras import to_tf_keras
from tfcompress.graph.batch_norm import scale_and_offset
from tfcompress.graph.fold_batch_norm import (
    foldable_layer_before,
    folded_layer,
    normalizes_last_axis,
)
from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.nodes import functional, input_structure, run
from tfcompress.graph.rewrite import Graph, clone, fresh_inputs
from tfcompress.graph.split_activations import split_activations
from tfcompress.qat.rules import IDENTITIES, INTEGER, PLAIN_ACTIVATIONS, RULES

OnUnsupported = Literal["error", "keep_float"]
# Of sums in another order; the bridge's own default is for models that nothing is done to.
TOLERANCE = 1e-4
# Behind these a batch normalisation stays: training wants it.
_TRAINED_WITH_NORMALIZATION = ("Conv2D", "DepthwiseConv2D")


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


def _split(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Makes the activations inside layers layers of their own."""
    kinds = _kinds(model)
    result, activations = split_activations(model)
    for name, activation in activations.items():
        reason = f"{activation} stands behind it as a layer"
        changes.append(Change(name, kinds[name], "split", reason))
    return result


def _expand(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Writes every layer that has one of the `RULES` in parts that have integer ops."""
    maker = LayerMaker(model)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in Graph.of(model).operations.items():
        rule = RULES.get(type(layer).__name__)
        parts = rule(layer, maker) if rule else None
        if parts is not None:
            replace[name], reason = parts
            if reason:
                changes.append(Change(name, type(layer).__name__, "rewritten", reason))
    return replace_layers(model, replace, maker)


def _fold(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Folds or rewrites the batch normalisations that don't stay behind a convolution."""
    maker = LayerMaker(model)
    graph = Graph.of(model)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in graph.operations.items():
        kind = type(layer).__name__
        if kind != "BatchNormalization" or not normalizes_last_axis(layer):
            continue  # Of another axis: refused or kept float below.
        before = foldable_layer_before(graph, name)
        if before is None:
            scale, offset = scale_and_offset(layer)
            replace[name] = functools.partial(maker.affine, name, "", scale=scale, offset=offset)
            reason = "behind no convolution: a 1x1 depthwise convolution"
            changes.append(Change(name, kind, "rewritten", reason))
        elif type(graph.operations[before]).__name__ not in _TRAINED_WITH_NORMALIZATION:
            replace[before] = folded_layer(graph.operations[before], layer, maker)
            replace[name] = lambda x: x
            changes.append(Change(name, kind, "folded", f"into {before}"))
    return replace_layers(model, replace, maker)


def _mark(model: keras.Model, changes: list[Change]) -> keras.Model:
    """An `Identity` where floats come in: behind each input and each layer that stays float."""
    maker = LayerMaker(model)
    stays_float = unsupported(model)

    def marked(owner: str, values: Any) -> Any:
        flat = keras.tree.flatten(values)
        for index, x in enumerate(flat):
            if keras.backend.is_float_dtype(x.dtype):
                part = "quantize" if index == 0 else f"quantize_{index}"
                flat[index] = maker.layer(owner, part, "Identity")(x)
        return keras.tree.pack_sequence_as(values, flat)

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        return marked(operation.name, outputs) if operation.name in stays_float else outputs

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
            if foldable_layer_before(graph, name) is None:
                found[name] = "it normalises another axis than the last"
        elif kind == "ReLU":
            if layer.threshold or (layer.negative_slope and layer.max_value is not None):
                found[name] = "a ReLU with a threshold, or with a slope and a bound"
        else:
            found[name] = "it has no integer op"
    return found


def _kinds(model: keras.Model) -> dict[str, str]:
    """Returns the class name of each layer, by the layer's name."""
    return {name: type(layer).__name__ for name, layer in Graph.of(model).operations.items()}


def _refuse(model: keras.Model, changes: list[Change], on_unsupported: str) -> None:
    """Names what has no integer form.

    Raises:
        BridgeError: there is something, and it isn't to be kept float.
    """
    found = unsupported(model)
    kinds = _kinds(model)
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

    limits = compare.index_limits(original)
    for inputs in compare.samples(
        original.inputs, limits, lambda x: compare.fits(original, packed(x))
    ):
        expected = compare.arrays(compare.keras_outputs(original, packed(inputs)))
        got = compare.arrays(compare.keras_outputs(result, packed(inputs)))
        found = compare.difference(expected, got)
        if not found <= TOLERANCE or not all(np.isfinite(x).all() for x in expected):
            raise BridgeError(
                f"'{original.name}', rewritten for quantization, differs by {found:.3g} of its "
                f"outputs' scale (allowed: {TOLERANCE:.3g}): give a model with sound weights"
            )
        return
