import dataclasses
import re

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.checks import predict
from tests.export import any_models
from tests.techniques.conftest import randomise
from tfcompress import graph, techniques
from tfcompress.errors import InputError
from tfcompress.graph.channels import ChannelGraph
from tfcompress.ops.importance import l2, median_distance
from tfcompress.techniques import _channel_scores as channel_scores
from tfcompress.techniques import _channel_widths as widths
from tfcompress.techniques.channels import TECHNIQUE

# 5, 10 and 13 filters of 8, 16 and 16; each with gamma and beta; 4 x 4 positions into 4 classes.
PARAMETERS = 9 * (3 * 5 + 5 * 10 + 10 * 13) + 2 * (5 + 10 + 13) + 4 * 4 * 13 * 4 + 4


def branches():
    """A sum and a join; grouped, separable and transposed convolutions; a dense layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="stem")(inputs)
    y = layers.SeparableConv2D(24, 3, padding="same", name="separable")(x)
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(y)])
    y = layers.Conv2D(16, 3, padding="same", groups=2, name="grouped")(x)
    x = layers.Concatenate()([layers.BatchNormalization()(y), x])
    x = layers.Conv2DTranspose(24, 2, strides=2, activation="relu", name="transposed")(x)
    x = layers.Flatten()(layers.MaxPooling2D(4)(x))
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    return randomise(keras.Model(inputs, layers.Dense(5, name="scores")(x), name="branches"))


def samples(model, count=64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *model.input_shape[1:])).astype("float32")


def transform(model, x=None, **options):
    candidate = techniques.Candidate(model, samples=x)
    return TECHNIQUE.transform(candidate, TECHNIQUE.make_options(**options))


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("ratio", [0.3, 0.6])
def test_what_is_left_is_the_ratio_at_most_and_nearly(scope, ratio):
    model = branches()
    small = tfcompress.transform(model, "channels", macs_ratio=ratio, scope=scope, round_to=1)
    assert 0.9 * ratio < graph.macs(small) / graph.macs(model) <= ratio


def test_the_cost_is_what_the_smaller_model_counts():
    whole = ChannelGraph(branches())
    chosen = widths.choose(
        whole, channel_scores.scores(whole, "l2", 0), widths.Rules(0.5, "layer", 4, round_to=4)
    )
    masks = {n: np.isin(range(whole.groups[n].size), kept) for n, kept in chosen.items()}
    assert widths.Cost(whole).of(masks) == graph.macs(whole.keep(chosen))


def test_a_ratio_of_one_leaves_the_model_as_it_was():
    model = branches()
    x = samples(model, 4)
    got = predict(tfcompress.transform(model, "channels", macs_ratio=1.0), x)
    np.testing.assert_array_equal(got, predict(model, x))


def test_the_report_says_widths_and_why_others_stay():
    candidate = transform(branches())
    lines = {line.name: (line.action, line.reason) for line in candidate.layers}
    assert lines["stem"][0] == "narrowed"
    assert re.match(r"24 -> \d+ channels by l2, with those of stem", lines["separable"][1])
    assert lines["scores"] == ("kept", "an output of the model")
    for name in ("stem", "grouped", "transposed"):
        assert f"-> {candidate.model.get_layer(name).filters} channels" in lines[name][1]


@pytest.mark.parametrize("criterion", ["l1", "l2", "fpgm", "bn_scale", "random"])
def test_the_channels_with_the_lowest_scores_go(criterion, small):
    model = small()
    weights = [layer.get_weights() for layer in model.layers]
    transform(model, criterion=criterion)
    for layer, before in zip(model.layers, weights, strict=True):
        for old, now in zip(before, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(now, old)
    whole = ChannelGraph(model)
    scores = channel_scores.scores(whole, criterion, seed=0)["conv3"]
    kept = widths.choose(whole, {"conv3": scores}, widths.Rules(0.9, "layer", 4, 8))["conv3"]
    assert len(kept) == 8
    gone = sorted(set(range(16)) - set(kept.tolist()))
    assert scores[gone].max() <= scores[kept].min()
    kernel = np.asarray(model.get_layer("conv3").kernel).reshape(-1, 16).T
    expected = {
        "l2": l2(kernel) / l2(kernel).mean(),
        "fpgm": median_distance(kernel) / median_distance(kernel).mean(),
        "bn_scale": np.asarray(model.get_layer("conv3_bn").gamma),
    }
    if criterion in expected:
        wanted = expected[criterion] / expected[criterion].mean()
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_median_distance_is_the_sum_of_distances():
    filters = np.random.default_rng(0).normal(size=(7, 5))
    expected = [sum(np.linalg.norm(a - b) for b in filters) for a in filters]
    np.testing.assert_allclose(median_distance(filters), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("count", "size", "width"),
    [(3, 64, 7), (10, 64, 8), (12, 64, 16), (65, 128, 64), (72, 128, 80), (126, 127, 127)],
)
def test_widths_are_rounded_and_then_raised_to_the_least(count, size, width):
    """A tenth of 64, rounded up, is 7; above 64 the step is twice as wide."""
    whole = ChannelGraph(keras.Sequential([keras.Input((3,)), layers.Dense(size, name="one")]))
    rules = widths.Rules(0.5, "layer", min_channels=4, round_to=8)
    group = dataclasses.replace(whole.groups["one"], fixed=frozenset(), frozen=None)
    assert rules.rounded(count, group) == width


def test_repair_brings_the_outputs_back(small):
    """Channels that others repeat cost nothing once the next layers are refitted."""
    model = small()
    for name in ("conv2", "conv3"):
        conv, norm = model.get_layer(name), model.get_layer(f"{name}_bn")
        # The copies' filters are smaller, which their statistics make up for.
        for weight, factor in [
            (conv.kernel, 0.5),
            (norm.gamma, 1),
            (norm.beta, 1),
            (norm.moving_mean, 0.5),
            (norm.moving_variance, 0.25),
        ]:
            values = np.array(weight)
            values[..., 8:] = factor * values[..., :8]
            weight.assign(values)
    x, held_out = samples(model, 256), samples(model, 32, seed=1)
    wanted = predict(model, held_out)

    def error(**options):
        size = {"macs_ratio": 0.62, "min_channels": 8}
        candidate = transform(model, x, criterion="l2", **size, **options)
        got = predict(candidate.model, held_out)
        return np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2)), candidate

    fitted, candidate = error(repair="least_squares")
    by_means, _ = error(repair="mean")
    cut, _ = error(repair="none")
    assert fitted < 0.05 < by_means < cut
    reasons = {line.name: line.reason for line in candidate.layers}
    assert "error of the responses" in reasons["logits"]


def test_means_of_what_is_gone_go_into_the_bias():
    """Two of four channels are constant, and without padding: nothing is lost."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    x = layers.Conv2D(3, 2, name="second")(x)
    model = keras.Model(inputs, layers.Dense(2, name="scores")(layers.Flatten()(x)))
    kernel, _ = model.get_layer("first").get_weights()
    kernel[..., 2:] *= 1e-6
    model.get_layer("first").set_weights([kernel, np.array([0, 0, 2, 3], "float32")])
    x = samples(model, 64)
    options = {"criterion": "l2", "macs_ratio": 0.6, "min_channels": 2, "round_to": 1}
    small = transform(model, x, **options, repair="mean").model
    assert [small.get_layer(name).filters for name in ("first", "second")] == [2, 3]
    np.testing.assert_allclose(predict(small, x), predict(model, x), atol=1e-4)
    cut = transform(model, x, **options, repair="none").model
    assert not np.allclose(predict(cut, x), predict(model, x), atol=0.1)


