"""Layers that techniques take by the Conv2D, DepthwiseConv2D or Dense that equals them."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
import tfcompress.runtime
from tests.checks import predict
from tests.techniques.conftest import randomise
from tfcompress import graph, techniques
from tfcompress.errors import InputError
from tfcompress.graph.nodes import operations
from tfcompress.layers import BinaryConv2D, BinaryDense, HashedConv2D, LowRankConv2D, LowRankDense


def transform(name, model, **options):
    technique = techniques.get(name)
    return technique.transform(techniques.Candidate(model), technique.make_options(**options))


def lines(candidate):
    return {line.name: (line.kind, line.action, line.reason) for line in candidate.layers}


def emotions(side=16, blocks=2):
    """A small one of the grey nets for facial expressions: separable residual blocks."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 1))
    x = layers.Conv2D(8, 3, use_bias=False, name="first")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for block in range(blocks):
        filters = 16 * 2**block
        short = layers.Conv2D(filters, 1, strides=2, padding="same", name=f"short{block}")(x)
        for step in "ab":
            name = f"block{block}{step}"
            x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
            x = layers.BatchNormalization(name=f"{name}_bn")(x)
            x = layers.ReLU()(x) if step == "a" else x
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.Add()([x, layers.BatchNormalization()(short)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3, padding="same", name="last")(x))
    return randomise(keras.Model(inputs, layers.Softmax()(x), name="emotions"))


def sequence():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20, 12))
    x = layers.Conv1D(24, 3, activation="relu", name="first")(inputs)
    x = layers.Conv1D(32, 5, padding="causal", activation="relu", name="conv")(x)
    x = layers.SeparableConv1D(40, 3, activation="relu", name="separable")(x)
    x = layers.EinsumDense("abc,cde->abde", (None, 4, 8), bias_axes="de", name="heads")(x)
    x = layers.GlobalAveragePooling1D()(layers.Reshape((-1, 32))(x))
    return randomise(keras.Model(inputs, layers.Dense(4, name="last")(x)))


FORMS = {"xnor": BinaryConv2D, "bwn": BinaryConv2D, "svd": LowRankConv2D, "hashed": HashedConv2D}
OPTIONS = {"hashed": {"include": "all"}}


@pytest.mark.parametrize("name", FORMS)
def test_1x1_parts_of_separable_convolutions_are_taken(name):
    model = emotions()
    candidate = transform(name, model, **OPTIONS.get(name, {}))
    for layer in ("block0b", "block1a", "block1b"):
        assert type(candidate.model.get_layer(layer)) is FORMS[name]
        assert type(candidate.model.get_layer(f"{layer}_depthwise")) is layers.DepthwiseConv2D
        kind, action, reason = lines(candidate)[layer]
        assert (kind, action != "kept") == ("SeparableConv2D", True)
        assert reason.startswith("its 1x1 part: ")
        assert lines(candidate)[f"{layer}_depthwise"][1:] == (
            "kept",
            f"part of SeparableConv2D '{layer}': DepthwiseConv2D has no "
            f"{ {'svd': 'factorised', 'hashed': 'hashed'}.get(name, 'binary') } form: "
            "each channel has a small kernel of its own",
        )
    if name != "svd":
        assert graph.macs(candidate.model) == graph.macs(model)
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype("float32")
    lowered = graph.lower(candidate.model)
    np.testing.assert_allclose(predict(lowered, x), predict(candidate.model, x), atol=1e-5)


@pytest.mark.parametrize("name", ["cp", "tucker", "spatial", "separable"])
def test_what_works_on_taps_alone_leaves_separable_convolutions_whole(name):
    quick = {"cp": {"iterations": 1}}.get(name, {})
    inner = keras.Sequential([keras.Input((16, 16, 16)), layers.Conv2D(32, 3, name="full")])
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(16, 3, padding="same", name="first")(inputs)
    x = layers.SeparableConv2D(16, 3, padding="same", name="separable")(x)
    x = layers.GlobalAveragePooling2D()(inner(x))
    candidate = transform(name, keras.Model(inputs, layers.Dense(5)(x)), **quick)
    assert type(candidate.model.get_layer("separable")) is layers.SeparableConv2D
    kind, action, reason = lines(candidate)["separable"]
    assert (kind, action) == ("SeparableConv2D", "kept")
    assert reason.startswith("its part of 1x1: ")
    assert "separable_depthwise" not in lines(candidate)


