"""Prepares a model for quantization-aware training: rewrites it in layers that have integer ops.

TFMOT quantises what it has patterns for, and leaves the rest float without a word: a batch
normalisation behind a dense layer, a swish inside a convolution. Here each layer is rewritten to
parts with one integer op each, before TFMOT sees the model. A layer without such parts is refused,
or stays float; either way it is named.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np

from tfcompress.bridge import compare
from tfcompress.bridge.activations import TO_TF_KERAS
from tfcompress.bridge.built_in import BuiltIns, Program
from tfcompress.bridge.errors import BridgeError, NoBuiltInLayerError
from tfcompress.bridge.operations import stand_in
from tfcompress.bridge.to_keras import to_keras
from tfcompress.bridge.to_tf_keras import to_tf_keras
from tfcompress.errors import grouped
from tfcompress.graph.batch_norm import scale_and_offset
from tfcompress.graph.fold_batch_norm import (
    foldable_layer_before,
    folded_layer,
    normalizes_last_axis,
)
from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.nodes import functional, input_structure, run
from tfcompress.graph.rewrite import Graph, clone, fresh_inputs, rewrite, with_output_names
from tfcompress.graph.split_activations import split_activations
from tfcompress.qat.rules import (
    IDENTITIES,
    INTEGER,
    PLAIN_ACTIVATIONS,
    PREPROCESSING,
    RULES,
    takes_whole_numbers,
)

OnUnsupported = Literal["error", "keep_float"]
# How far outputs may be off, as a share of their scale: by sums in another order. The bridge's own
# default is for models that nothing is done to.
TOLERANCE = 1e-4
_WHOLE_NUMBERS = "it makes floats of the input's whole numbers"
# Behind these a batch normalisation stays: training wants it.
_TRAINED_WITH_NORMALIZATION = ("Conv2D", "DepthwiseConv2D")


@dataclasses.dataclass(frozen=True)
class Change:
    """Says what was done to one layer.

    Attributes:
        name: the layer's name.
        kind: its class name.
        action: `split`, `folded`, `rewritten` or `kept float`.
        reason: what became of it, or why it stays float.
    """

    name: str
    kind: str
    action: str
    reason: str


def prepare(
    model: keras.Model, *, on_unsupported: OnUnsupported = "error", by_tfmot: bool = True
) -> tuple[keras.Model, list[Change]]:
    """Returns a model that computes the same, in layers that can be trained quantised.

    - Activations inside layers become layers of their own; swish becomes a sigmoid and a product.
    - A batch normalisation is folded into the dense layer or transposed convolution before it. It
      stays behind a convolution, whose training wants it. Elsewhere it becomes a 1x1 depthwise
      convolution, as rescalings do.
    - Separable convolutions become two, and convolutions over one axis become those over two.
    - An `Identity` marks where floats are to be quantised: behind each input of floats, and behind
      each layer that stays float.

    Args:
        model: a functional or Sequential model; it stays as it is.
        on_unsupported: what to do about layers that have no integer form: `error` refuses them,
            `keep_float` leaves them float. A rescaling of integers stays float in either case.
        by_tfmot: whether TFMOT trains the model, so that all of it must have an equal in tf_keras.
            Else layers of ours aren't lowered, and other precisions than float32 stay.

    Returns:
        A flat model of built-in layers with weights of its own; and what was done to its layers.

    Raises:
        InputError: the model has no graph, or layers that have no integer form, all named.
        BridgeError: a layer has no equal in tf_keras, where it must have one, or the outputs differ
            by more than 1e-4 of their scale.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3.
    """
    if by_tfmot:
        # There and back: afterwards every operation is a built-in layer that both sides know.
        there = to_tf_keras(functional(model), tolerance=TOLERANCE)
        original = to_keras(there, tolerance=TOLERANCE)
    else:
        original = clone(model)
    changes: list[Change] = []
    result = original
    for one_pass in (_split, _write_operations, _expand, _fold, _mark):
        result = one_pass(result, changes)
    _refuse(result, changes, on_unsupported)
    _check(original, result)
    return named_outputs(result, like=model), changes


def named_outputs(model: keras.Model, *, like: keras.Model) -> keras.Model:
    """Returns a model with several outputs with the names that another one's have.

    Args:
        model: flat, as `clone` returns it.
        like: has the outputs in the same order.
    """
    if len(model.outputs) == 1:
        return model
    return with_output_names(model, functional(like).output_names)


def _split(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Makes the activations inside layers layers of their own."""
    kinds = _kinds(model)
    result, activations = split_activations(model)
    for name, activation in activations.items():
        reason = f"{activation} stands behind it as a layer"
        changes.append(Change(name, kinds[name], "split", reason))
    return result


