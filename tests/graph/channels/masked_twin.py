"""What a model gives when channels are multiplied by 0 behind the layers that make them.

It knows nothing of the labels that are tested: it runs the model's own operations on values, and
finds by experiment where the dead channels have gone. Each operation that doesn't sum over channels
is called with the dead values at 0 and again at random ones: what differs is dead, and becomes 0.
"""

import operator

import keras
import numpy as np
from keras import layers, tree

from tests.checks import predict
from tests.techniques.conftest import randomise
from tfcompress.graph import clone, lower
from tfcompress.graph.channels import ChannelGraph
from tfcompress.graph.nodes import input_structure, run
from tfcompress.layers.composite import Composite

# They sum over their inputs' channels, to which zeros add nothing.
SUM = (
    *(getattr(layers, f"Conv{n}D") for n in (1, 2, 3)),
    *(getattr(layers, f"Conv{n}DTranspose") for n in (1, 2, 3)),
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Dense,
)


# They divide by what all channels together are; in the twin, by what those alive are.
NORMS = (layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization)


class Masked:
    """A tensor's values and which of them are dead; no structure that Keras would flatten."""

    def __init__(self, values, dead):
        self.dead = np.broadcast_to(dead, values.shape)
        self.values = np.where(self.dead, 0, values).astype(values.dtype)

    def filled(self, rng, sign):
        noise = sign * rng.normal(0, 3, self.values.shape)
        return np.where(self.dead, noise, self.values).astype(self.values.dtype)


def outputs(model, dead, x):
    """Returns the outputs with dead channels at 0.

    Args:
        model: whose layers' names are unique.
        dead: layer name to the dead entries of the last axis of what it gives.
        x: in the model's structure of inputs.
    """

    def apply(operation, *args, **kwargs):
        if isinstance(operation, NORMS) and _of_last_axis(operation, args[0].values.ndim):
            return Masked(normalised(operation, *args), args[0].dead)

        def call(fill):
            def one(leaf):
                return keras.ops.convert_to_tensor(fill(leaf)) if isinstance(leaf, Masked) else leaf

            filled = tree.map_structure(one, (args, kwargs))
            result = operation(*filled[0], **filled[1])
            return tree.map_structure(keras.ops.convert_to_numpy, result)

        result = call(lambda leaf: leaf.values)
        if operation.name in dead or _sums(operation, args) or hasattr(operation, "from_conv"):
            mask = np.zeros(result.shape[-1], bool)
            mask[dead.get(operation.name, [])] = True
            return Masked(result, mask)
        marks = tree.map_structure(lambda array: np.zeros(array.shape, bool), result)
        if any(
            leaf.dead.any() for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Masked)
        ):
            for seed, sign in enumerate((1, -1, 1)):
                rng = np.random.default_rng(seed // 2)
                other = call(operator.methodcaller("filled", rng, sign))
                marks = tree.map_structure(lambda m, a, b: m | (a != b), marks, result, other)
        return tree.map_structure(Masked, result, marks)

    given = tree.map_structure(lambda array: Masked(array, False), x)
    return tree.map_structure(lambda leaf: leaf.values, run(model, given, apply))


def _sums(operation, args):
    """Whether it sums over channels: a convolution that takes one a group is depthwise."""
    groups = getattr(operation, "groups", 1)
    return isinstance(operation, SUM) and not 1 < groups == args[0].values.shape[-1]


def _of_last_axis(layer, rank):
    return list(np.ravel(layer.axis) % rank) == [rank - 1]


def normalised(layer, x):
    """Returns what a normalisation over the last axis gives, its statistics of those alive."""
    alive = ~x.dead
    count = alive.sum(-1, keepdims=True)
    values = x.values.astype(np.float64)
    weights = [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
    if isinstance(layer, layers.UnitNormalization):
        return values / np.sqrt((values**2).sum(-1, keepdims=True, where=alive))
    if isinstance(layer, layers.LayerNormalization):
        values = values - values.sum(-1, keepdims=True, where=alive) / count
    squares = (values**2).sum(-1, keepdims=True, where=alive) / count
    scaled = weights[0] * values / np.sqrt(squares + layer.epsilon)
    return scaled + weights[1] if len(weights) > 1 else scaled


def some_channels(graph, share=0.5, seed=0):
    """Returns for each group that isn't frozen a random part of its channels, to be kept."""
    rng = np.random.default_rng(seed)
    kept = {}
    for group in graph.groups.values():
        free = [channel for channel in range(group.size) if channel not in group.fixed]
        most = max(1, round(share * len(free))) if not group.fixed else round(share * len(free))
        if free:
            kept[group.name] = group.fixed | set(rng.permutation(free)[:most].tolist())
    return kept


def dead_filters(graph, kept):
    """Returns the producers' dead filters: of a block of layers by the names that it lowers to."""
    dead = {}
    for name, chosen in kept.items():
        gone = sorted(set(range(graph.groups[name].size)) - set(chosen))
        for part in graph.groups[name].slices:
            inner, _, weight = part.path.rpartition(".")
            if part.role == "made" and "kernel" in weight:
                layer = f"{part.layer}_{inner}" if inner else part.layer
                dead[layer] = np.flatnonzero(np.isin(part.channels, gone))
    return dead


def draw(model, batch=2, seed=1):
    """Returns random inputs for a model, unknown sizes 12."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(batch, *(size or 12 for size in x.shape[1:]))).astype("float32")
        for x in model.inputs
    ]


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


def check(model, kept=None, share=0.5, seed=0, bound=1e-5, exact=True):
    """Cuts channels out of a model and compares it with its masked twin.

    Returns:
        The graph and the smaller model, for further questions.
    """
    randomise(model, seed)
    graph = ChannelGraph(model, exact=exact)
    kept = some_channels(graph, share, seed) if kept is None else kept
    small = graph.keep(kept)
    assert small.count_params() < model.count_params()
    x = draw(model)
    whole = clone(model)
    ours = {op.name for op in whole.operations if hasattr(op, "lower")}
    blocks = {op.name for op in whole.operations if isinstance(op, Composite)}
    twin = lower(whole, keep=ours - blocks) if blocks else whole
    expected = tree.flatten(outputs(twin, dead_filters(graph, kept), _structure(twin, x)))
    got = tree.flatten(_predict(small, x))
    before = tree.flatten(_predict(model, x))
    for result, wanted, old in zip(got, expected, before, strict=True):
        assert result.shape == wanted.shape == old.shape
        assert rms(result - wanted) <= bound * rms(wanted)
    assert any(
        rms(wanted - old) > 1e-3 * rms(old) for wanted, old in zip(expected, before, strict=True)
    )
    return graph, small


def _structure(model, x):
    return x if isinstance(input_structure(model), list) and len(x) > 1 else x[0]


def _predict(model, x):
    return predict(model, _structure(model, x))
