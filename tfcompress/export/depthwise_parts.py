"""Writes large depthwise convolutions as sums of smaller ones, which the runtime has kernels for.

XNNPACK, which runs most ops of a file on CPUs, has depthwise kernels of up to 25 taps. A larger one
runs as a convolution in groups: 7x7 takes 48 to 77 times as long as 5x5, in 8 bits, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.graph.equivalents import is_plain
from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.nodes import nodes, operations
from tfcompress.graph.rewrite import clone
from tfcompress.ops.padding import same_pads

_MOST_TAPS = 25


def in_parts(model: keras.Model) -> keras.Model:
    """Returns the same function with every large depthwise convolution in parts of 25 taps or less.

    Left as they are: those over images whose sizes aren't known, or with their channels first.

    Args:
        model: functional or Sequential, of built-in layers. Without such convolutions it is
            returned as it is.
    """
    if not any(map(_is_large, operations(model))):
        return model
    flat = clone(model)  # Names are unique in it.
    calls = [node for node in nodes(flat) if _is_large(node.operation)]
    open_sizes = {
        node.operation.name for node in calls for x in node.input_tensors if None in x.shape[1:]
    }
    maker = LayerMaker(flat)
    large = {node.operation.name: node.operation for node in calls}
    replace = {
        name: _sum_of_parts(layer, maker) for name, layer in large.items() if name not in open_sizes
    }
    return replace_layers(flat, replace, maker) if replace else model


def _is_large(layer: Any) -> bool:
    """Says whether a layer is a depthwise convolution of more taps than there are kernels for."""
    if type(layer) not in (keras.layers.DepthwiseConv2D, keras.layers.Conv2D):
        return False
    depthwise = type(layer) is keras.layers.DepthwiseConv2D
    return (
        (depthwise or 1 < layer.groups == layer.input.shape[-1])
        and layer.data_format == "channels_last"
        and math.prod(layer.kernel_size) > _MOST_TAPS
        and min(layer.kernel_size) <= _MOST_TAPS
        and is_plain(layer)
    )


def _sum_of_parts(layer: Any, maker: LayerMaker) -> Callable[[Any], Any]:
    """Returns what is called in place of a large depthwise convolution."""
    axis, rows = _cut(layer.kernel_size)
    weights, *bias = layer.get_weights()
    kernel = weights.reshape(*layer.kernel_size, layer.input.shape[-1], -1)
    starts = range(0, layer.kernel_size[axis], rows)
    policy = {"dtype": layer.dtype_policy}
    last = "Add" if layer.activation is keras.activations.linear else "Activation"

    def part(x: Any, start: int) -> Any:
        """Returns what some rows (or columns) of the kernel give."""
        values = kernel.take(range(start, min(start + rows, kernel.shape[axis])), axis)
        behind = kernel.shape[axis] - values.shape[axis] - start
        dilation = layer.dilation_rate[axis]
        crops = [(0, 0), (0, 0)]
        crops[axis] = (start * dilation, behind * dilation)
        crop = maker.layer(layer.name, f"crop_{start}", "Cropping2D", cropping=crops, **policy)
        convolution = maker.layer(
            layer.name,
            f"part_{start}",
            "DepthwiseConv2D",
            kernel_size=values.shape[:2],
            strides=layer.strides,
            dilation_rate=layer.dilation_rate,
            depth_multiplier=kernel.shape[3],
            use_bias=bool(bias) and start == 0,
            **policy,
        )
        maker.set_weights(convolution, values, *(bias if start == 0 else ()))
        return convolution(crop(x))

    def parts(x: Any) -> Any:
        if layer.padding == "same":
            axes = (x.shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate)
            pads = [same_pads(*axis) for axis in zip(*axes, strict=True)]
            x = maker.layer(layer.name, "pad", "ZeroPadding2D", padding=pads, **policy)(x)
        found = [part(x, start) for start in starts]
        add = maker.layer(layer.name, "" if last == "Add" else "sum", "Add", **policy)
        if last == "Add":
            return add(found)
        function = {"activation": layer.activation, **policy}
        return maker.layer(layer.name, "", "Activation", **function)(add(found))

    return parts


def _cut(size: tuple[int, int]) -> tuple[int, int]:
    """Returns the axis along which a kernel falls into the fewest parts, and a part's size."""
    most = [_MOST_TAPS // size[1 - axis] for axis in (0, 1)]
    counts = [math.ceil(size[axis] / most[axis]) if most[axis] else math.inf for axis in (0, 1)]
    axis = int(np.argmin(counts))
    return axis, most[axis]
