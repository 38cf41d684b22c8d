import keras
import numpy as np
import pytest

import tfcompress
from tests.api.nets import most_values, share_of_zeros, small_net, table
from tfcompress.errors import InputError
from tfcompress.layers._fake_quantize_kernel import FakeQuantizeKernel


class Focal(keras.losses.Loss):
    """A loss that no Keras 2 knows."""

    def call(self, y_true, y_pred):
        classes = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32"), 3)
        right = keras.ops.sum(classes * y_pred, -1)
        return -((1 - right) ** 2) * keras.ops.log(right + 1e-3)


def test_prepared_for_clustering_trained_and_finished():
    x, y = table()
    model = small_net()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    prepared = tfcompress.prepare(model, "cluster", clusters=5)
    assert tfcompress.callbacks(prepared) == []
    before = tfcompress.finish(prepared)
    prepared.fit(x, y, epochs=2, verbose=0)
    assert "accuracy" in prepared.history.history
    small = tfcompress.finish(prepared)
    assert most_values(small) == 5
    assert list(small.evaluate(x, y, verbose=0, return_dict=True)) == ["accuracy", "loss"]
    assert any(
        (a != b).any() for a, b in zip(before.get_weights(), small.get_weights(), strict=True)
    )
    np.testing.assert_allclose(small(x), prepared(x), atol=1e-6)
    assert [type(layer) for layer in small.layers] == [type(layer) for layer in before.layers]


@pytest.mark.parametrize("loop", ["fit", "own loop"])
def test_prepared_trained_and_finished(loop):
    x, y = table()
    model = small_net()
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    prepared = tfcompress.prepare(model, "prune", frequency=2, end_step=8, final_sparsity=0.7)
    if loop == "fit":
        prepared.fit(x, y, epochs=3, verbose=0, callbacks=tfcompress.callbacks(prepared))
        assert "accuracy" in prepared.history.history
    else:
        for _ in range(12):
            prepared.train_on_batch(x, y)
    small = tfcompress.finish(prepared)
    assert share_of_zeros(small) == pytest.approx(0.7, abs=0.01)
    assert small.optimizer.iterations == 0
    np.testing.assert_array_equal(small.predict(x, verbose=0), prepared.predict(x, verbose=0))
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.fixture(scope="module")
def image_net():
    """A small compiled net with loss, metrics and optimizer of a user's, and images for it."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv")(x)
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization()(x))
    x = keras.layers.Flatten()(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="kind")(x))
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.5),
        Focal(),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
    )
    random = np.random.default_rng(0)
    y = np.arange(48) % 3
    return model, random.normal(size=(48, 8, 8, 1)).astype("float32") + y[:, None, None, None], y


def test_a_compiled_model_is_trained_quantised_as_it_was_compiled(image_net, tmp_path):
    model, x, y = image_net
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert self.model.optimizer.momentum == 0.5
            seen.append((set(logs), float(self.model.optimizer.learning_rate)))

    small = tfcompress.compress(
        model,
        "qat",
        (x, y),
        epochs=3,
        callbacks=[Watch(), keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=99)],
        class_weight={0: 1.0, 1: 2.0, 2: 1.0},
        distillation=None,
        calibration_images=16,
        verbose=False,
    )
    names = {"loss", "accuracy", "top2"}
    assert all(logs >= names | {f"val_{name}" for name in names} for logs, _ in seen)
    assert seen[0][1] > seen[-1][1]  # Reduced by the plateau of nearly everything.
    assert not isinstance(small.get_layer("conv"), FakeQuantizeKernel)
    file = tfcompress.export(
        small, tmp_path / "m.tflite", storage="int8", io="float32", representative=x
    )
    assert file.float_ops == ()


@pytest.mark.parametrize("loop", ["fit", "own loop"])
def test_prepared_quantised_trained_and_finished(image_net, loop, tmp_path):
    model, x, y = image_net
    prepared = tfcompress.prepare(model, "qat", representative=x, preserve=("sparsity",))
    assert prepared.get_layer("conv").keep_zeros
    assert tfcompress.callbacks(prepared) == []
    before = prepared.predict(x, verbose=0)
    np.testing.assert_allclose(before, model.predict(x, verbose=0), atol=0.05)
    ranges = prepared.get_layer("relu_quantized").range()
    if loop == "fit":
        prepared.fit(x, y, epochs=2, verbose=0)
        assert "top2" in prepared.history.history
    else:
        for _ in range(3):
            prepared.train_on_batch(x, y)
    assert prepared.get_layer("relu_quantized").range() != ranges
    small = tfcompress.finish(prepared)
    after = prepared.predict(x, verbose=0)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(small.predict(x, verbose=0), after, atol=2 / 256)
    assert tfcompress.finish(small).count_params() == small.count_params()


def test_what_acts_before_training_is_prepared_too():
    x, y = table()
    prepared = tfcompress.prepare(small_net(), "svd", rank=2)
    assert tfcompress.callbacks(prepared) == []
    prepared.compile("sgd", "sparse_categorical_crossentropy")
    prepared.fit(x, y, verbose=0)
    assert tfcompress.finish(prepared).count_params() == prepared.count_params()


@pytest.mark.parametrize(
    ("technique", "options", "message"),
    [
        ("prune", {}, "give end_step, such as 60% of the steps"),
        ("prune", {"end_step": 100, "engine": "tfmot"}, "only tfcompress.compress does"),
        ("prune+cluster", {"end_step": 100}, "prepare takes one technique"),
        ("cluster", {"engine": "tfmot"}, "only tfcompress.compress does"),
        ("cluster", {"clusters": 1000}, "weights to share 1000 values"),
        ("deep_compression", {}, "prepare would change nothing: use tfcompress.compress"),
        ("int8", {}, "prepare would change nothing: use tfcompress.export"),
        ("qat", {}, "give representative=, some inputs of training examples; 512 are enough"),
        ("qat", {"engine": "tfmot"}, "only tfcompress.compress does"),
        ("qat", {"representative": np.zeros((4, 9))}, "representative"),
    ],
)
def test_what_cannot_be_prepared(technique, options, message):
    with pytest.raises(InputError, match=message):
        tfcompress.prepare(small_net(), technique, **options)
