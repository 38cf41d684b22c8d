"""The decompositions' choice of layers and ranks; what all techniques do is in the contract."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests import checks
from tfcompress import graph, techniques
from tfcompress.errors import InputError
from tfcompress.layers import (
    BiclusteredConv2D,
    CPConv2D,
    LookupConv2D,
    LowRankConv2D,
    LowRankDense,
    SpatialSeparableConv2D,
    TTConv2D,
    TTDense,
    TuckerConv2D,
)
from tfcompress.options import typed_options
from tfcompress.techniques._factorise_options import FactoriseOptions, SpectrumOptions

FORMS = {
    "biclustering": BiclusteredConv2D,
    "cp": CPConv2D,
    "lcnn": LookupConv2D,
    "spatial": SpatialSeparableConv2D,
    "svd": LowRankConv2D,
    "tt": TTConv2D,
    "tucker": TuckerConv2D,
}
each = pytest.mark.parametrize("name", FORMS)


def candidate(name, model, **options):
    technique = techniques.get(name)
    return technique.transform(techniques.Candidate(model), technique.make_options(**options))


def lines(name, model, **options):
    return {line.name: line for line in candidate(name, model, **options).layers}


def images(count=2, shape=(16, 16, 3)):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype("float32")


@each
def test_inner_convolutions_are_replaced_and_every_layer_is_named(name, small):
    got = candidate(name, small())
    kinds = {layer.name: type(layer) for layer in got.model.layers if layer.weights}
    assert kinds["conv1"] is layers.Conv2D
    assert kinds["logits"] is layers.Dense
    assert kinds["conv2"] is kinds["conv3"] is FORMS[name]
    assert [line.name for line in got.layers] == ["conv1", "conv2", "conv3", "logits"]
    assert [line.action for line in got.layers] == ["kept", "factorised", "factorised", "kept"]
    assert "MACs 0.07 M -> " in got.layers[1].reason
    assert "first weighted layer" in got.layers[0].reason


@each
def test_macs_ratio_is_an_upper_bound_that_is_nearly_reached(name):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(32, 3, name="first")(inputs)
    x = layers.Conv2D(48, 3, strides=2, padding="same", name="conv")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    before = {row.name: row.macs for row in graph.count(model)}["conv"]
    for ratio in (0.25, 0.5):
        thin = tfcompress.transform(model, name, macs_ratio=ratio)
        after = {row.name: row.macs for row in graph.count(thin)}["conv"]
        assert after <= ratio * before
        if name != "tt":  # Few steps lie between its ranks.
            assert after > 0.75 * ratio * before


@each
def test_full_rank_of_a_named_layer_is_the_same_network(name, small):
    model = small()
    rank = FORMS[name].full_rank((3, 3, 16, 16))
    whole = {"coefficients": 16} if name == "lcnn" else {}
    thin = tfcompress.transform(model, name, ranks={"conv3": rank}, **whole)
    assert isinstance(thin.get_layer("conv3"), FORMS[name])
    assert type(thin.get_layer("conv2")) is layers.Conv2D
    x = images()
    checks.assert_same(checks.predict(thin, x), checks.predict(model, x), atol=1e-4)


def test_a_named_layer_takes_its_own_rank(small):
    thin = tfcompress.transform(small(), "cp", rank=4, ranks="conv3:6")
    assert [thin.get_layer(name).rank for name in ("conv2", "conv3")] == [4, 6]
    thin = tfcompress.transform(small(), "tucker", ranks="conv2:3x5")
    assert thin.get_layer("conv2").rank == (3, 5)
    # Also the first and the last one, if they are named.
    thin = tfcompress.transform(small(), "svd", ranks={"conv1": 2, "logits": 3})
    assert isinstance(thin.get_layer("conv1"), LowRankConv2D)
    assert isinstance(thin.get_layer("logits"), LowRankDense)


def test_energy_and_variational_bayes_choose_each_layers_rank(small):
    model = small()
    for name in ("spatial", "svd", "tucker"):
        for options in ({"energy": 0.4}, {"vbmf": True}):
            found = lines(name, model, **options)
            assert found["conv2"].action == "factorised"
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(9 * 16, 2)) @ rng.normal(size=(2, 16))
    model.get_layer("conv3").set_weights([kernel.reshape(3, 3, 16, 16)])
    for options in ({"energy": 1.0}, {"vbmf": True}):
        thin = tfcompress.transform(model, "svd", ranks={"conv2": 1}, **options)
        assert thin.get_layer("conv3").rank == 2


@pytest.mark.parametrize(("name", "kind"), [("svd", LowRankDense), ("tt", TTDense)])
def test_inner_dense_layers_are_replaced(name, kind):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16,))
    x = layers.Dense(64, activation="relu", name="first")(inputs)
    x = layers.Dense(64, activation="relu", name="inner")(x)
    model = keras.Model(inputs, layers.Dense(3, name="last")(x))
    thin = tfcompress.transform(model, name)
    assert type(thin.get_layer("inner")) is kind
    assert type(thin.get_layer("last")) is layers.Dense
    with pytest.raises(InputError, match=r"no layer of model .* gains by cp .*first, inner, last:"):
        tfcompress.transform(model, "cp")


@pytest.mark.parametrize("name", ["cp", "svd"])
@pytest.mark.parametrize("channels", [1, 4, 5, 64])
def test_a_first_layer_stays_only_for_few_input_channels(name, channels):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, channels))
    x = layers.Conv2D(64, 3, name="first")(inputs)
    x = layers.Conv2D(64, 3, name="inner")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, name="last")(x))
    (first, *_) = lines(name, model).values()
    assert first.action == ("kept" if channels <= 4 else "factorised")
    if channels <= 4:
        assert first.reason == (
            f"first weighted layer: its few input channels ({channels}) leave little to gain; "
            "option ranks=first:RANK replaces it all the same"
        )


def awkward():
    """Every layer that can't be replaced, or gains nothing, beside one that is."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same", name="first")(inputs)
    x = layers.Conv2D(16, 3, padding="same", groups=2, name="grouped")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(16, 1, name="pointwise")(x)
    x = layers.Conv2D(16, 3, strides=(1, 2), padding="same", name="uneven")(x)
    x = layers.Conv2D(1, 3, padding="same", name="thin")(x)
    x = layers.Conv2D(16, 3, padding="same", name="wide")(x)
    shared = layers.Conv2D(16, 3, padding="same", name="shared")
    x = shared(shared(x))
    return keras.Model(inputs, layers.Dense(3, name="last")(layers.Flatten()(x)))