def _write_operations(model: keras.Model, changes: list[Change]) -> keras.Model:
    """Writes operations of `keras.ops` and activations that tf_keras lacks in built-in layers.

    Of a model that came back from tf_keras there are none. Those that can't be are named later.
    """
    taken = {*(x.name for x in model.inputs), *Graph.of(model).operations}
    replace: dict[str, Callable[..., Any]] = {}
    for name, operation in Graph.of(model).operations.items():
        steps = _steps(operation)
        if steps is not None:
            program = Program(BuiltIns(keras.layers, name, taken, first=name), steps)
            replace[name] = _if_possible(program, operation)
    return clone(rewrite(model, replace)) if replace else model


def _steps(operation: Any) -> Callable[..., Any] | None:
    """Returns what writes an operation or activation in built-in layers; None for layers."""
    if isinstance(operation, keras.layers.Activation):
        return TO_TF_KERAS.get(getattr(operation.activation, "__name__", ""))
    if isinstance(operation, keras.layers.Layer):
        return None
    try:
        return stand_in(operation)
    except NoBuiltInLayerError:
        return None


def _if_possible(program: Program, operation: Any) -> Callable[..., Any]:
    """Returns a function that calls the program, or the operation if it can't do the same."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return program(*args, **kwargs)
        except NoBuiltInLayerError:
            return operation(*args, **kwargs)

    return call


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
    """Puts an `Identity` behind each input of floats and each layer that stays float."""
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
    """Returns why layers of a model have no integer form, by their names, in the graph's order."""
    graph = Graph.of(model)
    reasons: dict[str, str] = {}
    for name, layer in graph.operations.items():
        kind = type(layer).__name__
        if kind in INTEGER or kind in IDENTITIES:
            continue
        if kind == "Activation":
            activation = getattr(layer.activation, "__name__", "?")
            if activation not in PLAIN_ACTIVATIONS:
                reasons[name] = f"the activation {activation} has no integer op"
        elif kind == "BatchNormalization":
            if foldable_layer_before(graph, name) is None:
                reasons[name] = "it normalises another axis than the last"
        elif kind == "ReLU":
            if layer.threshold or (layer.negative_slope and layer.max_value is not None):
                reasons[name] = "a ReLU with a threshold, or with a slope and a bound"
        elif kind in PREPROCESSING and takes_whole_numbers(layer):
            reasons[name] = _WHOLE_NUMBERS
        else:
            reasons[name] = "it has no integer form here"
    return reasons


def _kinds(model: keras.Model) -> dict[str, str]:
    """Returns the class name of each layer, by the layer's name."""
    return {name: type(layer).__name__ for name, layer in Graph.of(model).operations.items()}


def _refuse(model: keras.Model, changes: list[Change], on_unsupported: str) -> None:
    """Lists the layers that have no integer form among the changes.

    Raises:
        BridgeError: there are some, and they aren't to be kept float.
    """
    reasons = unsupported(model)
    kinds = _kinds(model)
    refused = {name: why for name, why in reasons.items() if why != _WHOLE_NUMBERS}
    if refused and on_unsupported == "error":
        named = grouped({f"'{name}' ({kinds[name]})": why for name, why in refused.items()})
        raise BridgeError(
            f"quantization-aware training can't quantise some layers ({named}): rewrite the model "
            "without them, or give option on_unsupported=keep_float to leave them float in the file"
        )
    for name, why in reasons.items():
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
        actual = compare.arrays(compare.keras_outputs(result, packed(inputs)))
        difference = compare.difference(expected, actual)
        if not difference <= TOLERANCE or not all(np.isfinite(x).all() for x in expected):
            raise BridgeError(
                f"'{original.name}', rewritten for quantization, differs by {difference:.3g} of "
                f"its outputs' scale (allowed: {TOLERANCE:.3g}): give a model with sound weights"
            )
        return