@pytest.mark.parametrize(
    ("name", "conv", "dense"),
    [("xnor", BinaryConv2D, BinaryDense), ("svd", LowRankConv2D, LowRankDense)],
)
def test_convolutions_over_one_axis_and_projections(name, conv, dense):
    model = sequence()
    candidate = transform(name, model)
    kinds = {name: (kind, action) for name, (kind, action, _) in lines(candidate).items()}
    done = "binarised" if name == "xnor" else "factorised"
    assert kinds["conv"] == ("Conv1D", done)
    assert kinds["separable"] == ("SeparableConv1D", done)
    assert kinds["heads"] == ("EinsumDense", done)
    assert kinds["last"] == ("Dense", "kept")
    assert type(candidate.model.get_layer("conv")) is conv
    assert type(candidate.model.get_layer("heads")) is dense
    if name == "xnor":
        assert kinds["first"] == ("Conv1D", "kept")
        assert type(candidate.model.get_layer("first")) is layers.Conv1D
        assert graph.macs(candidate.model) == graph.macs(model)
    x = np.random.default_rng(0).normal(size=(4, 20, 12)).astype("float32")
    lowered = graph.lower(candidate.model)
    np.testing.assert_allclose(predict(lowered, x), predict(candidate.model, x), atol=1e-5)


def test_a_file_of_it_agrees(tmp_path):
    model = transform("svd", sequence()).model
    x = np.random.default_rng(0).normal(size=(4, 20, 12)).astype("float32")
    tfcompress.export(model, tmp_path / "m.tflite", storage="float32", representative=x)
    got = tfcompress.runtime.LiteModel(tmp_path / "m.tflite").predict(x)
    np.testing.assert_allclose(got, predict(model, x), atol=1e-5)


def test_full_rank_is_the_same_function():
    model = sequence()
    ranks = {"conv": 32, "separable": 32, "heads": 32}
    x = np.random.default_rng(0).normal(size=(4, 20, 12)).astype("float32")
    thin = transform("svd", model, ranks=ranks).model
    np.testing.assert_allclose(predict(thin, x), predict(model, x), atol=1e-4)


def test_hashed_takes_dense_ones_and_puts_the_others_back():
    candidate = transform("hashed", sequence())
    assert lines(candidate)["heads"][:2] == ("EinsumDense", "hashed")
    for name in ("first", "conv"):
        assert type(candidate.model.get_layer(name)) is layers.Conv1D
        kept = ("Conv1D", "kept", "convolution: option include=all hashes it")
        assert lines(candidate)[name] == kept


def test_from_scratch_and_the_iterative_schedule():
    model = sequence()
    again = transform("bwn", model, recipe="paper").model
    first = keras.ops.convert_to_numpy(model.get_layer("first").kernel)
    assert not np.allclose(again.get_layer("first").kernel, first)
    technique = techniques.get("svd")
    options = technique.make_options(schedule="iterative")
    candidate = techniques.Candidate(model)
    rounds = technique.rounds(candidate, options, technique.training(options))
    for turn, _ in rounds:
        candidate = technique.transform(candidate, turn)
    once = technique.transform(techniques.Candidate(model), technique.make_options())
    assert sorted(lines(candidate)) == sorted(lines(once))
    assert graph.macs(candidate.model) == graph.macs(once.model)


def test_sketch_has_the_layers_of_the_transform():
    technique, candidate = techniques.get("svd"), techniques.Candidate(sequence())
    options = technique.make_options()
    sketched = technique.sketch(candidate, options).model
    made = technique.transform(candidate, options).model
    kinds = [[(op.name, type(op)) for op in operations(one)] for one in (sketched, made)]
    assert kinds[0] == kinds[1]


def test_minmax8_and_pruning_see_both_parts():
    candidate = transform("minmax8", emotions())
    actions = {name: action for name, (_, action, _) in lines(candidate).items()}
    assert actions["block1a"] == actions["block1a_depthwise"] == "quantised"
    candidate = transform("prune", emotions(), block_size="1x4")
    kind, action, reason = lines(candidate)["block1a"]
    assert (kind, action) == ("SeparableConv2D", "pruned")
    assert reason == "80% of the weights zero in blocks of 1x4"


@keras.saving.register_keras_serializable("tests")
class Mixing(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 16))

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)


def test_layers_that_no_technique_knows_are_named():
    inputs = keras.Input((10, 16))
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True), name="both")(inputs)
    x = layers.TimeDistributed(layers.Dense(16), name="each")(x)
    x = Mixing(name="own")(x)
    x = layers.Dense(32, name="dense")(layers.GRU(8, name="gru")(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    reasons = {name: reason for name, (_, _, reason) in lines(transform("svd", model)).items()}
    loops = "has no factorised form: its kernels are multiplied inside its loop"
    assert reasons["both"] == f"Bidirectional {loops}s over time"
    assert reasons["gru"] == f"GRU {loops} over time"
    assert reasons["own"] == "Mixing has no factorised form: a custom layer, kept as it is"
    assert "called step by step" in reasons["each"]
    x = layers.Dense(3)(layers.GlobalAveragePooling1D()(Mixing(name="own")(inputs)))
    with pytest.raises(InputError, match="own: first weighted layer"):
        transform("xnor", keras.Model(inputs, x))