def test_several_inputs_are_repaired():
    left, right = keras.Input((8, 8, 1), name="left"), keras.Input((6,), name="right")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, activation="relu")(left))
    x = layers.Concatenate()([x, layers.Dense(16, activation="relu")(right)])
    model = keras.Model({"left": left, "right": right}, layers.Dense(2, name="scores")(x))
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(32, *each.shape[1:])) for name, each in model.input.items()}
    x = {name: each.astype("float32") for name, each in x.items()}
    lines = {line.name: line.action for line in transform(model, x, criterion="l2").layers}
    assert lines["scores"] == "refitted"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"macs_ratio": 0.0}, "option macs_ratio must be above 0 and at most 1; got 0.0"),
        ({"macs_ratio": 1.5}, "option macs_ratio must be above 0 and at most 1; got 1.5"),
        ({"criterion": "l3"}, "option criterion .*'l3'"),
        ({"scope": "net"}, "option scope .*'net'"),
        ({"repair": "some"}, "option repair .*'some'"),
        ({"min_channels": 0}, "option min_channels must be 1 or more; got 0"),
        ({"round_to": 0}, "option round_to must be 1 or more; got 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.make_options(**options)


def test_none_as_text_is_no_repair():
    assert TECHNIQUE.make_options(repair="none").repair == "none"


@pytest.mark.parametrize("function", [TECHNIQUE.check, TECHNIQUE.transform])
def test_what_cannot_be_done_is_one_line(function, small):
    inputs = keras.Input((4,))
    rigid = keras.Model(inputs, layers.Dense(3, name="only")(inputs), name="rigid")
    options = TECHNIQUE.make_options()
    message = r"^no layer of model 'rigid' has channels .* \(only: an output of the model\)$"
    with pytest.raises(InputError, match=message):
        function(techniques.Candidate(rigid), options)
    message = r"^option macs_ratio=0.01 is out of reach for model 'small': .* 0\.\d+ is left, .*'$"
    with pytest.raises(InputError, match=message):
        function(techniques.Candidate(small()), TECHNIQUE.make_options(macs_ratio=0.01))


def test_repair_without_examples_says_where_there_are_some(small):
    with pytest.raises(InputError, match="repair=mean needs training examples: use tfcompress"):
        tfcompress.transform(small(), "channels", repair="mean")


def test_after_it_other_techniques_apply(small):
    thin = tfcompress.transform(small(), "channels+xnor")
    assert thin.get_layer("conv3").filters == 13
    assert type(thin.get_layer("conv2")).__name__ == "BinaryConv2D"


def test_the_control_has_the_same_widths_and_weights_of_its_own(small):
    """What adapted layers know of the data isn't learned anew."""
    model = small()
    inputs = keras.Input((16, 16, 3))
    norm = layers.Normalization(mean=None)
    norm.adapt(samples(model, 8))
    model = keras.Model(inputs, model(norm(inputs)))
    candidate = transform(model, control=True)
    control, narrow = candidate.control.model, candidate.model
    assert transform(model).control is None
    for layer, fresh in zip(narrow.layers, control.layers, strict=True):
        assert [w.shape for w in layer.weights] == [w.shape for w in fresh.weights]
        if isinstance(layer, layers.Normalization):
            np.testing.assert_array_equal(fresh.mean, layer.mean)
        elif hasattr(layer, "kernel"):
            assert not np.allclose(fresh.kernel, layer.kernel)


def test_channels_of_layer_normalisations_go_where_a_training_follows():
    """Half of a transformer, its residual stream included; without a training that stays."""
    model, _ = any_models.transformer()
    options = {"macs_ratio": 0.5, "criterion": "l2", "repair": "none", "round_to": 1}
    with pytest.raises(InputError, match="out of reach"):
        tfcompress.transform(model, "channels", **options)
    made = TECHNIQUE.make_options(**options)
    TECHNIQUE.check(techniques.Candidate(model), made)
    got = TECHNIQUE.transform(techniques.Candidate(model, data=object()), made)
    assert graph.macs(got.model) <= 0.5 * graph.macs(model)
    width = got.model.layers[1].output_dim
    assert width < 16
    line = next(line for line in got.layers if line.kind == "LayerNormalization")
    assert line.reason == (
        f"16 -> {width} channels, those that it is given; its statistics are now of these, so the "
        "network has to be trained"
    )
    with pytest.raises(InputError, match="out of reach"):
        TECHNIQUE.check(
            techniques.Candidate(model), TECHNIQUE.make_options(**options, layer_norms="keep")
        )


def test_widths_that_are_given_are_what_stays(small):
    """The best by l2 stay; layers that aren't named keep all of theirs, and nothing is rounded."""
    model = small()
    thin = tfcompress.transform(model, "channels", widths="conv3:5,conv2:9", criterion="l2")
    assert [thin.get_layer(f"conv{n}").filters for n in (1, 2, 3)] == [8, 9, 5]
    whole = model.get_layer("conv2").kernel.numpy()
    best = np.sort(np.argsort(-np.sqrt((whole**2).sum((0, 1, 2))), kind="stable")[:9])
    np.testing.assert_array_equal(thin.get_layer("conv2").kernel.numpy(), whole[..., best])
    options = TECHNIQUE.make_options(widths={"conv2": 9})
    assert TECHNIQUE.sketch(techniques.Candidate(small()), options).model.count_params() > 0
    assert options == TECHNIQUE.make_options(widths="conv2:9")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("conv2", "^option widths takes layer:channels, as in widths=conv3:64; got"),
        ("conv2:0", "^option widths takes layer:channels"),
        ("conv2:3,conv2:4", "^option widths names 'conv2' twice$"),
        ("conf2:3", "^unknown layer in option widths 'conf2'.*conv2"),
        ("conv2:17", "^option widths=conv2:17: the layer has 16 channels$"),
        ("logits:2", "^option widths=logits:2: all 4 channels have to stay: an output of the"),
    ],
)
def test_widths_that_a_model_cannot_have(given, message, small):
    for function in (TECHNIQUE.check, TECHNIQUE.transform):
        with pytest.raises(InputError, match=message):
            function(techniques.Candidate(small()), TECHNIQUE.make_options(widths=given))


def test_widths_leave_no_room_for_ratios_or_rounds():
    with pytest.raises(InputError, match=r"^widths say how much stays: leave size_ratio out$"):
        TECHNIQUE.make_options(widths="conv2:9", size_ratio=0.5)
    with pytest.raises(InputError, match=r"^iterations=2 takes a ratio"):
        TECHNIQUE.make_options(widths="conv2:9", iterations=2)
