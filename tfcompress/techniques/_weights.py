"""Chooses the layers that pruning and clustering work on, and settings for some by name."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfcompress.deferred import keras
from tfcompress.errors import InputError, require
from tfcompress.techniques._blocks import custom, no_layer, weighted
from tfcompress.techniques._engines import Engine
from tfcompress.techniques.base import Candidate, LayerLine

# Kernels smaller than this are left alone: neither zeros nor clusters save bytes there.
SMALLEST = 64
NAMED = "named in the option leave"


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Holds a model whose layers can be pruned or clustered, and which of them are to be.

    Attributes:
        model: a flat copy in built-in layers.
        names: of the layers whose weights are worked on.
        kept: a line for each weighted layer that is left alone.
        kinds: layer name to class name.
        kinds_before: likewise, as the model had the layers: a separable convolution is two here,
            of which the 1x1 part has its name.
        by_tfmot: whether TFMOT may train the model.
    """

    model: keras.Model
    names: tuple[str, ...]
    kept: tuple[LayerLine, ...]
    kinds: dict[str, str]
    kinds_before: dict[str, str]
    by_tfmot: bool


def choose(
    model: keras.Model, leave: Sequence[str], verb: str, *, engine: Engine = "auto"
) -> Chosen:
    """Chooses the layers whose weights are worked on.

    Args:
        model: functional or Sequential.
        leave: patterns of layer names that are left alone.
        verb: what is done to them, as in `pruned`.
        engine: who trains the model. By Keras 3 layers that TFMOT couldn't train stay as they are;
            `auto` is Keras 3 where TFMOT would leave a layer that can be worked on.

    Raises:
        InputError: the model can't be copied, has a layer that the TFMOT asked for can't train, a
            pattern fits no layer, or no layer is left.
    """
    from tfcompress.graph import clone, lower
    from tfcompress.graph.equivalents import with_equivalents
    from tfcompress.graph.nodes import operations

    by_tfmot = _suits_tfmot(model, leave, verb, engine)
    lowered = lower(model) if by_tfmot else lowered_for_keras(model)
    # TFMOT has no blocks for a separable convolution's 1x1 part, and no batch normalisation can be
    # folded into it.
    flat, separable = with_equivalents(clone(lowered), ["SeparableConv2D"])
    layers = {op.name: op for op in operations(flat)}
    for pattern in leave:
        matches(pattern, layers)
    kinds = {name: type(layer).__name__ for name, layer in layers.items()}
    before = {**kinds, **dict.fromkeys(separable, "SeparableConv2D")}
    names, kept = [], []
    for name, layer in layers.items():
        why = _why_left(layer, leave, verb, by_tfmot=by_tfmot)
        if why is None:
            names.append(name)
        elif weighted(layer):
            kept.append(LayerLine(name, before[name], "kept", why))
    if not names:
        raise no_layer(model, verb, kept)
    return Chosen(flat, tuple(names), tuple(kept), kinds, before, by_tfmot)


def _suits_tfmot(model: keras.Model, leave: Sequence[str], verb: str, engine: Engine) -> bool:
    """Says whether TFMOT may train a model; arguments are those of `choose`.

    Raises:
        InputError: it was asked to and can't.
    """
    from tfcompress.graph.nodes import functional, operations

    if engine == "keras":
        return False
    try:
        check_layers_of_ours(model, verb)
    except InputError:
        if engine == "tfmot":
            raise
        return False
    return engine == "tfmot" or not any(
        _why_left(layer, leave, verb, by_tfmot=False) is None
        and _why_left(layer, leave, verb, by_tfmot=True) is not None
        for layer in operations(functional(model))
    )


def lowered_for_keras(model: keras.Model, *, full_precision: bool = False) -> keras.Model:
    """Returns a copy in built-in layers, but for layers of ours that TFMOT couldn't train.

    Args:
        model: functional or Sequential.
        full_precision: as of `graph.clone`.
    """
    from tfcompress.graph import clone, lower
    from tfcompress.graph.nodes import operations

    flat = clone(model, full_precision=full_precision)  # Its names are unique.
    ours = [layer for layer in operations(flat) if hasattr(layer, "lower")]
    return lower(flat, keep=[layer.name for layer in ours if _why_not_by_tfmot(layer)])