def test_what_is_left_alone_is_named_with_the_reason():
    found = lines("cp", awkward())
    reasons = {name: line.reason for name, line in found.items() if line.action == "kept"}
    assert "groups=2" in reasons["grouped"]
    assert "DepthwiseConv2D has no CPConv2D form" in reasons["depthwise"]
    assert "1x1" in reasons["pointwise"]
    assert "strides (1, 2) differ" in reasons["uneven"]
    assert "Dense has no CPConv2D form" in reasons["last"]
    assert "last weighted layer" in lines("svd", awkward())["last"].reason
    assert found["shared"].action == "factorised"
    found = lines("svd", awkward())
    assert "DepthwiseConv2D has no factorised form: each channel" in found["depthwise"].reason
    assert "groups=2" in found["grouped"].reason
    at_40 = lines("cp", awkward(), rank=40)
    assert at_40["thin"].reason.startswith("too small to gain: at rank 40 MACs")
    none = lines("cp", awkward(), macs_ratio=0.1)
    assert none["thin"].reason.startswith("too small to gain: rank 1 needs")


def test_a_shared_layer_is_still_shared():
    model = awkward()
    thin = tfcompress.transform(model, "spatial", ranks={"shared": 48})
    assert graph.Graph.of(thin).calls["shared"] == 2
    x = images(shape=(8, 8, 3))
    checks.assert_same(checks.predict(thin, x), checks.predict(model, x), atol=1e-4)


def test_multi_output_and_nested_models():
    keras.utils.set_random_seed(0)
    block = keras.Sequential(
        [keras.Input((8, 8, 16)), layers.Conv2D(16, 3, padding="same", name="inner")], name="block"
    )
    inputs = keras.Input((8, 8, 3))
    x = block(layers.Conv2D(16, 3, padding="same")(inputs))
    heads = [layers.Dense(n, name=f"head{n}")(layers.Flatten()(x)) for n in (2, 3)]
    model = keras.Model(inputs, heads)
    thin = tfcompress.transform(model, "tucker", ranks={"inner": (16, 16)})
    assert isinstance(thin.get_layer("inner"), TuckerConv2D)
    x = images(shape=(8, 8, 3))
    checks.assert_same(checks.predict(thin, x), checks.predict(model, x), atol=1e-4)


