import dataclasses
import os

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.conftest import kernels, trained
from tests.techniques.counts import PLAIN
from tfcompress import techniques, training
from tfcompress.bridge.errors import BridgeError
from tfcompress.config import Training
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D, HashedConv2D
from tfcompress.training.context import DEFAULT_CONTEXT, TrainingContext

PARAMETERS = PLAIN

TECHNIQUE = techniques.get("prune")


def prune(model, data, epochs=2, context=DEFAULT_CONTEXT, **options):
    return trained(TECHNIQUE, model, data, epochs, context, **options)


def zeros(model):
    return {name: float(np.mean(kernel == 0)) for name, kernel in kernels(model).items()}


@pytest.mark.parametrize(("schedule", "sparsity"), [("polynomial", 0.9), ("constant", 0.5)])
def test_as_many_zeros_as_asked(small, data, schedule, sparsity):
    candidate = prune(
        small(), data, schedule=schedule, initial_sparsity=0.2, final_sparsity=sparsity, frequency=2
    )
    for name, kernel in kernels(candidate.model).items():
        # TFMOT rounds the number of weights that stay.
        assert np.sum(kernel == 0) == pytest.approx(sparsity * kernel.size, abs=1), name
    assert candidate.properties == {"sparsity"}
    for line in candidate.layers:
        assert float(line.reason.split("%")[0]) == pytest.approx(100 * sparsity, abs=0.5)


def test_the_smallest_weights_go(small, data):
    model = small()
    settings = {"schedule": "constant", "final_sparsity": 0.5, "frequency": 100}
    own = TECHNIQUE.make_options(**settings)
    candidate = TECHNIQUE.transform(techniques.Candidate(model), own)
    rate = Training(epochs=1, batch_size=64, learning_rate=1e-9)  # One step that changes nothing.
    candidate, _ = TECHNIQUE.fit(candidate, own, data, rate, DEFAULT_CONTEXT)
    for name, before in kernels(model).items():
        after = kernels(candidate.model)[name]
        limit = np.quantile(np.abs(before), 0.5)
        np.testing.assert_allclose(after, np.where(np.abs(before) > limit, before, 0), atol=1e-6)


def test_two_of_four(small, data):
    model = prune(small(), data, schedule="constant", m_by_n="2x4").model
    for name, kernel in kernels(model).items():
        inputs = np.moveaxis(kernel, -2, 0)
        if len(inputs) % 4:
            continue  # conv1 has three inputs.
        fours = inputs.reshape(len(inputs) // 4, 4, -1)
        assert ((fours == 0).sum(1) >= 2).all(), name


def test_blocks(data):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(32, name="wide"),
            layers.Dense(4, name="scores"),  # As wide as a block: TFMOT fails on it.
        ]
    )
    candidate = prune(model, data, block_size="1x4", final_sparsity=0.5)
    wide = kernels(candidate.model)["wide"]
    blocks = wide.reshape(16, 8, 4)
    whole = (blocks == 0).all(-1)
    assert ((blocks == 0).any(-1) == whole).all()
    assert whole.mean() == pytest.approx(0.5, abs=0.01)
    found = zeros(candidate.model)
    assert found["conv"] == found["scores"] == 0
    why = {line.name: line.reason for line in candidate.layers if line.action == "kept"}
    assert "blocks for matrices only" in why["conv"]
    assert "no larger than a block" in why["scores"]


def test_by_name(small, data):
    model = prune(
        small(), data, final_sparsity=0.5, layers=("conv*:0.9", "conv2:0.75"), leave=("logits",)
    ).model
    found = zeros(model)
    assert found["logits"] == 0
    assert found["conv2"] == pytest.approx(0.75, abs=0.01)
    assert found["conv3"] == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("steps", [1, 7])
def test_a_short_training_reaches_the_goal(small, data, steps):
    own = TECHNIQUE.make_options()
    candidate = TECHNIQUE.transform(techniques.Candidate(small()), own)
    batch = -(-64 // steps)
    settings = Training(epochs=1, batch_size=batch)
    model = TECHNIQUE.fit(candidate, own, data, settings, DEFAULT_CONTEXT)[0].model
    assert zeros(model)["conv3"] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("epochs", "begin", "end"), [(25, 0, 60), (5, 2, 12)])
