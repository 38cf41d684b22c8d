"""The technique `qat`: what it says, what it keeps, and a whole chain to the file."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.qat.nets import net
from tests.techniques.conftest import trained
from tests.techniques.counts import PLAIN
from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.errors import InputError
from tfcompress.layers import FakeQuantize
from tfcompress.training import TrainingContext

# Batch normalisation is folded after the training only.
PARAMETERS = PLAIN


def lines(model, **options):
    technique = techniques.get("qat")
    candidate = technique.transform(techniques.Candidate(model), technique.make_options(**options))
    return {line.name: line for line in candidate.layers}


def test_says_what_becomes_of_each_layer(small):
    said = lines(small())
    assert said["conv1"].action == "quantised"
    assert said["conv1_bn"].reason == "folded after training"
    assert lines(net("dense_bn"))["hidden_bn"].action == "folded"
    assert lines(net("separable"))["separable0"].action == "rewritten"


def test_names_what_stays_float():
    image = keras.Input((8, 8, 3))
    x = layers.LayerNormalization(name="norm")(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    with pytest.raises(InputError, match=r"'norm' \(LayerNormalization"):
        lines(model)
    said = lines(model, on_unsupported="keep_float")
    assert said["norm"].action == "kept float"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_unsupported": "ignore"}, "on_unsupported"),
        ({"calibration_images": "0"}, "calibration_images must be 1 or more; got 0"),
        ({"engine": "torch"}, "engine takes one of"),
        ({"preserve": ("speed",)}, "option preserve must be one of clusters, sparsity"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(InputError, match=said):
        techniques.get("qat").make_options(**options)


def test_tfmot_trains_what_is_built_in_and_one_input(small, data, monkeypatch):
    from tfcompress.data.pipelines import Stream

    technique = techniques.get("qat")
    monkeypatch.setattr("tfcompress.qat.train.wrap_and_calibrate", lambda *_, **__: None)
    monkeypatch.setattr("tfcompress.qat.train.fit_wrapped", lambda *_, **__: ("tfmot", []))
    monkeypatch.setattr("tfcompress.qat.native.fit", lambda *_, **__: ("keras", []))

    def engine(model, data=data, engine="auto"):
        candidate = techniques.Candidate(model)
        options = technique.make_options(engine=engine)
        return technique.fit(candidate, options, data, Training(), TrainingContext())[0].model

    class AnyStream(Stream):
        def __init__(self):
            pass

        def representative(self, n, seed=0):
            return None

    image, other = keras.Input((4,)), keras.Input((4,))
    two = keras.Model([image, other], layers.Add()([image, other]))
    ours = keras.Model(image, FakeQuantize()(image))
    assert engine(small()) == engine(small(), engine="tfmot") == "tfmot"
    assert engine(small(), AnyStream()) == engine(small(), engine="keras") == "keras"
    assert engine(two) == engine(ours) == "keras"


def test_mixed_precision_is_trained_in_float32():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, dtype="mixed_float16", name="conv")(image)
    technique = techniques.get("qat")
    model = keras.Model(image, layers.Flatten(dtype="float32")(x))
    made = technique.transform(techniques.Candidate(model), technique.make_options()).model
    assert made.get_layer("conv").dtype_policy.name == "float32"


def test_custom_layers_are_trained_in_keras_and_stay_float(data):
    class Custom(layers.Layer):
        def call(self, x):
            return x * 0.5

    image = keras.Input((16, 16, 3))
    x = Custom(name="mine")(layers.Conv2D(4, 3, activation="hard_silu", name="conv")(image))
    x = layers.GlobalAveragePooling2D()(x) + 0.1
    model = keras.Model(image, layers.Dense(4, name="logits")(x))
    with pytest.raises(InputError, match=r"'mine' \(Custom.* on_unsupported=keep_float"):
        lines(model)
    settings = {"on_unsupported": "keep_float", "calibration_images": 16}
    candidate = trained(techniques.get("qat"), model, data, 1, **settings)
    said = {line.name: line.action for line in candidate.layers}
    assert said["mine"] == "kept float"
    assert said["conv"] == "split"
    kinds = {layer.name: type(layer) for layer in candidate.model.layers}
    assert kinds["mine"] is Custom
    assert kinds["mine_quantized"] is FakeQuantize


def test_nothing_may_follow_that_would_undo_it():
    with pytest.raises(InputError, match="prune can't follow qat"):
        techniques.chain("qat+prune")
    with pytest.raises(InputError, match="qat can't follow xnor"):
        techniques.chain("xnor+qat")
    assert [t.name for t in techniques.chain("svd+qat")] == ["svd", "qat"]


def test_zeros_of_the_candidate_are_kept(small, data):
    model = small()
    kernel = model.get_layer("conv2").get_weights()[0]
    kernel[np.random.default_rng(0).random(kernel.shape) < 0.6] = 0
    model.get_layer("conv2").set_weights([kernel])
    technique = techniques.get("qat")
    options = technique.make_options(calibration_images=32)
    settings = dataclasses.replace(
        technique.training(options), epochs=1, batch_size=16, learning_rate=1e-2
    )
    candidate = techniques.Candidate(model, properties=frozenset({"sparsity"}))
    step = techniques.Step(technique, options, settings)
    context = TrainingContext(teacher=small())
    candidate, _ = techniques.apply(candidate, [step], data, context)
    assert candidate.properties == {"sparsity", "quantised"}
    after = candidate.model.get_layer("conv2").get_weights()[0]
    assert (after[kernel == 0] == 0).all()


def test_from_a_model_to_a_file_in_two_calls(small, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((64, 16, 16, 3)).astype("float32")
    model = tfcompress.compress(
        small(), "qat", (x, np.arange(64) % 4), epochs=1, calibration_images=32, verbose=False
    )
    assert any(isinstance(layer, FakeQuantize) for layer in model.layers)
    file = tfcompress.export(model, tmp_path / "m.tflite", storage="int8", representative=x)
    assert file.float_ops == ()
    assert file.size_bytes < 16 * 1024
