import keras
import numpy as np
import pytest

import tfcompress
from tests.conftest import CLASSES, draw
from tfcompress.data.as_fit import as_fit
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D
from tfcompress.layers._fake_quantize_kernel import FakeQuantizeKernel
from tfcompress.training.signature import input_caster


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    return np.stack([draw(CLASSES[label], rng) for label in labels]), labels


def user_model(classes=2, side=16):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(8, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )


def test_transform_is_surgery_only():
    model = user_model()
    thin = tfcompress.transform(model, "xnor", activation="relu")
    assert any(isinstance(layer, BinaryConv2D) for layer in thin.layers)
    assert not any(isinstance(layer, BinaryConv2D) for layer in model.layers)


def test_compress_export_benchmark_summary(arrays, tmp_path):
    model = user_model()
    before = [np.array(w) for w in model.get_weights()]
    small = tfcompress.compress(model, "xnor", (arrays, arrays), epochs=1, verbose=False)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    images = arrays[0].astype("float32")
    path = tmp_path / "m.tflite"
    written = tfcompress.export(small, path, storage="int8", representative=images)
    assert written.parity.agreement == 1
    (measured,) = tfcompress.benchmark(path, runs=5)
    assert measured.size_bytes == path.stat().st_size
    assert "BinaryConv2D" in tfcompress.summary(small)


def test_inputs_reach_the_model_as_they_are(arrays):
    """Also those that are no 8-bit images: normalised, in three axes, of any channels."""
    images, labels = arrays
    grey = images.mean(-1) / 64 - 1.7
    data = as_fit((grey, labels), inputs=1, convert=input_caster(grey_model()))
    assert data.train.x.dtype == np.float32
    np.testing.assert_allclose(
        np.concatenate([data.train.x, data.test.x]).sum(), grey.sum(), rtol=1e-5
    )
    assert data.take(np.arange(3)).x.shape == (3, 16, 16, 1)
    small = tfcompress.compress(grey_model(), "bwn", (grey, labels), epochs=1, verbose=False)
    assert small.input_shape == (None, 16, 16, 1)


def grey_model():
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: user_model(classes=2), r"labels are 0\.\.2, .* has 2 classes, 0\.\.1"),
        (lambda: user_model(side=32), r"inputs of shape \(32, 32, 3\).*\(16, 16, 3\)"),
        (grey_model, r"shape \(16, 16, 1\), but those of the data are \(16, 16, 3\)"),
    ],
)
def test_compress_refuses_data_that_do_not_fit(arrays, model, message):
    images, labels = arrays
    with pytest.raises(InputError, match=message):
        tfcompress.compress(model(), "xnor", (images, labels * 2), verbose=False)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("net.keras", {}, r"model takes a Keras model: keras.saving.load_model\('net.keras'\)"),
        (np.zeros(3), {}, "model takes a Keras 3 model; got numpy.ndarray"),
        (None, {"technique": ["cp", "prune"]}, r"as in 'cp\+prune'; got \['cp', 'prune'\]"),
        (None, {"epochs": "3"}, r"^epochs takes a whole number; got '3' \(str\)"),
        (None, {"epochs": -1}, "^epochs must be 0 or more; got -1"),
        (None, {"learning_rate": "0.1"}, r"^learning_rate takes a number; got '0.1' \(str\)"),
        (None, {"seed": "0"}, r"^seed takes a whole number; got '0' \(str\)"),
        (None, {"seed": -1}, r"^seed must be in 0\.\.4294967295; got -1"),
        (None, {"clip_value": [1]}, r"^option clip_value takes a number; got \[1\] \(list\)"),
    ],
)
def test_arguments_of_another_type(arrays, model, arguments, message):
    model = user_model() if model is None else model
    with pytest.raises(InputError, match=message):
        tfcompress.compress(model, **{"technique": "bwn", "data": arrays, **arguments})


def test_a_model_without_a_graph(arrays):
    with pytest.raises(InputError, match="has no input shape: build it"):
        tfcompress.compress(keras.Sequential([keras.layers.Conv2D(3, 3)]), "cp", arrays)


def test_transform_refuses_chains_that_need_training():
    with pytest.raises(InputError, match=r"use tfcompress.compress\(model, 'prune', data\)"):
        tfcompress.transform(user_model(), "cp+prune+int8")


