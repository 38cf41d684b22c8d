import keras
import numpy as np
import pytest

import tfcompress
from tests.api.nets import most_values, share_of_zeros, small_net, table
from tfcompress.errors import InputError


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
    small = tfcompress.compress(model, "svd", (x, x[:, 0]), **settings)
    # What comes back is compiled alike; metrics and optimizer count anew.
    assert small.get_compile_config()["loss"] == model.get_compile_config()["loss"]
    assert {"loss", "mae", "rms"} == set(small.evaluate(x, x[:, 0], verbose=0, return_dict=True))
    assert (small.optimizer.momentum, int(small.optimizer.iterations)) == (0.5, 0)
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


def test_a_compiled_schedule_stays_and_isnt_replaced_by_a_rate():
    x, y = table()
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(note.model.optimizer.learning_rate))
    )
    model = small_net()
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.25, 0.125])
    model.compile(keras.optimizers.SGD(decay), "sparse_categorical_crossentropy")
    arguments = {"data": (x, y), "epochs": 1, "verbose": False, "callbacks": note}
    tfcompress.compress(model, "svd", **arguments)
    assert rates == [0.125]
    with pytest.raises(InputError, match=r"schedule of the learning rate \(PiecewiseConstantDec"):
        tfcompress.compress(model, "svd", **arguments, learning_rate=0.5)
    recipe = {"learning_rate": 0.5, "learning_rate_schedule": "constant"}
    tfcompress.compress(model, "svd", **arguments, **recipe)
    assert rates == [0.125, 0.5]


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


def test_inputs_alone_are_enough_where_nothing_is_trained():
    x, _ = table()
    model = small_net()
    small = tfcompress.compress(model, "int8", x, verbose=False)
    np.testing.assert_array_equal(small.get_weights()[0], model.get_weights()[0])
    with pytest.raises(InputError, match=r"no targets to train .* give \(x, y\)"):
        tfcompress.compress(model, "svd", x, verbose=False)


def test_a_teacher_of_one_s_own_and_what_can_be_none():
    x, y = table(90)
    model = small_net()
    teacher = keras.models.clone_model(model)
    # Whatever comes in, it is sure of class 2.
    teacher.set_weights([0 * w for w in teacher.get_weights()])
    teacher.layers[-1].bias.assign([0.0, 0.0, 9.0])
    settings = {"epochs": 8, "learning_rate": 3e-2, "verbose": False}
    alone = {"distillation": {"weight": 1.0}}
    small = tfcompress.compress(model, "svd", (x, y), teacher=[teacher], **alone, **settings)
    assert set(small.predict(x, verbose=0).argmax(-1)) == {2}
    with pytest.raises(InputError, match="hint looks at the layers of one teacher; got 2"):
        tfcompress.compress(
            model, "svd", (x, y), teacher=[teacher, model], distillation={"losses": "kd+hint"}
        )
    with pytest.raises(InputError, match="teacher takes a Keras model or a list of them; got str"):
        tfcompress.compress(model, "svd", (x, y), teacher="t.keras")
    with pytest.raises(InputError, match="teacher is for what a technique trains, and 'int8'"):
        tfcompress.compress(model, "int8", (x, y), teacher=teacher)
    with pytest.raises(InputError, match=r"kd alone, and dkd is asked for"):
        tfcompress.compress(model, "prune", (x, y), engine="tfmot", distillation={"losses": "dkd"})