def test_the_masks_change_last_after_60_percent_of_the_steps(
    small, data, monkeypatch, epochs, begin, end
):
    plans = []
    bridge = "tfcompress.bridge.prune"
    monkeypatch.setattr(f"{bridge}.wrapped_for_pruning", lambda _, plan: plans.append(plan))
    monkeypatch.setattr(f"{bridge}.train_wrapped", lambda _, model, *__: (model, []))
    prune(small(), data, epochs=epochs, begin_step=begin, frequency=1)  # 4 steps an epoch.
    assert {layer.end_step for layer in plans[0].values()} == {end}


def test_goes_on_where_it_was(smallest, data, tmp_path):
    whole = prune(smallest(), data, epochs=3, frequency=2).model

    def stop(epoch, step, steps):
        if epoch == 2:
            raise KeyboardInterrupt

    kept = TrainingContext(checkpoint=tmp_path / "state.npz")
    stopped = dataclasses.replace(kept, on_step=stop)
    with pytest.raises(training.Stopped):
        prune(smallest(), data, epochs=3, frequency=2, context=stopped)
    again = prune(smallest(), data, epochs=3, frequency=2, context=kept).model
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_goes_on_where_it_was_in_keras(smallest, data, tmp_path):
    settings = {"epochs": 3, "frequency": 1, "engine": "keras"}
    whole = prune(smallest(), data, **settings).model

    def stop(epoch, step, steps):
        if (epoch, step) == (2, 3):
            raise KeyboardInterrupt

    kept = TrainingContext(checkpoint=tmp_path / "state.npz")
    with pytest.raises(training.Stopped):
        prune(smallest(), data, context=dataclasses.replace(kept, on_step=stop), **settings)
    again = prune(smallest(), data, context=kept, **settings).model
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert zeros(whole)["conv"] == pytest.approx(0.8, abs=0.01)


def test_the_user_s_training_runs_in_keras_all_else_by_tfmot(monkeypatch):
    from tfcompress.techniques._engines import why_keras
    from tfcompress.training.objective import Objective

    auto = TECHNIQUE.make_options().engine
    classes, values = Objective(loss="any", one_label=True), Objective(loss="mse")
    compiled = Objective(loss="any", one_label=True, users=True)
    contexts = {
        "tfmot": [DEFAULT_CONTEXT, TrainingContext(objective=classes)],
        "keras": [
            TrainingContext(objective=values),
            TrainingContext(objective=compiled),
            TrainingContext(callbacks=(keras.callbacks.Callback(),)),
            TrainingContext(class_weight={0: 2.0}),
        ],
    }
    for engine, those in contexts.items():
        for context in those:
            assert (why_keras(auto, Training(), context) is None) == (engine == "tfmot")
    assert why_keras("keras", Training(), DEFAULT_CONTEXT)
    assert why_keras("tfmot", Training(), contexts["keras"][0]) is None
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert "jax" in why_keras(auto, Training(), DEFAULT_CONTEXT)


@pytest.mark.parametrize("technique", ["prune", "cluster", "qat"])
def test_what_fails_behind_tfmots_training_isnt_trained_again(technique, data, monkeypatch):
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(4, name="last")(x))
    lines, trained_by = [], []

    def by_tfmot(*_, **__):
        trained_by.append("tfmot")
        raise BridgeError("copies differ")

    module = "qat.train" if technique == "qat" else f"bridge.{technique}"
    name = "fit_wrapped" if technique == "qat" else "train_wrapped"
    monkeypatch.setattr(f"tfcompress.{module}.{name}", by_tfmot)
    # First the module that takes the other one's function as it is imported.
    monkeypatch.setattr("tfcompress.qat.native.fit", lambda *_, **__: trained_by.append("keras"))
    monkeypatch.setattr("tfcompress.training.fit", lambda *_, **__: trained_by.append("keras"))
    candidate = techniques.Candidate(model, say=lambda *line: lines.append(line))
    with pytest.raises(BridgeError, match="copies differ"):
        trained(techniques.get(technique), candidate, data, epochs=1)
    assert trained_by == ["tfmot"]
    assert lines == [("engine", "tfmot trains a copy in Keras 2")]