def check_layers_of_ours(model: keras.Model, verb: str) -> None:
    """Refuses layers of ours that a network trained by TFMOT can't have.

    Args:
        model: functional or Sequential.
        verb: what is done to the network, as in `pruned`.

    Raises:
        InputError: names the layer, why it can't be there, and what can be done.
    """
    from tfcompress.graph.nodes import functional, operations

    for layer in operations(functional(model)):
        if custom(layer) and not hasattr(layer, "lower"):
            way_on = "" if verb == "trained quantised" else ": option engine=keras keeps it"
            raise InputError(
                f"layer '{layer.name}' ({type(layer).__name__}) can't be in a network that is "
                f"{verb} by TFMOT, which trains Keras's built-in layers only{way_on}"
            )
        why = _why_not_by_tfmot(layer) if hasattr(layer, "lower") else None
        require(
            why is None,
            f"layer '{layer.name}' ({type(layer).__name__}) can't be in a network that is "
            f"{verb}: {why}; put a built-in layer in its place, or export the network as it is",
        )


def _why_not_by_tfmot(layer: Any) -> str | None:
    """Returns why TFMOT can't train a layer of ours; None if it can, lowered."""
    from tfcompress.layers import BinaryConv2D, BinaryDense

    if isinstance(layer, BinaryConv2D | BinaryDense):
        return "it is binary, and TFMOT would train its signs as floats"
    missing = _missing_operation(layer)
    return f"it computes {missing}, which TFMOT's built-in layers can't" if missing else None


def _missing_operation(layer: Any) -> str | None:
    """Returns an operation that a layer of ours is lowered to and tf_keras has no layers for."""
    from tfcompress.bridge.errors import NoBuiltInLayerError
    from tfcompress.bridge.operations import stand_in
    from tfcompress.graph.nodes import operations

    x = keras.Input(batch_shape=layer.get_build_config()["input_shape"])
    for operation in operations(keras.Model(x, layer.lower()(x))):
        if not isinstance(operation, keras.layers.Layer):
            try:
                stand_in(operation)
            except NoBuiltInLayerError as error:
                return error.what
    return None


def _why_left(layer: Any, leave: Sequence[str], verb: str, *, by_tfmot: bool) -> str | None:
    """Says why a layer's weights are left alone; None if they aren't."""
    from tfcompress.bridge.wrappers import NOT_CLUSTERED, kernel_variables

    kind = type(layer).__name__
    kernels = kernel_variables(layer)
    if not kernels or (by_tfmot and kind in NOT_CLUSTERED and verb != "pruned"):
        if custom(layer):
            return f"{kind}: a custom layer, kept as it is"
        if kind.startswith("Depthwise"):
            return f"{kind}: TFMOT leaves depthwise kernels as they are"
        return f"{kind}: TFMOT has no wrapper by which it could be {verb}"
    if any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in leave):
        return NAMED
    size = sum(math.prod(kernel.shape) for kernel in kernels)
    if size < SMALLEST:
        return f"only {size} weights"
    return None


def kernels(model: keras.Model, names: Iterable[str]) -> dict[str, list[keras.Variable]]:
    """Returns the variables that pruning and clustering work on, by layer name."""
    from tfcompress.bridge.wrappers import kernel_variables
    from tfcompress.graph.nodes import operations

    layers = {layer.name: layer for layer in operations(model)}
    return {name: kernel_variables(layers[name]) for name in names}


def matches(pattern: str, names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Returns the names that a pattern fits.

    Raises:
        InputError: it fits none.
    """
    fitting = fnmatch.filter(names, pattern)
    require(bool(fitting), f"no layer is named '{pattern}'; there are {', '.join(names)}")
    return fitting


def overrides(texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Reads `("conv*:0.9",)` as layer name to text; a later pattern takes precedence.

    Raises:
        InputError: a text has no colon, or a pattern fits no layer that is worked on.
    """
    values = {}
    for text in texts:
        pattern, colon, value = text.rpartition(":")
        require(
            bool(colon and pattern),
            f"option layers takes name:value, as in layers=conv*:0.9; got '{text}'",
        )
        values.update(dict.fromkeys(matches(pattern, names), value))
    return values


def with_trained_model(
    candidate: Candidate, model: keras.Model, action: str, reached: Mapping[str, str]
) -> Candidate:
    """Returns the candidate with the trained model, and what was reached in the layers' lines.

    Args:
        candidate: as `transform` left it.
        model: trained.
        action: the lines with this action are changed.
        reached: layer name to the line's new reason.
    """
    lines = tuple(
        dataclasses.replace(line, reason=reached[line.name])
        if line.action == action and line.name in reached
        else line
        for line in candidate.layers
    )
    return dataclasses.replace(candidate, model=model, layers=lines)
