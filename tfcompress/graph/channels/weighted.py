"""Rules for layers with weights: which axes of these hold the channels taken and made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from tfcompress.graph.channels.trace import Call, Rule, Trace, UnfollowedError, only
from tfcompress.layers import ShuffleUnit
from tfcompress.layers.channel_rules import TAKEN, ChannelRules, of_kernel

# Activations that treat every value by itself.
_ELEMENTWISE_NAMES = """
    celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
    linear log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus
    sparse_sigmoid squareplus swish tanh tanh_shrink threshold
"""
_ELEMENTWISE = frozenset(_ELEMENTWISE_NAMES.split())


def _kernel(rank: int) -> tuple[str | None, ...]:
    """Returns the words of a kernel's axes: sizes in space, channels taken, filters."""
    return (*[None] * rank, TAKEN, "filters")


def _transposed(rank: int) -> ChannelRules:
    return ChannelRules(
        weights={"kernel": (*[None] * rank, "filters", TAKEN), "bias": ("filters",)},
        outputs=("filters",),
        sizes={"filters": "filters"},
    )


def _depthwise(rank: int) -> ChannelRules:
    return ChannelRules(
        weights={"kernel": (*[None] * rank, TAKEN, None), "bias": (TAKEN,)}, outputs=(TAKEN,)
    )


def _separable(rank: int) -> ChannelRules:
    return ChannelRules(
        weights={
            "depthwise_kernel": (*[None] * rank, TAKEN, None),
            "pointwise_kernel": _kernel(rank),
            "bias": ("filters",),
        },
        outputs=("filters",),
        sizes={"filters": "filters"},
    )


_NORMALISATION = ("gamma", "beta", "moving_mean", "moving_variance")

# Of keras.applications: Keras exports no such layer.
_LAYER_SCALE = ("keras.src.applications.convnext", "LayerScale")
_SCALE = ChannelRules(
    weights={"gamma": (TAKEN,)}, outputs=(TAKEN,), sizes={"projection_dim": TAKEN}
)

RULES: dict[type, ChannelRules] = {
    layers.Conv1D: of_kernel("filters", taps=1),
    layers.Conv2D: of_kernel("filters", taps=2),
    layers.Conv3D: of_kernel("filters", taps=3),
    layers.Conv1DTranspose: _transposed(1),
    layers.Conv2DTranspose: _transposed(2),
    layers.Conv3DTranspose: _transposed(3),
    layers.DepthwiseConv1D: _depthwise(1),
    layers.DepthwiseConv2D: _depthwise(2),
    layers.SeparableConv1D: _separable(1),
    layers.SeparableConv2D: _separable(2),
    layers.Dense: of_kernel("units", taps=0),
    layers.Embedding: ChannelRules(
        weights={"embeddings": (None, "output_dim")},
        outputs=("output_dim",),
        sizes={"output_dim": "output_dim"},
    ),
    layers.BatchNormalization: ChannelRules(
        weights=dict.fromkeys(_NORMALISATION, (TAKEN,)), outputs=(TAKEN,)
    ),
}


def rule_for(layer: Any) -> Rule | None:
    """Returns the rule of a layer with weights; None for other layers."""
    kind = type(layer)
    if (kind.__module__, kind.__name__) == _LAYER_SCALE:
        return lambda trace, call: follow(trace, call, _SCALE)
    if type(layer) in RULES:
        return _built_in
    if type(layer) in _SPECIAL:
        return _SPECIAL[type(layer)]
    if hasattr(layer, "channel_rules"):
        return lambda trace, call: follow(trace, call, call.operation.channel_rules())
    return None


def _built_in(trace: Trace, call: Call) -> None:
    """Follows a layer of the table; refuses what the table doesn't cover."""
    layer = call.operation
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise UnfollowedError(
            "data_format is channels_first; channels are followed on the last axis"
        )
    check_plain(layer)
    if isinstance(layer, layers.BatchNormalization):
        rank = len(only(call.inputs).shape)
        if layer.axis % rank != rank - 1:
            raise UnfollowedError(f"normalises axis {layer.axis}, not the last")
    if getattr(layer, "groups", 1) > 1 and type(layer) in (
        layers.Conv1D,
        layers.Conv2D,
        layers.Conv3D,
    ):
        _grouped(trace, call)
    else:
        follow(trace, call, RULES[type(layer)])


