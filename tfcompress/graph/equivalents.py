"""Writes layers as equivalent ones that most techniques take: Conv2D, DepthwiseConv2D, Dense.

A separable convolution is a depthwise one and one of 1x1, a convolution over one axis is one over
two, and an `EinsumDense` that contracts the last axes is a `Dense`. A rule takes a layer and a
`LayerMaker`. It returns the function that is called in the layer's place, or None to leave it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.rewrite import Graph

Rule = Callable[[Any, LayerMaker], "Callable[..., Any] | None"]


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """Says what stands for a layer.

    Attributes:
        layer: the original.
        parts: names of the layers in its place, in the order of their calls; one of them has the
            original's name: the convolution or dense layer, of a separable one the 1x1 part.
    """

    layer: Any
    parts: tuple[str, ...]


def with_equivalents(
    model: keras.Model, kinds: Collection[str] | None = None
) -> tuple[keras.Model, dict[str, Equivalent]]:
    """Returns the model with layers written as equivalent ones.

    Args:
        model: flat, as `clone` returns it; it stays as it is.
        kinds: class names of the layers that are; None for all that have one of the `RULES`.

    Returns:
        A model with weights of its own, or the same one if there are none; and by the name of each
        layer that is gone what stands for it.
    """
    maker = LayerMaker(model)
    replace: dict[str, Callable[..., Any]] = {}
    layers: dict[str, Any] = {}
    for name, layer in Graph.of(model).operations.items():
        kind = type(layer).__name__
        rule = RULES.get(kind) if type(layer) is getattr(keras.layers, kind, None) else None
        if rule is None or not (kinds is None or kind in kinds):
            continue
        function = rule(layer, maker)
        if function is not None:
            replace[name] = function
            layers[name] = layer
    result = replace_layers(model, replace, maker)
    return result, {name: Equivalent(layers[name], maker.names(name)) for name in layers}


def restored(
    model: keras.Model, equivalents: Mapping[str, Equivalent]
) -> tuple[keras.Model, set[str]]:
    """Puts layers back whose parts a technique left as they were.

    Args:
        model: flat, made of one by `with_equivalents`.
        equivalents: of `with_equivalents`.

    Returns:
        A model with weights of its own, or the same one if no layer comes back; and the names of
        those that do. They have the weights that their parts had.
    """
    graph = Graph.of(model)
    maker = LayerMaker(model)
    replace: dict[str, Callable[..., Any]] = {}
    back: set[str] = set()
    for name, equivalent in equivalents.items():
        if not _untouched(graph, equivalent.parts):
            continue
        original = type(equivalent.layer).from_config(equivalent.layer.get_config())
        parts = [graph.operations[part] for part in equivalent.parts]
        arrays = [array for part in parts for array in part.get_weights()]
        maker.set_weights(original, *_shaped(arrays, equivalent.layer.get_weights()))
        replace.update({part: lambda x: x for part in equivalent.parts[:-1]})
        replace[equivalent.parts[-1]] = original
        back.add(name)
    return replace_layers(model, replace, maker), back


def _untouched(graph: Graph, parts: tuple[str, ...]) -> bool:
    """Returns whether these layers follow one another, all of them Keras's own."""
    if any(type(graph.operations.get(part)).__module__.split(".")[0] != "keras" for part in parts):
        return False
    return all(
        set(graph.producers[after]) == {before} and set(graph.consumers[before]) == {after}
        for before, after in itertools.pairwise(parts)
    )


def _shaped(arrays: list[np.ndarray], like: list[np.ndarray]) -> list[np.ndarray]:
    """Returns arrays in other shapes of as many values."""
    return [array.reshape(other.shape) for array, other in zip(arrays, like, strict=True)]


def is_plain(layer: Any) -> bool:
    """Returns whether a layer's weights are its kernels and bias alone."""
    extended = getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None)
    return not extended and not getattr(layer.activation, "weights", None)


