"""Finds weighted layers in a network, and the BN, activation and pooling behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tfcompress.deferred import keras
from tfcompress.errors import InputError, grouped
from tfcompress.techniques.base import LayerLine

if TYPE_CHECKING:
    from tfcompress.graph import Graph

# Classes of Keras's layers.
_WEIGHTED = (
    "Dense",
    "EinsumDense",
    "Embedding",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
    "MultiHeadAttention",
    "RNN",
    "Bidirectional",
    "Wrapper",
)
# Classes of Keras's layers, and why their weights aren't those of a convolution or dense layer.
_OUT_OF_REACH = {
    "RNN": "its kernels are multiplied inside its loop over time",
    "Bidirectional": "its kernels are multiplied inside its loops over time",
    "MultiHeadAttention": "its projections are inside it",
    "Wrapper": "the layer inside it is called step by step",
    "Embedding": "its rows are looked up, and nothing is multiplied",
    "DepthwiseConv1D": "each channel has a small kernel of its own",
    "DepthwiseConv2D": "each channel has a small kernel of its own",
}
_ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU")
# Functions that the network uses for their bounds, as attention and gates do.
_GATES = {"softmax", "log_softmax", "sigmoid", "hard_sigmoid", "log_sigmoid"}

# Of an image: grey, RGB, RGB and alpha or depth.
_FEW_CHANNELS = 4


@dataclasses.dataclass(frozen=True)
class Block:
    """Names a weighted layer and what belongs to it in the graph.

    Attributes:
        layer: the convolution or dense layer.
        bn: the batch normalisation that alone takes its output.
        activation: the activation layer behind them.
        pool: the max pooling behind that.
    """

    layer: str
    bn: str | None = None
    activation: str | None = None
    pool: str | None = None


def _classes(names: Iterable[str]) -> tuple[type, ...]:
    """Returns these classes of Keras's layers."""
    return tuple(getattr(keras.layers, name) for name in names)


def weighted(operation: Any) -> bool:
    """Says whether the operation multiplies with weights: a built-in layer, one of ours, or custom.

    Of custom layers those with a weight of two axes or more count.
    """
    if isinstance(operation, _classes(_WEIGHTED)):
        return True
    if hasattr(operation, "lower"):
        return bool(operation.weights)
    return custom(operation) and any(len(weight.shape) > 1 for weight in operation.weights)


def custom(operation: Any) -> bool:
    """Says whether the operation is a layer that neither Keras nor this package has."""
    module = type(operation).__module__.split(".")[0]
    return isinstance(operation, keras.layers.Layer) and module not in ("keras", "tfcompress")


def no_form(layer: Any, form: str, taken: str) -> str:
    """Says why a layer can't be replaced.

    Args:
        layer: a weighted layer.
        form: what it would become, as in `binary`.
        taken: the kinds of layers that can, as in `only Conv2D has`.
    """
    why = "a custom layer, kept as it is" if custom(layer) else taken
    for kind, reason in _OUT_OF_REACH.items():
        if not custom(layer) and isinstance(layer, getattr(keras.layers, kind)):
            why = reason
            break
    return f"{type(layer).__name__} has no {form} form: {why}"


def not_inner(graph: Graph, name: str, keeps: str, form: str) -> str | None:
    """Says why a weighted layer isn't an inner convolution or dense layer; None if it is one.

    Args:
        graph: of the network.
        name: of the layer.
        keeps: what the first and the last layer keep, as in `full precision`.
        form: what an inner one becomes, as in `binary`.
    """
    if first(graph, name):
        return f"first weighted layer: {keeps}, since it sees the inputs themselves"
    if last(graph, name):
        return f"last weighted layer: {keeps}, since it gives the outputs"
    layer = graph.operations[name]
    if type(layer) not in (keras.layers.Conv2D, keras.layers.Dense):
        return no_form(layer, form, "only Conv1D, Conv2D, Dense and EinsumDense have")
    return None


