import keras
import pytest
from keras import layers, ops

from tfcompress.graph import Graph


def diamond():
    """stem feeds left, right and add; right is called twice; join takes the stem three times."""
    x = inputs = keras.Input((4,))
    stem = layers.Dense(4, name="stem")(x)
    left = layers.ReLU(name="left")(stem)
    twice = layers.Dense(4, name="twice")
    join = layers.Add(name="join")([left, twice(twice(stem)), stem])
    side = layers.Dense(2, name="side")(join)
    last = layers.Dense(1, name="last")(layers.Add(name="self")([side, side]))
    return keras.Model(inputs, [last, left])


def test_graph_says_who_feeds_whom():
    graph = Graph.of(diamond())
    assert set(graph.operations) == {"stem", "left", "twice", "join", "side", "self", "last"}
    assert next(iter(graph.operations)) == "stem"
    assert next(reversed(graph.operations)) == "last"
    assert isinstance(graph.operations["left"], layers.ReLU)
    assert graph.producers == {
        "stem": [],
        "left": ["stem"],
        "twice": ["stem", "twice"],
        "join": ["left", "twice", "stem"],
        "side": ["join"],
        "self": ["side", "side"],
        "last": ["self"],
    }
    assert {name: sorted(after) for name, after in graph.consumers.items()} == {
        "stem": ["join", "left", "twice"],
        "left": ["join"],
        "twice": ["join", "twice"],
        "join": ["side"],
        "side": ["self", "self"],
        "self": ["last"],
        "last": [],
    }
    assert graph.calls == {**dict.fromkeys(graph.operations, 1), "twice": 2}
    assert graph.outputs == {"last", "left"}


@pytest.mark.parametrize(
    ("name", "consumer"),
    [
        ("join", "side"),
        ("self", "last"),
        ("stem", None),  # three of them
        ("side", None),  # one, twice
        ("last", None),  # none
        ("left", None),  # one, and the model's user
    ],
)
def test_only_consumer(name, consumer):
    assert Graph.of(diamond()).only_consumer(name) == consumer


@pytest.mark.parametrize(
    ("names", "forward", "reached"),
    [
        ({"join"}, True, {"side", "self", "last"}),
        ({"join"}, False, {"left", "twice", "stem"}),
        ({"left"}, False, {"stem"}),
        ({"stem"}, False, set()),
        ({"last"}, True, set()),
        ({"left", "side"}, True, {"join", "side", "self", "last"}),
        ({"twice"}, True, {"twice", "join", "side", "self", "last"}),
        (set(), True, set()),
    ],
)
def test_reaches(names, forward, reached):
    assert Graph.of(diamond()).reaches(names, forward=forward) == reached


def test_graph_of_keras_ops():
    inputs = keras.Input((8,))
    x = layers.Dense(8)(inputs)
    x = ops.where(x > 0, x, 0.1 * x)
    graph = Graph.of(keras.Model(inputs, ops.mean(x, axis=-1)))
    kinds = [type(operation).__name__ for operation in graph.operations.values()]
    assert kinds[0] == "Dense"
    assert kinds[-2:] == ["Where", "Mean"]
    assert len(kinds) == 5