def _settings(layer: Any, names: Mapping[str, str], axes_before: int = 0) -> dict[str, Any]:
    """Returns settings of a layer as arguments of another class.

    Args:
        layer: whose settings they are.
        names: of the settings: the layer's, and the other class's.
        axes_before: how many axes the other class's kernel has before the layer's.
    """
    config = layer.get_config()
    settings = {new: config[old] for old, new in names.items() if old in config}
    for name in ("depthwise_constraint", "kernel_constraint"):
        if axes_before and "axis" in (settings.get(name) or {}).get("config", {}):
            constraint = settings[name]
            axes = np.atleast_1d(constraint["config"]["axis"]).tolist()
            moved = [axis + axes_before if axis >= 0 else axis for axis in axes]
            settings[name] = {**constraint, "config": {**constraint["config"], "axis": moved}}
    return {**settings, "dtype": layer.dtype_policy, "trainable": layer.trainable}


_WORDS = ("initializer", "regularizer", "constraint")
_DEPTHWISE = {f"depthwise_{word}": f"depthwise_{word}" for word in _WORDS}
_POINTWISE = {f"pointwise_{word}": f"kernel_{word}" for word in _WORDS}
_PLAIN = {f"kernel_{word}": f"kernel_{word}" for word in _WORDS}
_ENDS = {
    **{name: name for name in ("activation", "use_bias", "activity_regularizer")},
    **{f"bias_{word}": f"bias_{word}" for word in _WORDS},
}


def separable_2d(layer: Any, maker: LayerMaker) -> Callable[..., Any] | None:
    """Writes a separable convolution as a depthwise one and one of 1x1."""
    if not is_plain(layer):
        return None
    depth = maker.layer(
        layer.name,
        "depthwise",
        "DepthwiseConv2D",
        kernel_size=layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=layer.depth_multiplier,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
        use_bias=False,
        **_settings(layer, _DEPTHWISE),
    )
    point = maker.layer(
        layer.name,
        "",
        "Conv2D",
        filters=layer.filters,
        kernel_size=1,
        data_format=layer.data_format,
        **_settings(layer, {**_POINTWISE, **_ENDS}),
    )
    kernel, *rest = layer.get_weights()
    maker.set_weights(depth, kernel)
    maker.set_weights(point, *rest)
    return lambda x: point(depth(x))


def over_two_axes(layer: Any, maker: LayerMaker) -> Callable[..., Any] | None:
    """Writes a convolution over (batch, steps, channels) in (batch, 1, steps, channels)."""
    kind = type(layer).__name__
    if layer.data_format != "channels_last" or not is_plain(layer):
        return None
    size, stride, dilation = layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0]
    causal = layer.padding == "causal"
    depthwise = kind != "Conv1D"
    geometry = {
        "kernel_size": (1, size),
        "strides": (stride, stride) if depthwise else (1, stride),
        "dilation_rate": (1, dilation),
        "padding": "valid" if causal else layer.padding,
    }
    if depthwise:
        geometry["depth_multiplier"] = layer.depth_multiplier
    kernel, *rest = (array[None] if array.ndim > 1 else array for array in layer.get_weights())

    def convolve(x: Any) -> Any:
        if kind == "SeparableConv1D":
            ends: dict[str, Any] = {**_settings(layer, _DEPTHWISE, 1), "use_bias": False}
            first = maker.layer(layer.name, "depthwise", "DepthwiseConv2D", **geometry, **ends)
            ends = _settings(layer, {**_POINTWISE, **_ENDS}, 1)
            second = maker.layer(
                layer.name, "", "Conv2D", filters=layer.filters, kernel_size=1, **ends
            )
            maker.set_weights(first, kernel)
            maker.set_weights(second, *rest)
            return second(first(x))
        if depthwise:
            ends = _settings(layer, {**_DEPTHWISE, **_ENDS}, 1)
            convolution = maker.layer(layer.name, "", "DepthwiseConv2D", **geometry, **ends)
        else:
            ends = _settings(layer, {**_PLAIN, **_ENDS}, 1)
            ends |= {"filters": layer.filters, "groups": layer.groups}
            convolution = maker.layer(layer.name, "", "Conv2D", **geometry, **ends)
        maker.set_weights(convolution, kernel, *rest)
        return convolution(x)

    def parts(x: Any) -> Any:
        x = _reshaped(layer, maker, "in", x, (1, *x.shape[1:]))
        if causal:
            pad = ((0, 0), (dilation * (size - 1), 0))
            settings = {"padding": pad, "dtype": layer.dtype_policy}
            x = maker.layer(layer.name, "pad", "ZeroPadding2D", **settings)(x)
        x = convolve(x)
        return _reshaped(layer, maker, "out", x, x.shape[2:])

    return parts