def first(graph: Graph, name: str) -> bool:
    """Says whether no weighted layer stands before this one, but depthwise ones.

    These mix no channels: behind one of them the image's channels are still what they were.
    """
    depthwise = _classes(["DepthwiseConv1D", "DepthwiseConv2D"])
    before = (each for each in _reached(graph, name, forward=False) if weighted(each))
    return all(isinstance(each, depthwise) for each in before)


def last(graph: Graph, name: str) -> bool:
    """Says whether no weighted layer stands behind this one."""
    return not any(map(weighted, _reached(graph, name, forward=True)))


def first_of_few_channels(graph: Graph, name: str) -> str | None:
    """Says why the first weighted layer stays, where its inputs have as few channels as an image.

    Returns:
        None for every other layer, and for a first one of more channels: it may gain as any may.
    """
    channels = graph.operations[name].kernel.shape[-2]
    if channels > _FEW_CHANNELS or not first(graph, name):
        return None
    return f"first weighted layer: its few input channels ({channels}) leave little to gain"


def not_shared(graph: Graph, name: str, form: str) -> str | None:
    """Says why a weighted layer can't have a kernel made of fewer weights; None if it can.

    Args:
        graph: of the network.
        name: of the layer.
        form: what it would become, as in `hashed`.
    """
    layer = graph.operations[name]
    if type(layer) is keras.layers.Dense:
        return None
    if type(layer) is not keras.layers.Conv2D:
        return no_form(layer, form, "only Conv1D, Conv2D, Dense and EinsumDense have")
    if few := first_of_few_channels(graph, name):
        return few
    if layer.groups != 1:
        return f"{layer.groups} groups; {form} convolutions have none"
    if layer.data_format != "channels_last":
        return f"data_format is channels_first; {form} layers take channels_last"
    return None


def _reached(graph: Graph, name: str, *, forward: bool) -> list[Any]:
    return [graph.operations[other] for other in graph.reaches({name}, forward=forward)]


def find(graph: Graph, name: str) -> Block:
    """Follows the only consumers of a layer as far as they are BN, activation, pooling."""

    def follow(at: str, kinds: Any) -> str | None:
        after = graph.only_consumer(at)
        if after is None or graph.calls[after] != 1:
            return None
        return after if isinstance(graph.operations[after], kinds) else None

    bn = activation = pool = None
    at = name
    if linear(graph.operations[name]):
        bn = follow(at, keras.layers.BatchNormalization)
        if bn and not _normalises_filters(graph.operations[bn]):
            bn = None
        at = bn or at
        activation = follow(at, _classes(_ACTIVATIONS))
        if activation and is_gate(graph.operations[activation]):
            activation = None
        at = activation or at
    if activation or not linear(graph.operations[name]):
        pool = follow(at, keras.layers.MaxPooling2D)
    return Block(name, bn, activation, pool)


def linear(layer: Any) -> bool:
    """Says whether a weighted layer has no activation of its own."""
    return getattr(layer.activation, "__name__", "linear") == "linear"


def is_gate(layer: Any) -> bool:
    """Says whether a layer's activation is one whose bounds the network needs."""
    return getattr(getattr(layer, "activation", None), "__name__", "") in _GATES


def _normalises_filters(bn: Any) -> bool:
    return bn.axis in (-1, len(bn.input.shape) - 1)


def pass_through(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns its input: what stands in a rewritten model for a layer that is gone."""
    return x


def no_layer(model: keras.Model, done: str, lines: Iterable[LayerLine]) -> InputError:
    """Makes the error for a model of which every layer stays as it is.

    Args:
        model: the one that was asked for.
        done: what was to be done with its layers, as in `pruned`.
        lines: why each layer stays.
    """
    reasons = grouped({line.name: line.reason for line in lines}) or "it has no weights"
    return InputError(f"no layer of model '{model.name}' can be {done} ({reasons})")