@pytest.mark.parametrize("technique", ["prune", "cluster"])
def test_keras_trains_what_the_bridge_cannot_convert_and_says_so(technique, data):
    inputs = keras.Input((16, 16, 3))
    x = keras.ops.logaddexp(inputs, 0.5)
    x = layers.Dense(16, name="dense")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(4, name="last")(x))
    lines = []
    candidate = techniques.Candidate(model, say=lambda *line: lines.append(line))
    chosen = techniques.get(technique)
    done = trained(chosen, candidate, data, epochs=1)
    assert done.properties == chosen.produces
    assert [stage for stage, _ in lines].count("engine") == 1
    assert any("keras, since" in text and "logaddexp" in text for _, text in lines)
    with pytest.raises(BridgeError, match="logaddexp"):
        trained(chosen, candidate, data, epochs=1, engine="tfmot")


def test_leaves_no_trace_in_the_model_and_the_process(small, data):
    import tensorflow as tf

    model = small()
    before = model.get_weights()
    environment, version = dict(os.environ), tf.keras.__version__
    prune(model, data)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    assert dict(os.environ) == environment
    assert tf.keras.__version__ == version == keras.__version__


def test_layers_of_ours_are_pruned_as_what_they_stand_for(small, data):
    thin = tfcompress.transform(small(), "cp", ranks={"conv3": 8})
    candidate = prune(thin, data, final_sparsity=0.5)
    names = {line.name for line in candidate.layers if line.action == "pruned"}
    assert len([name for name in names if name.startswith("conv3")]) == 2  # The two 1x1.
    assert {"conv1", "conv2", "logits"} < names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"final_sparsity": 1.0}, r"final_sparsity must be a share of zeros in \(0, 1\)"),
        ({"initial_sparsity": 0.9}, "initial_sparsity 0.9 must be at most final_sparsity"),
        ({"frequency": 0}, "frequency must be 1 or more"),
        ({"end_step": 0}, "end_step must come behind begin_step"),
        ({"block_size": "4"}, "block_size takes two numbers"),
        ({"m_by_n": "4x4"}, "must leave some weights"),
        ({"m_by_n": "2x4", "block_size": "1x4"}, "give one of"),
        ({"schedule": "linear"}, "schedule takes one of"),
        ({"engine": "torch"}, "engine takes one of"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.make_options(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave": ("convx*",)}, r"no layer is named 'convx\*'; there are"),
        ({"leave": ("*",)}, "no layer of model 'small' can be pruned"),
        ({"layers": ("conv1",)}, "takes name:value"),
        ({"layers": ("conv1:high",)}, "the sparsity of conv1 must be a share"),
    ],
)
def test_bad_names(small, options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.check(techniques.Candidate(small()), TECHNIQUE.make_options(**options))


@pytest.mark.parametrize("technique", ["prune", "cluster", "deep_compression", "qat"])
@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (BinaryConv2D(8, 3, name="own"), "it is binary, and TFMOT would train its signs as floats"),
        (BinaryConv2D(8, 3, binarize_inputs=False, name="own"), "it is binary, and TFMOT would"),
        (HashedConv2D(8, 3, name="own"), "it computes Take, which TFMOT's built-in layers can't"),
    ],
)
def test_layers_of_ours_that_cannot_be_there_are_named(technique, layer, why):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3)(inputs)
    x = layers.GlobalAveragePooling2D()(type(layer).from_config(layer.get_config())(x))
    model = keras.Model(inputs, layers.Dense(4)(x))
    nested = keras.Sequential([keras.Input((8, 8, 3)), model])
    chosen = techniques.get(technique)
    options = chosen.make_options(**({} if technique == "qat" else {"engine": "tfmot"}))
    kind = type(layer).__name__
    for net in (model, nested):
        with pytest.raises(InputError, match=rf"layer 'own' \({kind}\) can't be .*: {why}"):
            chosen.check(techniques.Candidate(net), options)