def test_compress_says_what_is_left_to_the_export(arrays, capsys):
    tfcompress.compress(user_model(), "int8", arrays)
    assert "acts as the file is written: export(storage='int8')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: tfcompress.benchmark(net), r"path of a \.tflite file, .*; got Sequential"),
        (lambda net: tfcompress.benchmark([None]), r"path of a \.tflite file, .*; got NoneType"),
        (lambda net: tfcompress.benchmark("m", backends=None), "^backends takes a text; got None"),
        (lambda net: tfcompress.benchmark("m", threads="2"), "^threads takes a whole number; got"),
        (lambda net: tfcompress.benchmark("m", runs="2"), "^runs takes a whole number; got '2'"),
        (lambda net: tfcompress.load(None), r"path of a \.tflite file, .*; got NoneType"),
        (lambda net: tfcompress.load("m", timeout_s="2"), "^timeout_s takes a number; got '2'"),
        (lambda net: tfcompress.export(net, None), r"^path takes the name of the \.tflite file"),
        (
            lambda net: tfcompress.export(net, "m", storage=["int8"]),
            "^storage takes a name, .*list",
        ),
        (
            lambda net: tfcompress.export(net, "m", metadata={}),
            r"takes tfcompress\.Metadata\(.*dict",
        ),
        (
            lambda net: tfcompress.export(net, "m", labels="ab"),
            "names in the outputs' order; got 'ab'",
        ),
        (
            lambda net: tfcompress.export(net, "m", validation=()),
            r"export\.Validation\(.*got tuple",
        ),
        (
            lambda net: tfcompress.compress(net, "svd", 0, class_weight=[1]),
            "^class_weight takes a dict",
        ),
        (
            lambda net: tfcompress.compress(net, "svd", table(), callbacks="x"),
            "of Keras 3; got str",
        ),
    ],
)
def test_arguments_of_a_wrong_kind(call, message):
    with pytest.raises(InputError, match=message) as raised:
        call(keras.Sequential([keras.Input((10,)), keras.layers.Dense(32), keras.layers.Dense(32)]))
    assert "\n" not in str(raised.value)


def test_a_file_of_keras_is_named_as_one(tmp_path):
    path = tmp_path / "m.keras"
    small_net().save(path)
    for call in (tfcompress.load, tfcompress.benchmark):
        with pytest.raises(InputError, match=r"not a \.tflite file: .*keras\.saving\.load_model"):
            call(path)


def test_unknown_names():
    with pytest.raises(InputError, match="did you mean 'xnor'"):
        tfcompress.transform(user_model(), "xnr")
    with pytest.raises(InputError, match="activation"):
        tfcompress.transform(user_model(), "xnor", activatoin="relu")
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tfcompress.nonsense


def small_net(outputs=3, activation="softmax"):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((10,))
    x = keras.layers.Dense(32, activation="relu", name="first")(x)
    x = keras.layers.Dense(32, activation="relu", name="second")(x)
    return keras.Model(inputs, keras.layers.Dense(outputs, activation, name="last")(x))


def table(examples=120):
    x = np.random.default_rng(0).normal(size=(examples, 10))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def test_values_are_learned_by_their_squared_error(capsys):
    x, _ = table()
    tfcompress.compress(small_net(1, None), "svd", (x, x[:, 0] * 2), epochs=2)
    printed = capsys.readouterr().out
    assert "train mae" in printed
    assert "test loss" in printed


def test_several_inputs_and_outputs_by_order_and_by_name():
    x, y = table()
    table_in, image_in = keras.Input((10,), name="table"), keras.Input((4, 4, 1), name="image")
    both = keras.layers.Concatenate()([table_in, keras.layers.Flatten()(image_in)])
    both = keras.layers.Dense(32, activation="relu", name="both")(both)
    classes = keras.layers.Dense(3, activation="softmax", name="classes")(both)
    value = keras.layers.Dense(1, name="value")(both)
    model = keras.Model([table_in, image_in], [classes, value])
    images = np.random.default_rng(1).normal(size=(len(x), 4, 4))
    ways = [
        ((x, images), (y, x[:, 0])),
        ({"table": x, "image": images}, {"classes": y, "value": x[:, 0]}),
    ]
    results = [
        tfcompress.compress(model, "svd", way, epochs=2, verbose=False).get_weights()
        for way in ways
    ]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


class Scaled(keras.losses.Loss):
    """A loss of the user's own, which Keras can't make from its name."""

    def call(self, y_true, y_pred):
        return 3 * keras.ops.mean(keras.ops.square(y_true - y_pred), -1)


def test_a_compiled_model_is_trained_as_it_was_compiled(monkeypatch):
    x, _ = table()
    model = small_net(1, None)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.5)
    model.compile(optimizer, Scaled(), metrics=["mae", keras.metrics.RootMeanSquaredError("rms")])
    rates, seen = [], []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append("begin")
            assert self.model.optimizer.momentum == 0.5

        def on_train_end(self, logs=None):
            seen.append("end")

        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))
            seen.append(sorted(logs))

    never_better = keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, 0, min_delta=1e9)
    stop = keras.callbacks.EarlyStopping("val_mae", patience=3, min_delta=1e9)
    settings = {"epochs": 9, "verbose": False, "callbacks": [never_better, [stop, Watch()]]}
    tfcompress.compress(model, "svd", (x, x[:, 0]), **settings)
    assert seen[0] == "begin"
    assert seen[-1] == "end"
    assert {"loss", "mae", "rms", "val_loss", "val_mae", "val_rms"} <= set(seen[1])
    # Stopped after the first and three that were no better; halved after each of the three.
    np.testing.assert_allclose(rates, [0.01, 0.005, 0.0025, 0.00125], rtol=1e-6)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == 0


