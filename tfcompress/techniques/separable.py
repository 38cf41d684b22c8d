"""Compact network: depthwise separable convolutions in place of full ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

from tfcompress.deferred import keras
from tfcompress.errors import one_of, require
from tfcompress.ops.depthwise import factorise
from tfcompress.options import searched
from tfcompress.techniques import _blocks
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques.base import Candidate, LayerLine, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.graph import Graph
    from tfcompress.layers import DepthwiseSeparable

Init = Literal["scratch", "factorise"]
DepthwiseActivation = Literal["relu", "linear"]

# Of the new layers' batch statistics, which at first are those of other weights: with Keras's 0.99
# a fifth of them is left after 160 steps, an epoch on 10,000 images, and the network guesses.
_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparableOptions:
    """Hyper-parameters of the compact network.

    The defaults start the network where the trained one is, but for what the factors lose.

    Attributes:
        init: the new layers' weights: `factorise` for the best approximation of rank
            `depth_multiplier` of each channel's kernels (He et al. 2019, arXiv:1910.09455, section
            3.2), or `scratch`, as in the papers. All other layers keep the trained weights.
        depth_multiplier: depthwise kernels for each channel (Howard et al. 2017: 1).
        depthwise_activation: between the depthwise and the pointwise part: `linear` for none
            (Chollet 2017, arXiv:1610.02357, section 4.7) or `relu` (Howard et al. 2017, figure 3).
    """

    init: Init = "factorise"
    depth_multiplier: int = searched(1, 1, 2)
    depthwise_activation: DepthwiseActivation = "linear"

    def __post_init__(self) -> None:
        """Refuses unknown words and an empty layer."""
        one_of("option init", self.init, get_args(Init))
        one_of(
            "option depthwise_activation", self.depthwise_activation, get_args(DepthwiseActivation)
        )
        require(
            self.depth_multiplier >= 1,
            f"option depth_multiplier must be 1 or more; got {self.depth_multiplier}",
        )


def _why_kept(graph: Graph, name: str, options: SeparableOptions) -> str | None:
    """Says why a weighted layer stays as it is; None if it is to be replaced."""
    layer = graph.operations[name]
    if type(layer) is not keras.layers.Conv2D:
        return f"{type(layer).__name__}: only Conv1D and Conv2D are replaced"
    if few := _blocks.first_of_few_channels(graph, name):
        return few
    if graph.calls[name] != 1:
        return (
            f"shared: called {graph.calls[name]} times, and each call would need a "
            "normalisation of its own"
        )
    if math.prod(layer.kernel_size) == 1:
        return "1x1: pointwise already"
    if layer.groups != 1:
        return f"{layer.groups} groups: partly depthwise already"
    if layer.data_format != "channels_last":
        return "data_format is channels_first; DepthwiseSeparable takes channels_last"
    if layer.strides[0] != layer.strides[1]:
        return f"unequal strides {layer.strides}: there is no depthwise convolution with them"
    before, after = _weights(layer, options.depth_multiplier)
    if after >= before:
        return f"too small to gain: {after:,} weights as separable convolution, {before:,} as it is"
    return None


def _weights(layer: Any, depth_multiplier: int) -> tuple[int, int]:
    """Counts the weights of the kernel, and of a separable convolution's two."""
    height, width, channels, filters = layer.kernel.shape
    inner = channels * depth_multiplier
    return height * width * channels * filters, inner * (height * width + filters)


def _transform(candidate: Candidate, options: SeparableOptions) -> Candidate:
    """Replaces every inner convolution, with the BN and ReLU behind it.

    Raises:
        InputError: the model can't be copied, or no layer of it can be replaced.
    """
    from tfcompress.graph import Graph, clone, rewrite

    flat = clone(candidate.model)
    graph = Graph.of(flat)
    replace: dict[str, Callable[..., Any]] = {}
    load: list[Callable[[], None]] = []
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if not _blocks.weighted(layer):
            continue
        kind = type(layer).__name__
        why = _why_kept(graph, name, options)
        if why:
            lines.append(LayerLine(name, kind, "kept", why))
            continue
        block = _blocks.find(graph, name)
        relu = block.activation and _is_relu(graph.operations[block.activation])
        bn = graph.operations[block.bn] if block.bn else None
        new = _separable(layer, bn, "relu" if relu else layer.activation, options)
        replace[name] = new
        taken = [other for other in (block.bn, block.activation if relu else None) if other]
        replace.update(dict.fromkeys(taken, _blocks.pass_through))
        if options.init == "factorise":
            load.append(lambda new=new, layer=layer, bn=bn: _load(new, layer, bn))  # type: ignore[misc]
        before, after = _weights(layer, options.depth_multiplier)
        with_it = f"; with {' and '.join(taken)}" if taken else ""
        reason = f"{before / after:.1f} times fewer weights and MACs{with_it}"
        lines.append(LayerLine(name, kind, "separated", reason))
    if not replace:
        raise _blocks.no_layer(flat, "made separable", lines)
    model = rewrite(flat, replace)
    for fill in load:
        fill()
    return candidate.then(model, *lines)


def _is_relu(layer: Any) -> bool:
    """Says whether a layer is the plain ReLU, without slope, threshold or maximum."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu


def _separable(
    layer: Any, bn: Any, activation: Any, options: SeparableOptions
) -> DepthwiseSeparable:
    """Makes the separable layer of the same shape and name; its BN makes biases useless."""
    from tfcompress.layers import DepthwiseSeparable

    like = {"epsilon": bn.epsilon} if bn else {}
    return DepthwiseSeparable(
        layer.filters,
        layer.kernel_size,
        layer.strides,
        layer.padding,
        options.depth_multiplier,
        dilation_rate=layer.dilation_rate,
        activation=activation,
        depthwise_activation=options.depthwise_activation,
        momentum=_MOMENTUM,
        name=layer.name,
        **like,
    )


def _load(new: DepthwiseSeparable, layer: Any, bn: Any) -> None:
    """Gives the new layer the factorised kernel, and what the old BN or bias did."""
    to_numpy = keras.ops.convert_to_numpy
    depthwise, pointwise = factorise(to_numpy(layer.kernel), new.depth_multiplier)
    new.depthwise.kernel.assign(depthwise)
    new.pointwise.kernel.assign(pointwise)
    bias = to_numpy(layer.bias) if layer.use_bias else 0.0
    after = new.pointwise_bn
    for new_bn in (new.depthwise_bn, after):  # Both do nothing, until trained.
        new_bn.moving_variance.assign(keras.ops.full_like(new_bn.moving_variance, 1 - new.epsilon))
    if bn is None:
        after.beta.assign(after.beta + bias)
        return
    after.moving_mean.assign(bn.moving_mean - bias)
    after.moving_variance.assign(bn.moving_variance)
    if bn.scale:
        after.gamma.assign(bn.gamma)
    if bn.center:
        after.beta.assign(bn.beta)


def _sketch(candidate: Candidate, options: SeparableOptions) -> Candidate:
    """Replaces the layers that `_transform` would, by new ones that know nothing of the old."""
    return _transform(candidate, dataclasses.replace(options, init="scratch"))


TECHNIQUE = taking_equivalents(
    Technique(
        name="separable",
        summary="compact network: depthwise separable convolutions in place of full ones",
        reference=(
            "Howard et al. 2017, arXiv:1704.04861, section 3.1; Lagrange and Pedersoli (VGG-16 so "
            "compacted)"
        ),
        options=SeparableOptions,
        transform=_transform,
        check=_sketch,
        sketch=_sketch,
        training=distilled(epochs=20),
        storages=("float32",),
    )
)