def check_plain(layer: Any) -> None:
    """Refuses a layer whose weights aren't its kernel and bias alone.

    Raises:
        UnfollowedError: they aren't.
    """
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        raise UnfollowedError("its kernel is quantised or has a LoRA part")


def activation_mixes(layer: Any) -> str | None:
    """Says which activation of a layer isn't known to treat every channel by itself, if any."""
    for name in ("activation", "depthwise_activation", "recurrent_activation"):
        function = getattr(layer, name, None)
        if function is None:
            continue
        known = getattr(function, "__name__", None)
        built_in = known in _ELEMENTWISE and keras.activations.get(known) is function
        if not built_in and not isinstance(function, layers.ReLU | layers.LeakyReLU | layers.ELU):
            return known or type(function).__name__
    return None


def follow(trace: Trace, call: Call, rules: ChannelRules) -> None:
    """Gives one call's output its labels, and notes what the layer's weights hold."""
    layer = call.operation
    tensor, output = only(call.inputs), only(call.outputs)
    rows = {TAKEN: trace.of_last_axis(tensor)}
    if rules.fixed:
        kind = f"{type(layer).__name__} '{layer.name}'"
        trace.freeze(rows[TAKEN], f"{kind} takes them all: {rules.fixed}")
    passes = TAKEN in rules.outputs
    makers: dict[str, str] = {}  # Word to the sublayer that makes its channels.
    for path, words in rules.weights.items():
        sublayer = path.rpartition(".")[0]
        for axis, word in enumerate(words):
            if word is None:
                continue
            if word not in rows:
                rows[word] = made_by(trace, layer, word, path, axis)
                makers[word] = sublayer
            others = {other for other in words if other} - {word}
            if makers.get(word) == sublayer and word != TAKEN:
                role = "made"
            else:
                role = "taken" if others or not (passes or sublayer) else "passed"
            trace.use(layer, path, axis, rows[word], role)
    for key, word in rules.sizes.items():
        trace.set(layer, key, lambda kept, labels=rows[word]: int(kept(labels).sum()))  # type: ignore[misc]
    labels = np.concatenate([rows[word] for word in rules.outputs])
    if passes:  # m outputs for each channel taken, where there is a depth multiplier.
        labels = np.repeat(labels, output.shape[-1] // max(len(labels), 1))
    trace.put(output, len(output.shape) - 1, labels)
    if mixing := activation_mixes(layer):
        name = f"{type(layer).__name__} '{layer.name}'"
        trace.freeze(labels, f"{name}: its activation '{mixing}' may mix channels")


def made_by(trace: Trace, layer: Any, word: str, path: str, axis: int) -> Any:
    """Returns the labels of channels that a layer makes, the same ones for each of its calls."""
    key = layer.name, word
    if key not in trace.made:
        weight = layer
        for part in path.split("."):
            weight = getattr(weight, part)
        trace.made[key] = trace.new(weight.shape[axis])
    return trace.made[key]


def _grouped(trace: Trace, call: Call) -> None:
    """Follows a convolution in groups: the i-th channels of all groups live and die together.

    Where each group takes one channel, as in a depthwise convolution, whole groups go.
    """
    layer = call.operation
    output = only(call.outputs)
    taken = trace.of_last_axis(only(call.inputs))
    role = "made"
    if len(taken) == layer.groups:
        made, role = np.repeat(taken, layer.filters // layer.groups), "passed"
        trace.set(layer, "groups", lambda kept: int(kept(taken).sum()))
    else:
        made = made_by(trace, layer, "filters", "kernel", -1)
        first = trace.tie_rows(taken.reshape(layer.groups, -1))
        trace.tie_rows(made.reshape(layer.groups, -1))
        trace.use(layer, "kernel", -2, first, TAKEN)
    trace.use(layer, "kernel", -1, made, role)
    trace.use(layer, "bias", 0, made, role)
    trace.set(layer, "filters", lambda kept: int(kept(made).sum()))
    trace.put(output, len(output.shape) - 1, made)
    if mixing := activation_mixes(layer):
        trace.freeze(made, f"{layer.name}: its activation '{mixing}' may mix channels")


def _shuffle_unit(trace: Trace, call: Call) -> None:
    """Follows our ShuffleUnit: in each convolution all groups lose equally many."""
    layer, output = call.operation, only(call.outputs)
    taken = trace.of_last_axis(only(call.inputs))
    inner = made_by(trace, layer, "bottleneck_filters", "reduce.kernel", -1)
    made = made_by(trace, layer, "filters", "expand.kernel", -1)
    mixed = inner.reshape(layer.groups, -1).T.reshape(-1)
    firsts = [trace.tie_rows(row.reshape(layer.groups, -1)) for row in (taken, inner, mixed, made)]
    trace.use(layer, "reduce.kernel", -2, firsts[0] if layer.group_first else taken, TAKEN)
    trace.use(layer, "reduce.kernel", -1, inner, "made")
    trace.use(layer, "depthwise.kernel", 2, mixed, "passed")
    trace.use(layer, "expand.kernel", -2, firsts[2], TAKEN)
    trace.use(layer, "expand.kernel", -1, made, "made")
    for norm, labels in {"reduce_bn": inner, "depthwise_bn": mixed, "expand_bn": made}.items():
        for weight in _NORMALISATION:
            trace.use(layer, f"{norm}.{weight}", 0, labels, "passed")
    if layer.strides == 1:
        trace.tie(taken, made)
    every = taken if layer.strides == 1 else np.concatenate([taken, made])
    trace.set(layer, "bottleneck_filters", lambda kept: int(kept(inner).sum()))
    trace.set(layer, "filters", lambda kept: int(kept(every).sum()))
    trace.put(output, len(output.shape) - 1, every)


def _group_normalisation(trace: Trace, call: Call) -> None:
    """Follows a normalisation of groups: whole groups live and die."""
    layer = call.operation
    tensor = only(call.inputs)
    labels = trace.of_last_axis(tensor)
    if layer.axis % len(tensor.shape) != len(tensor.shape) - 1:
        raise UnfollowedError(f"normalises axis {layer.axis}, not the last")
    groups = layer.groups if layer.groups > 0 else len(labels)
    rows = labels.reshape(groups, -1)
    for column in rows.T[1:]:
        trace.tie(rows[:, 0], column)
    for path in ("gamma", "beta"):
        trace.use(layer, path, 0, labels, "passed")
    if layer.groups > 0:
        trace.set(layer, "groups", lambda kept: int(kept(rows[:, 0]).sum()))
    trace.put(only(call.outputs), len(tensor.shape) - 1, labels)


def _prelu(trace: Trace, call: Call) -> None:
    """Follows a ReLU with slopes of its own for each channel, or shared by all."""
    layer = call.operation
    traced = trace.of(only(call.inputs))
    if len(traced.labels) != 1 and layer.alpha.shape[traced.axis - 1] == 1:
        pass  # One slope for all channels.
    else:
        trace.use(layer, "alpha", traced.axis - 1, traced.labels, "passed")
    trace.put(only(call.outputs), traced.axis, traced.labels)


def _statistics_of_all(trace: Trace, call: Call) -> None:
    """Follows a normalisation of all channels together, where those that stay may change."""
    layer, tensor = call.operation, only(call.inputs)
    traced, rank = trace.of(tensor), len(tensor.shape)
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    axes = sorted(axis % rank for axis in axes)
    if traced.axis in axes:
        if trace.exact:
            raise UnfollowedError("its statistics are those of all channels together")
        trace.statistics.append((layer.name, traced.labels))
        for path in _OF_ALL[type(layer)]:
            trace.use(layer, path, axes.index(traced.axis), traced.labels, "passed")
    trace.put(only(call.outputs), traced.axis, traced.labels)


# Normalisations of all channels together, with the names of their weights.
_OF_ALL = {
    layers.LayerNormalization: ("gamma", "beta"),
    layers.RMSNormalization: ("scale",),
    layers.UnitNormalization: (),
}
_SPECIAL: dict[type, Callable[[Trace, Call], None]] = {
    layers.GroupNormalization: _group_normalisation,
    layers.PReLU: _prelu,
    ShuffleUnit: _shuffle_unit,
    **dict.fromkeys(_OF_ALL, _statistics_of_all),
}