def test_a_second_time_there_is_nothing_left(small):
    once = tfcompress.transform(small(), "cp")
    with pytest.raises(InputError, match="conv2, conv3: CPConv2D has no CPConv2D form"):
        tfcompress.transform(once, "cp")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be positive; got 0"),
        ({"rank": 4, "macs_ratio": 0.5}, "give one of .*; got rank and macs_ratio"),
        ({"macs_ratio": 1.0}, r"macs_ratio must be in \(0, 1\); got 1.0"),
        ({"ranks": "conv3"}, "ranks takes name:rank, as in ranks=conv3:64"),
        ({"ranks": {"conv3": 0}}, "ranks takes name:rank"),
        ({"ranks": "conv3:1x2x3"}, "ranks takes name:rank"),
    ],
)
@pytest.mark.parametrize("name", ["cp", "svd"])
def test_bad_options(name, options, message):
    with pytest.raises(InputError, match=message):
        techniques.get(name).make_options(**options)


def test_bad_options_of_one_technique():
    with pytest.raises(InputError, match=r"energy must be in \(0, 1\]; got 2.0"):
        techniques.get("svd").make_options(energy=2.0)
    with pytest.raises(InputError, match="unknown option of cp 'energy'"):
        techniques.get("cp").make_options(energy=0.5)
    for option in ("iterations", "restarts"):
        with pytest.raises(InputError, match=f"{option} must be 1 or more; got 0"):
            techniques.get("cp").make_options(**{option: 0})
    with pytest.raises(InputError, match="decomposition_seed must be 0 or more"):
        techniques.get("cp").make_options(decomposition_seed=-1)


def test_named_layers_must_be_there_and_be_replaceable(small):
    with pytest.raises(InputError, match="unknown layer of model 'small' 'conv9'"):
        tfcompress.transform(small(), "cp", ranks={"conv9": 4})
    with pytest.raises(InputError, match="layer 'logits' can't be replaced: Dense has no CPConv2D"):
        tfcompress.transform(small(), "cp", ranks={"logits": 4})


def test_options_from_the_command():
    values = typed_options(SpectrumOptions, {"ranks": "a:4,b:2x3", "energy": "0.9", "vbmf": "no"})
    options = SpectrumOptions(**values)
    assert options.ranks == {"a": 4, "b": (2, 3)}
    assert (options.macs_ratio, options.energy, options.vbmf) == (None, 0.9, False)
    assert FactoriseOptions().macs_ratio == 0.25
    assert FactoriseOptions(ranks={"a": 4}).macs_ratio is None


@pytest.mark.parametrize(
    ("name", "application"),
    [
        ("cp", "MobileNetV2"),
        pytest.param("svd", "MobileNetV2", marks=pytest.mark.slow),
        pytest.param("cp", "ResNet50", marks=pytest.mark.slow),
        pytest.param("svd", "ResNet50", marks=pytest.mark.slow),
        # Two of its four stages: strides, shortcuts with a convolution and without, 8% of the
        # weights.
        ("svd", "ResNet50 up to conv3_block4_out"),
    ],
)
def test_networks_of_keras_applications(name, application):
    keras.utils.set_random_seed(0)
    application, _, last = application.partition(" up to ")
    build = getattr(keras.applications, application)
    options = {"alpha": 0.35} if application == "MobileNetV2" else {}
    model = build(weights=None, input_shape=(64, 64, 3), classes=4, **options)
    if last:
        x = keras.layers.GlobalAveragePooling2D()(model.get_layer(last).output)
        model = keras.Model(model.inputs, keras.layers.Dense(4)(x))
    if (name, application) == ("cp", "MobileNetV2"):
        # All of its spatial convolutions but the first are depthwise.
        with pytest.raises(InputError, match="34 layers, such as expanded_conv_project: 1x1"):
            tfcompress.transform(model, name, rank=4)
        return
    thorough = {"iterations": 2} if name == "cp" else {}
    got = candidate(name, model, rank=4, **thorough)
    assert graph.macs(got.model) < graph.macs(model)
    done = [line for line in got.layers if line.action == "factorised"]
    assert len(done) >= 15
    assert got.model.output_shape == (None, 4)


@pytest.mark.parametrize("ranks", [[8], 8, [("conv2", 3, 4)], {"conv2": None}])
def test_ranks_of_another_type(ranks):
    with pytest.raises(InputError, match="option ranks takes "):
        techniques.get("cp").make_options(ranks=ranks)
