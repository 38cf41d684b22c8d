"""Rules for layers without weights of channels: activations, pooling, merging, reshaping."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from tfcompress.graph.channels import shapes
from tfcompress.graph.channels.trace import Call, Rule, Trace, UnfollowedError, only
from tfcompress.graph.channels.weighted import activation_mixes
from tfcompress.layers import (
    ChannelShuffle,
    FakeQuantize,
    FewBitActivations,
    HashedConv2D,
    HashedDense,
    MinMaxQuantize,
    Shift2D,
    TTConv2D,
    TTDense,
)

# They treat every value by itself, or every example.
_SAME = (
    layers.ActivityRegularization,
    FakeQuantize,
    FewBitActivations,
    layers.AlphaDropout,
    layers.ELU,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LeakyReLU,
    layers.ReLU,
)
_IN_SPACE = (
    *(getattr(layers, f"AveragePooling{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"Cropping{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"GlobalAveragePooling{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"GlobalMaxPooling{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"MaxPooling{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"SpatialDropout{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"UpSampling{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"ZeroPadding{n}D") for n in (1, 2, 3)),
    layers.Resizing,
)
_COMBINE = (
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Subtract,
)
# Layers of ours whose channels stay, and why.
_STAY: dict[type, str] = {
    **dict.fromkeys(
        (HashedConv2D, HashedDense), "the kernel's size says which weights share a bucket"
    ),
    **dict.fromkeys(
        (TTConv2D, TTDense), "each entry of its cores is for many channels, and a channel has many"
    ),
    MinMaxQuantize: "the range of its values is that of all channels together",
}
# Of keras.applications: Keras exports no such layers.
_PRIVATE = {
    ("inception_resnet_v2", "CustomScaleLayer"): shapes.combine,
    ("convnext", "StochasticDepth"): shapes.same,
}


def rule_for(layer: Any) -> Rule | None:
    """Returns the rule of a layer without weights; None for other layers."""
    kind = type(layer)
    room, _, module = kind.__module__.rpartition(".")
    if room == "keras.src.applications":
        return _PRIVATE.get((module, kind.__name__))
    return _RULES.get(kind)


def _activation(trace: Trace, call: Call) -> None:
    if mixing := activation_mixes(call.operation):
        raise UnfollowedError(f"the activation '{mixing}' may mix channels")
    shapes.same(trace, call)


def _softmax(trace: Trace, call: Call) -> None:
    tensor = only(call.inputs[:1])
    axis = call.operation.axis
    rank = len(tensor.shape)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if len(call.inputs) != 1 or trace.of(tensor).axis in {each % rank for each in axes}:
        raise UnfollowedError("is computed of all channels together")
    shapes.same(trace, call)


def _dropout(trace: Trace, call: Call) -> None:
    shape = call.operation.noise_shape
    if shape is not None and shape[trace.of(only(call.inputs)).axis] not in (1, None):
        raise UnfollowedError(f"its noise_shape {tuple(shape)} names the number of channels")
    shapes.same(trace, call)


def _rescaling(trace: Trace, call: Call) -> None:
    if np.ndim(call.operation.scale) or np.ndim(call.operation.offset):
        raise UnfollowedError("scales each channel by a number of its own")
    shapes.same(trace, call)


def _repeat_vector(trace: Trace, call: Call) -> None:
    trace.put(only(call.outputs), 2, trace.of_last_axis(only(call.inputs)))


def _permute(trace: Trace, call: Call) -> None:
    shapes.transpose(trace, call, (0, *call.operation.dims))


def _flatten(trace: Trace, call: Call) -> None:
    if call.operation.data_format == "channels_first":
        raise UnfollowedError(
            "data_format is channels_first; channels are followed on the last axis"
        )
    shapes.reshape(trace, call, None)


def _reshape(trace: Trace, call: Call) -> None:
    shapes.reshape(trace, call, "target_shape")


def _stays(trace: Trace, call: Call) -> None:
    raise UnfollowedError(_STAY[type(call.operation)])


def _shift(trace: Trace, call: Call) -> None:
    """Follows our Shift2D: all directions lose equally many channels, and keep one.

    The i-th channels of all directions live and die together; those that are left over don't move
    and go by themselves.
    """
    tensor, output = only(call.inputs), only(call.outputs)
    labels = trace.of_last_axis(tensor)
    shifts = call.operation.shifts(len(labels))
    each = min(channels for _, _, channels in shifts)
    starts = np.cumsum([0, *(channels for _, _, channels in shifts[:-1])])
    first = trace.tie_rows(np.array([labels[start : start + each] for start in starts]))
    name = f"Shift2D '{call.operation.name}'"
    trace.freeze(first[:1], f"{name}: each direction keeps one")
    trace.put(output, len(output.shape) - 1, labels)


def _shuffle(trace: Trace, call: Call) -> None:
    """Follows our ChannelShuffle: the i-th channels of all groups live and die together."""
    output = only(call.outputs)
    labels = trace.of_last_axis(only(call.inputs)).reshape(call.operation.groups, -1)
    trace.tie_rows(labels)
    trace.put(output, len(output.shape) - 1, labels.T.reshape(-1))


_RULES: dict[type, Rule] = {
    **dict.fromkeys(_SAME, shapes.same),
    **dict.fromkeys(_IN_SPACE, shapes.in_space),
    **dict.fromkeys(_COMBINE, shapes.combine),
    **dict.fromkeys(_STAY, _stays),
    layers.Activation: _activation,
    layers.Concatenate: shapes.concatenate,
    layers.Dropout: _dropout,
    layers.Flatten: _flatten,
    layers.Permute: _permute,
    layers.RepeatVector: _repeat_vector,
    layers.Rescaling: _rescaling,
    layers.Reshape: _reshape,
    layers.Softmax: _softmax,
    ChannelShuffle: _shuffle,
    Shift2D: _shift,
}