def test_the_call_comes_before_what_the_model_was_compiled_with():
    x, y = table()
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: rates.append(note.model.optimizer)
    )
    for settings in ({}, {"learning_rate": 0.5}, {"optimizer": "adam"}):
        model = small_net()
        model.compile(keras.optimizers.SGD(0.25), "sparse_categorical_crossentropy")
        tfcompress.compress(
            model, "svd", (x, y), epochs=1, callbacks=[note], verbose=False, **settings
        )
    kinds = [type(optimizer).__name__ for optimizer in rates]
    assert kinds == ["SGD", "SGD", "Adam"]
    assert [float(rate.learning_rate) for rate in rates[:2]] == [0.25, 0.5]


def test_weights_of_examples_and_of_classes_count():
    """A class of weight 0 isn't learned, whichever way the weight is given."""
    x, y = table(240)
    weight = {0: 1.0, 1: 1.0, 2: 0.0}
    ways = [
        {"data": (x, y, np.array([weight[label] for label in y]))},
        {"data": (x, y), "class_weight": weight},
        {"data": (x, y)},
    ]
    chosen = []
    for way in ways:
        settings = {"epochs": 15, "learning_rate": 1e-2, "distillation_weight": 0.0}
        small = tfcompress.compress(small_net(), "svd", verbose=False, **settings, **way)
        chosen.append(set(small.predict(x, verbose=0).argmax(-1)))
    assert chosen[0] <= {0, 1}
    assert chosen[1] <= {0, 1}
    assert 2 in chosen[2]


@pytest.mark.parametrize("technique", ["cluster", "prune+cluster", "deep_compression"])
def test_tfmot_trains_one_class_an_example_and_says_so_before_any_step(technique):
    x, _ = table()
    own = {} if technique == "qat" else {"engine": "tfmot"}
    with pytest.raises(InputError, match="trains by TFMOT in Keras 2, and there only networks"):
        tfcompress.compress(small_net(1, None), technique, (x, x[:, 0]), epochs=1, **own)
    settings = {"callbacks": [keras.callbacks.Callback()], "epochs": 1, **own}
    with pytest.raises(InputError, match="Keras 3's callbacks and class weights"):
        tfcompress.compress(small_net(), technique, table(), **settings)


def share_of_zeros(model):
    kernels = [w for w in model.get_weights() if w.ndim == 2 and w.size >= 64]
    return np.mean(np.concatenate([kernel.ravel() for kernel in kernels]) == 0)


def most_values(model):
    return max(len(np.unique(w)) for w in model.get_weights() if w.ndim == 2 and w.size >= 64)


@pytest.mark.parametrize("technique", ["prune", "cluster"])
def test_all_that_a_model_was_compiled_with_is_kept(technique):
    """Its loss, two metrics, optimizer, a plateau's rate and class weights."""
    x, y = table()
    weighted = []

    class Loss(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

        def __call__(self, y_true, y_pred, sample_weight=None):
            weighted.append(sample_weight is not None)
            return super().__call__(y_true, y_pred, sample_weight)

    model = small_net()
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")]
    model.compile(keras.optimizers.SGD(0.01, momentum=0.5), Loss(), metrics=metrics)
    logs_seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert self.model.optimizer.momentum == 0.5
            logs_seen.append({*logs} - {"learning_rate"})

    # Nothing is as much better as that.
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=100)
    settings = {"epochs": 3, "verbose": False, "class_weight": {0: 1.0, 1: 2.0, 2: 1.0}}
    rate = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rates.append(float(rate.model.optimizer.learning_rate))
    )
    rates = []
    callbacks = [Watch(), plateau, rate]
    small = tfcompress.compress(model, technique, (x, y), callbacks=callbacks, **settings)
    names = {"loss", "accuracy", "top2"}
    assert logs_seen == [names | {f"val_{name}" for name in names}] * 3
    assert rates == pytest.approx([0.01, 0.01, 0.005])
    assert any(weighted)
    if technique == "prune":
        assert share_of_zeros(small) == pytest.approx(0.8, abs=0.01)
    else:
        assert most_values(small) <= 16


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
    assert not small.compiled
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
    assert not small.compiled
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


class Focal(keras.losses.Loss):
    """A loss that no Keras 2 knows."""

    def call(self, y_true, y_pred):
        classes = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32"), 3)
        right = keras.ops.sum(classes * y_pred, -1)
        return -((1 - right) ** 2) * keras.ops.log(right + 1e-3)


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
        distillation_weight=0.0,
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


def test_inputs_alone_are_enough_where_nothing_is_trained():
    x, _ = table()
    model = small_net()
    small = tfcompress.compress(model, "int8", x, verbose=False)
    np.testing.assert_array_equal(small.get_weights()[0], model.get_weights()[0])
    with pytest.raises(InputError, match=r"no targets to train .* give \(x, y\)"):
        tfcompress.compress(model, "svd", x, verbose=False)
