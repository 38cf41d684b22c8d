"""Gives the first and the last layer of a network weights of 8 bits, rounded in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfcompress.deferred import keras
from tfcompress.techniques import _blocks

if TYPE_CHECKING:
    from tfcompress.graph import Graph

REASON = "first or last weighted layer: weights of 8 bits with trained steps"
# An empty range of inputs is none: it is widened by the first batch of training.
_NO_RANGE = 1e-6


def can_be_rounded(graph: Graph, name: str) -> bool:
    """Returns whether a layer is a first or last one whose weights can be rounded in training."""
    return (
        type(graph.operations[name]) in (keras.layers.Conv2D, keras.layers.Dense)
        and graph.calls[name] == 1
        and (_blocks.first(graph, name) or _blocks.last(graph, name))
    )


def rounded_weights(layer: Any) -> Any:
    """Makes the layer that stands in another one's place, with its weights rounded to 8 bits.

    It doesn't have its weights yet.
    """
    from tfcompress.layers import LearnedStepWeights

    inner = type(layer).from_config(layer.get_config())
    return LearnedStepWeights(inner, num_bits=8, name=layer.name)


def rounded(graph: Graph, name: str) -> tuple[Callable[..., Any], Callable[[], None]]:
    """Makes what stands in a layer's place: itself with rounded weights.

    A first convolution's inputs are rounded to 256 values as well, over the range that training
    shows. Where these are pixels, all channels normalised alike, and images show both a 0 and a
    255, the 256 values are those of the pixels.

    Returns:
        What replaces the layer; and what gives it its weights, once it is built.
    """
    from tfcompress.layers import FakeQuantize

    layer = graph.operations[name]
    wrapper = rounded_weights(layer)
    weights = layer.get_weights()

    def load() -> None:
        wrapper.layer.set_weights(weights)
        wrapper.start()

    if not (isinstance(layer, keras.layers.Conv2D) and _blocks.first(graph, name)):
        return wrapper, load
    pixels = FakeQuantize(
        -_NO_RANGE, _NO_RANGE, adapt="extremes", nudge_values=True, name=f"{name}_pixels"
    )
    return lambda x, *args, **kwargs: wrapper(pixels(x)), load