def test_layers_that_tfmot_cannot_train_stay_as_they_are_in_keras(data):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            HashedConv2D(8, 3, strides=4, name="hashed"),
            BinaryConv2D(8, 3, name="binary"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, name="dense"),
            layers.Dense(4, name="last"),
        ]
    )
    candidate = prune(model, data, epochs=1)
    kinds = {layer.name: type(layer) for layer in candidate.model.layers}
    assert kinds["hashed"] is HashedConv2D
    assert kinds["binary"] is BinaryConv2D
    kernel = candidate.model.get_layer("dense").kernel
    assert np.mean(keras.ops.convert_to_numpy(kernel) == 0) == pytest.approx(0.8, abs=0.01)
    assert not keras.ops.any(candidate.model.get_layer("binary").kernel == 0)
    prepared = tfcompress.prepare(model, "prune", end_step=4, frequency=4)
    assert {type(layer) for layer in prepared.layers} >= {HashedConv2D, BinaryConv2D}


def test_steps_that_miss_the_goal(small, data):
    with pytest.raises(InputError, match=r"end_step 5 is no step .* take 6"):
        prune(small(), data, end_step=5, frequency=2)
    with pytest.raises(InputError, match="comes after the last of 8 steps"):
        prune(small(), data, end_step=100)
    with pytest.raises(InputError, match="1 epoch or more"):
        prune(small(), data, epochs=0)


def test_zeros_do_not_shrink_the_file_but_its_gzip(small, data, tmp_path):
    import gzip

    sizes = {}
    for name, model in (("dense", small()), ("pruned", prune(small(), data).model)):
        path = tmp_path / f"{name}.tflite"
        tfcompress.export(model, path)
        sizes[name] = path.stat().st_size, len(gzip.compress(path.read_bytes()))
    assert sizes["pruned"][0] == pytest.approx(sizes["dense"][0], rel=0.02)
    assert sizes["pruned"][1] < 0.6 * sizes["dense"][1]


def test_options_as_text():
    options = TECHNIQUE.make_options(layers="conv*:0.9,dense:0.5", end_step="200", power="2")
    assert options.layers == ("conv*:0.9", "dense:0.5")
    assert dataclasses.astuple(options)[4] == 200


def recurrent():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Reshape((4, 192))(inputs)
    x = layers.EinsumDense("abc,cd->abd", (None, 8), name="einsum")(x)
    x = layers.Bidirectional(layers.SimpleRNN(10, name="rnn"), name="both")(x)
    return keras.Model(inputs, layers.Dense(4, name="scores")(x))


@pytest.mark.parametrize("engine", ["tfmot", "keras"])
def test_kernels_of_recurrent_layers(data, engine):
    candidate = prune(recurrent(), data, epochs=1, frequency=1, engine=engine)
    reasons = {line.name: (line.kind, line.reason) for line in candidate.layers}
    assert reasons["both"] == ("Bidirectional", "80.0% of the weights are zero")
    assert reasons["einsum"] == ("EinsumDense", "80.0% of the weights are zero")
    assert reasons["scores"] == ("Dense", "80.0% of the weights are zero")
    cell = candidate.model.get_layer("both").backward_layer.cell
    for kernel in (cell.kernel, cell.recurrent_kernel):
        assert np.mean(keras.ops.convert_to_numpy(kernel) == 0) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("technique", ["prune", "cluster", "deep_compression"])
def test_tfmot_refuses_custom_layers_before_anything_is_trained(technique):
    class Custom(layers.Layer):
        def call(self, x):
            return x

    x = inputs = keras.Input((16, 16, 3))
    x = layers.Flatten()(Custom(name="mine")(layers.Conv2D(8, 3)(x)))
    candidate = techniques.Candidate(keras.Model(inputs, layers.Dense(4)(x)))
    chosen = techniques.get(technique)
    with pytest.raises(InputError, match=r"'mine' .*ed by TFMOT.*: option engine=keras keeps"):
        chosen.check(candidate, chosen.make_options(engine="tfmot"))
    chosen.check(candidate, chosen.make_options())
