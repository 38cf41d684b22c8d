"""Writes each kind of layer in parts that have integer ops.

A rule takes a layer and a `LayerMaker`. It returns the function that is called in the layer's place
and a sentence on what was done, or None to leave the layer as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.graph import equivalents
from tfcompress.graph.layer_maker import LayerMaker

Rule = Callable[[Any, LayerMaker], "tuple[Callable[..., Any], str] | None"]

# Layers with no op in the file, or one that only moves values: the output has the input's grid.
IDENTITIES = frozenset(
    {
        *("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"),
        *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Identity"),
        *("RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation"),
        *("RandomTranslation", "RandomZoom"),
        *("Flatten", "Permute", "RepeatVector", "Reshape"),
        *("Cropping1D", "Cropping2D", "ZeroPadding1D", "ZeroPadding2D"),
        *("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
        *("GlobalMaxPooling1D", "GlobalMaxPooling2D"),
    }
)
# Layers with an integer op whose output has a range of its own.
INTEGER = frozenset(
    {
        *("Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D"),
        *("Add", "Concatenate", "Multiply", "Subtract"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "LeakyReLU", "Softmax"),
        "UpSampling2D",
    }
)
# Layers that stay float, without a question, where the model's inputs are integers.
PREPROCESSING = frozenset({"Normalization", "Rescaling"})
PLAIN_ACTIVATIONS = frozenset({"exponential", "gelu", "sigmoid", "softmax", "tanh"})


def _activation(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str] | None:
    """Makes an activation the layer of that name, or parts."""
    name = getattr(layer.activation, "__name__", "")
    owner = layer.name
    if name == "linear":
        return (lambda x: x), ""
    if name == "relu":
        return maker.layer(owner, "", "ReLU"), ""
    if name == "relu6":
        return maker.layer(owner, "", "ReLU", max_value=6.0), ""
    if name == "leaky_relu":
        return maker.layer(owner, "", "LeakyReLU", negative_slope=0.2), ""
    if name in ("silu", "swish"):
        gate = maker.layer(owner, "sigmoid", "Activation", activation="sigmoid")
        product = maker.layer(owner, "", "Multiply")
        return (lambda x: product([x, gate(x)])), "swish is x * sigmoid(x)"
    if name == "elu":
        return _elu(owner, maker, 1.0, 1.0)
    if name == "selu":
        return _elu(owner, maker, 1.6732632423543772, 1.0507009873554805)
    return None


def _elu_layer(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str]:
    return _elu(layer.name, maker, float(layer.alpha), 1.0)


def _elu(
    owner: str, maker: LayerMaker, alpha: float, scale: float
) -> tuple[Callable[..., Any], str]:
    """Writes `scale * (relu(x) + alpha * (exp(-relu(-x)) - 1))`."""

    def parts(x: Any) -> Any:
        below = maker.layer(owner, "below", "ReLU")(maker.affine(owner, "negated", x, -1.0))
        below = maker.affine(owner, "back", below, -1.0)
        below = maker.layer(owner, "exp", "Activation", activation="exponential")(below)
        below = maker.affine(owner, "curve", below, scale * alpha, -scale * alpha)
        above = maker.layer(owner, "above", "ReLU")(x)
        above = above if scale == 1 else maker.affine(owner, "scale", above, scale)
        return maker.layer(owner, "", "Add")([above, below])

    return parts, "elu is relu(x) + alpha * (exp(-relu(-x)) - 1)"


def _relu(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str] | None:
    if layer.negative_slope and layer.max_value is None and not layer.threshold:
        slope = float(layer.negative_slope)
        return maker.layer(layer.name, "", "LeakyReLU", negative_slope=slope), ""
    return None


def _prelu(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str] | None:
    """Writes `relu(x) - slope * relu(-x)`, if there is one slope a channel."""
    slope = layer.get_weights()[0]
    if (
        any(size != 1 for size in slope.shape[:-1])
        and not (slope == slope.reshape(-1, slope.shape[-1])[0]).all()
    ):
        return None
    slopes = slope.reshape(-1, slope.shape[-1])[0]

    def parts(x: Any) -> Any:
        owner = layer.name
        negative = maker.affine(owner, "negated", x, -1.0)
        negative = maker.layer(owner, "negative", "ReLU")(negative)
        negative = maker.affine(owner, "slope", negative, -slopes)
        positive = maker.layer(owner, "positive", "ReLU")(x)
        return maker.layer(owner, "", "Add")([positive, negative])

    return parts, "PReLU is relu(x) - slope * relu(-x)"


def takes_whole_numbers(layer: Any) -> bool:
    """Returns whether a layer is given integers, as preprocessing layers are given pixels."""
    try:
        return not keras.backend.is_float_dtype(layer.input.dtype)
    except (AttributeError, ValueError):  # Several inputs, or calls.
        return False


def _rescaling(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str] | None:
    if takes_whole_numbers(layer):
        return None
    scale, offset = np.asarray(layer.scale), np.asarray(layer.offset)
    if max(scale.ndim, offset.ndim) > 1:
        sizes = [*scale.shape[:-1], *offset.shape[:-1]]
        if any(size != 1 for size in sizes):
            return None

    def parts(x: Any) -> Any:
        return maker.affine(layer.name, "", x, scale, offset)

    return parts, "a rescaling is a 1x1 depthwise convolution"


def _normalization(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str] | None:
    if takes_whole_numbers(layer):
        return None
    if layer.axis is not None and tuple(layer.axis) not in ((-1,), (len(layer.input.shape) - 1,)):
        return None
    mean = np.asarray(keras.ops.convert_to_numpy(layer.mean), "float64")
    deviation = np.sqrt(np.asarray(keras.ops.convert_to_numpy(layer.variance), "float64"))
    scale, offset = 1 / np.maximum(deviation, 1e-7), -mean / np.maximum(deviation, 1e-7)
    if layer.invert:
        scale, offset = deviation, mean

    def parts(x: Any) -> Any:
        return maker.affine(layer.name, "", x, scale, offset)

    return parts, "a normalisation is a 1x1 depthwise convolution"


def _chain(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str] | None:
    """Merges more than two tensors two at a time, so that each sum has a range."""
    kind = type(layer).__name__
    if kind != "Average" and len(layer.input) == 2:
        return None
    step = "Add" if kind == "Average" else kind
    count = len(layer.input)

    def parts(xs: Any) -> Any:
        total = xs[0]
        for number, x in enumerate(xs[1:], start=1):
            last = number == count - 1 and kind != "Average"
            total = maker.layer(layer.name, "" if last else f"part{number}", step)([total, x])
        return total if kind != "Average" else maker.affine(layer.name, "", total, 1 / count)

    return parts, f"of {count} inputs: two at a time"


def _extreme(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str]:
    """Writes `max(a, b) = b + relu(a - b)` or `min(a, b) = a - relu(a - b)`, two at a time.

    The integer ops for them want all three tensors on one grid, for which the converter takes an
    input's, and so clips the others.
    """
    greater = type(layer).__name__ == "Maximum"
    count = len(layer.input)

    def parts(xs: Any) -> Any:
        total = xs[0]
        for number, x in enumerate(xs[1:], start=1):
            tail = "" if number == 1 else str(number)
            over = maker.layer(layer.name, f"difference{tail}", "Subtract")([total, x])
            over = maker.layer(layer.name, f"positive{tail}", "ReLU")(over)
            name = "" if number == count - 1 else f"part{number}"
            last = maker.layer(layer.name, name, "Add" if greater else "Subtract")
            total = last([x, over] if greater else [total, over])
        return total

    formula = "b + relu(a - b)" if greater else "a - relu(a - b)"
    return parts, f"{type(layer).__name__} of a and b is {formula}"


def _equivalent(reason: str) -> Rule:
    """Returns the rule for a layer that `graph.equivalents` writes as others."""

    def rule(layer: Any, maker: LayerMaker) -> tuple[Callable[..., Any], str] | None:
        parts = equivalents.RULES[type(layer).__name__](layer, maker)
        return None if parts is None else (parts, reason)

    return rule


_over_two_axes = _equivalent("a convolution over one axis is one over two")

RULES: dict[str, Rule] = {
    "Activation": _activation,
    "Add": _chain,
    "Average": _chain,
    "Conv1D": _over_two_axes,
    "DepthwiseConv1D": _over_two_axes,
    "ELU": _elu_layer,
    "EinsumDense": _equivalent("over the last axes it is a dense layer"),
    "Maximum": _extreme,
    "Minimum": _extreme,
    "Multiply": _chain,
    "Normalization": _normalization,
    "PReLU": _prelu,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "SeparableConv1D": _over_two_axes,
    "SeparableConv2D": _equivalent("a separable convolution is two"),
}