def _reshaped(layer: Any, maker: LayerMaker, part: str, x: Any, shape: Any) -> Any:
    """Returns the tensor in another shape, behind the batch, by a layer; one size may be None."""
    target = tuple(-1 if size is None else size for size in shape)
    reshape = maker.layer(
        layer.name, part, "Reshape", target_shape=target, dtype=layer.dtype_policy
    )
    return reshape(x)


def einsum_dense(layer: Any, maker: LayerMaker) -> Callable[..., Any] | None:
    """Writes an `EinsumDense` as a `Dense`, where it contracts the last axes and appends others.

    With more than one axis on either side, such as the heads of attention, they are flattened
    before it and unfolded behind it.
    """
    axes = contracted_axes(layer) if is_plain(layer) else None
    if axes is None:
        return None
    inputs, outputs = layer.kernel.shape[:axes], layer.kernel.shape[axes:]
    several = len(inputs) > 1 or len(outputs) > 1
    linear = layer.activation in (None, keras.activations.linear)
    if several and (layer.kernel_constraint or not linear):
        return None  # An activation over the last axis would see other axes.
    use_bias = layer.bias is not None
    if use_bias and math.prod(layer.bias.shape) != math.prod(outputs):
        return None
    if layer.get_build_config()["input_shape"][1:-axes].count(None) > 1 and several:
        return None
    kernel, *bias = layer.get_weights()
    kernel = kernel.reshape(math.prod(inputs), math.prod(outputs))
    settings = {**_settings(layer, {**_PLAIN, **_ENDS}), "use_bias": use_bias}

    def parts(x: Any) -> Any:
        before = x.shape[1:-axes]
        if len(inputs) > 1:
            x = _reshaped(layer, maker, "in", x, (*before, math.prod(inputs)))
        dense = maker.layer(layer.name, "", "Dense", units=math.prod(outputs), **settings)
        maker.set_weights(dense, kernel, *(array.ravel() for array in bias))
        x = dense(x)
        return x if len(outputs) == 1 else _reshaped(layer, maker, "out", x, (*before, *outputs))

    return parts


def contracted_axes(layer: Any) -> int | None:
    """Returns how many last axes of its input an `EinsumDense` contracts, as a `Dense` does one.

    None if it isn't so: `abc,cde->abde` contracts one and appends two, but `abc,bcd->abd` has a
    kernel for each b.
    """
    operands, product = layer.equation.replace("...", "0").replace(" ", "").split("->")
    taken, kernel = operands.split(",")
    for axes in range(1, min(len(taken), len(kernel))):
        before, appended = taken[:-axes], kernel[axes:]
        appends = taken[-axes:] == kernel[:axes] and product == before + appended
        if appends and not set(before) & set(kernel):
            return axes
    return None


RULES: dict[str, Rule] = {
    "Conv1D": over_two_axes,
    "DepthwiseConv1D": over_two_axes,
    "EinsumDense": einsum_dense,
    "SeparableConv1D": over_two_axes,
    "SeparableConv2D": separable_2d,
}
SEPARABLE = frozenset({"SeparableConv1D", "SeparableConv2D"})
