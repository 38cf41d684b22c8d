import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict
from tests.techniques.conftest import randomise
from tests.techniques.counts import PLAIN
from tfcompress import graph, techniques
from tfcompress.data.examples import Examples
from tfcompress.data.protocol import Batch
from tfcompress.errors import InputError
from tfcompress.layers import NearestFill2D, PerforatedConv2D

PARAMETERS = PLAIN

TECHNIQUE = techniques.get("perforate")


def transform(model, **options):
    return TECHNIQUE.transform(techniques.Candidate(model), TECHNIQUE.make_options(**options))


def net(*behind, size=8, **options):
    """A convolution and what stands behind it, with statistics as after training."""
    keras.utils.set_random_seed(0)
    conv = layers.Conv2D(4, 3, padding="same", name="conv", **options)
    return randomise(keras.Sequential([keras.Input((size, size, 3)), conv, *behind]))


def norm():
    return layers.BatchNormalization(name="bn")


def relu():
    return layers.ReLU(name="relu")


def pool(*arguments):
    return layers.MaxPooling2D(*arguments, name="pool")


# Rows that are copied for each row of 8, and of 6, at rate 0.75; and at rate 0.5.
EIGHT, SIX = [1, 1, 3, 3, 5, 5, 7, 7], [1, 1, 3, 3, 5, 5]
UNEVEN = [0, 2, 2, 3, 4, 6, 6, 7]
# What stands behind the convolution, the options, the rows copied, and the layers that come of it.
CASES = {
    "alone": ([], {}, EIGHT, ["conv"]),
    "norm": ([norm()], {}, EIGHT, ["conv", "bn", "conv_fill"]),
    "block": ([norm(), relu()], {}, EIGHT, ["conv", "bn", "relu", "conv_fill"]),
    "pooled": ([norm(), relu(), pool()], {}, EIGHT, ["conv", "bn", "relu"]),
    "pooled farther": (
        [relu(), pool(2, 4)],
        {},
        EIGHT,
        ["conv", "relu", "conv_fill"],
    ),
    "uneven": (
        [relu(), pool()],
        {"rate": 0.5},
        UNEVEN,
        ["conv", "relu", "conv_fill", "pool"],
    ),
    "windows of several": ([relu(), pool(3)], {}, EIGHT, ["conv", "relu", "conv_fill", "pool"]),
    "rest of a pooling": ([relu(), pool(2)], {"size": 6}, SIX, ["conv", "relu"]),
    "rows": (
        [norm(), relu(), pool()],
        {"rate": 0.5, "mask": "rows"},
        (EIGHT, range(8)),
        ["conv", "bn", "relu", "pool"],
    ),
    "columns": (
        [relu(), pool((2, 4), (3, 4))],
        {"rate": 0.5, "mask": "columns"},
        (range(8), EIGHT),
        ["conv", "relu", "conv_fill", "pool"],
    ),
    "columns with padding": (
        [relu(), pool((3, 2), (2, 2))],
        {"rate": 0.75, "mask": "columns"},
        (range(8), [2, 2, 2, 2, 6, 6, 6, 6]),
        ["conv", "relu", "pool", "conv_fill"],
    ),
    "padded": (
        [relu(), pool(3, 2, "same")],
        {},
        EIGHT,
        ["conv", "relu", "conv_fill", "pool"],
    ),
    "slopes": ([layers.PReLU(name="slopes")], {}, EIGHT, ["conv", "slopes"]),
    "activation": ([pool()], {"activation": "relu"}, EIGHT, ["conv"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_as_copies_of_the_convolutions_outputs(case):
    behind, options, rows, names = CASES[case]
    like = {key: options[key] for key in ("size", "activation") if key in options}
    chosen = {key: value for key, value in options.items() if key not in like}
    model = net(*[type(each).from_config(each.get_config()) for each in behind], **like)
    x = np.random.default_rng(0).normal(size=(3, *model.inputs[0].shape[1:])).astype("float32")
    y = predict(keras.Model(model.inputs, model.get_layer("conv").output), x)
    down, across = rows if isinstance(rows, tuple) else (rows, rows)
    y = y[:, down][:, :, across]
    for layer in model.layers[1:]:
        y = layer(y, training=False) if layer.name == "bn" else layer(y)
    small = transform(model, **chosen).model
    np.testing.assert_allclose(predict(small, x), np.asarray(y), rtol=1e-4, atol=1e-5)
    found = [layer.name for layer in small.layers if not isinstance(layer, layers.InputLayer)]
    assert found == names


def test_random_positions_are_filled_behind_the_block():
    model = net(norm(), relu(), pool())
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    small = transform(model, mask="uniform", mask_seed=4).model
    got = predict(small, x)
    conv = small.get_layer("conv")
    assert not conv.interpolate
    conv.interpolate = True
    y = conv(x)
    for name in ("bn", "relu", "pool"):
        y = model.get_layer(name)(y)
    np.testing.assert_allclose(got, np.asarray(y), rtol=1e-4, atol=1e-5)


def test_lines_and_rates(small):
    candidate = transform(small(), layers="conv2:0.5", leave="conv3")
    assert {line.name: (line.action, line.reason) for line in candidate.layers} == {
        "conv1": (
            "perforated",
            "computes 64 of 256 positions; pool1 is gone: it would compare copies",
        ),
        "conv2": ("perforated", "computes 36 of 64 positions"),
        "conv3": ("kept", "named in the option leave"),
        "logits": ("kept", "Dense has no perforated form: only Conv1D and Conv2D have"),
    }
    kinds = {layer.name: type(layer) for layer in candidate.model.layers}
    assert kinds["conv2"] is PerforatedConv2D
    assert kinds["conv2_fill"] is NearestFill2D
    weighted = 64 * 27 * 8 + 36 * 72 * 16 + 16 * 144 * 16 + 256 * 4
    assert graph.macs(candidate.model) == weighted


def test_what_stays():
    x = inputs = keras.Input((None, 8, 3))
    x = layers.Conv2D(4, 3, name="any_height")(x)
    x = layers.Conv2D(4, 3, groups=2, name="groups")(x)
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    x = layers.GlobalMaxPooling2D()(shared(shared(x)))
    x = layers.Conv2D(4, 1, name="one")(layers.Reshape((1, 1, 4))(x))
    with pytest.raises(InputError) as error:
        transform(keras.Model(inputs, x, name="net"))
    for why in (
        "no layer of model 'net' can be perforated",
        "any_height: its input's height or width isn't known",
        "groups: 2 groups; perforated convolutions have none",
        "shared: shared: called 2 times",
        "one: too small: all of its 1 positions would be computed",
    ):
        assert why in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.0}, r"option rate must be a share of positions in \[0, 1\); got 1.0"),
        ({"mask": "pool"}, "option mask takes one of"),
        ({"mask_seed": -1}, "mask_seed must be 0 or more; got -1"),
        ({"layers": ("conv1:x",)}, "the rate of conv1 must be a share of positions"),
        ({"leave": ("convx",)}, "no layer is named 'convx'"),
        ({"rate": 0.0}, "no layer of model 'small' can be perforated"),
    ],
)
def test_bad_options(small, options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.check(techniques.Candidate(small()), TECHNIQUE.make_options(**options))


def test_the_positions_that_most_windows_hold_are_computed():
    """Of 8 rows, windows of three that step by two hold the third and the fifth twice."""
    model = net(relu(), pool(3, 2))
    conv = transform(model, mask="pooling", rate=60 / 64).model.get_layer("conv")
    assert conv.positions == [8 * row + column for row in (2, 4) for column in (2, 4)]
    plain = transform(net(relu(), pool()), mask="pooling")
    assert plain.model.get_layer("conv").positions is None
    assert "of a grid: no max pooling with overlapping windows" in plain.layers[0].reason


def test_the_positions_that_the_loss_depends_on_are_computed():
    """By the gradients of a squared error, in NumPy."""
    rng = np.random.default_rng(0)
    inputs = keras.Input((4, 4, 2))
    conv = layers.Conv2D(3, 1, use_bias=False, name="conv")
    score = layers.Dense(1, use_bias=False)
    model = keras.Model(inputs, score(layers.Flatten()(conv(inputs))))
    x, y = rng.normal(size=(6, 4, 4, 2)).astype("float32"), rng.normal(size=(6, 1))
    data = Examples(train=Batch(x, y.astype("float32")))
    outputs = x @ np.array(conv.kernel)[0, 0]
    weights = np.array(score.kernel).reshape(4, 4, 3)
    errors = ((outputs * weights).sum((1, 2, 3)) - y[:, 0])[:, None, None, None]
    expected = np.abs(outputs * 2 * errors * weights).sum((0, 3))
    with pytest.raises(InputError, match="mask=impact needs training examples"):
        transform(model, mask="impact")
    options = TECHNIQUE.make_options(mask="impact")
    TECHNIQUE.check(techniques.Candidate(model), options)
    got = TECHNIQUE.transform(techniques.Candidate(model, data=data), options)
    best = sorted(np.argsort(-expected.ravel())[:4].tolist())
    assert got.model.get_layer("conv").positions == best
    assert got.layers[0].reason == "computes 4 of 16 positions by their impact"
