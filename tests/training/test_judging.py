"""What predictions are worth: by Keras's own `evaluate` as the oracle."""

import dataclasses

import keras
import numpy as np
import pytest

from tfcompress.data.as_fit import as_fit
from tfcompress.errors import InputError
from tfcompress.metric import ACCURACY, Metric
from tfcompress.training.evaluate import predictor
from tfcompress.training.judging import held_out, judge_of
from tfcompress.training.objective import objective

RNG = np.random.default_rng(0)
X = RNG.normal(size=(130, 4)).astype("float32")
VALUES = RNG.normal(size=130).astype("float32")
LABELS = RNG.integers(0, 3, 130)


def plain(*ends):
    """A model with the weights as they come: ends are names, units and activations."""
    keras.utils.set_random_seed(1)
    given = keras.Input((4,), name="given")
    outputs = {
        name: keras.layers.Dense(units, activation=activation, name=name)(given)
        for name, units, activation in ends
    }
    return keras.Model(given, outputs if len(outputs) > 1 else next(iter(outputs.values())))


def judged(model, y, asked=None, weights=None):
    data = as_fit((X, y, weights) if weights is not None else (X, y), (X, y) if weights is None
                  else (X, y, weights), outputs=len(model.outputs))  # fmt: skip
    judge = judge_of(model, data, objective(model, data), asked)
    # Batches of several sizes: what counts them must not forget the earlier ones.
    return judge, judge.judge(held_out(predictor(model), data, 48))


def my_error(y, outputs):
    return keras.ops.abs(y - outputs)


def test_all_metrics_of_a_compiled_model_are_those_of_evaluate():
    model = plain(("kind", 3, "softmax"), ("price", 1, None))
    targets = {"kind": LABELS, "price": VALUES}
    model.compile(
        "adam",
        {"kind": "sparse_categorical_crossentropy", "price": "mse"},
        loss_weights={"kind": 1.0, "price": 0.5},
        metrics={"kind": ["accuracy"], "price": ["mae", keras.metrics.RootMeanSquaredError()]},
        weighted_metrics={"price": [keras.metrics.MeanAbsolutePercentageError(name="mape")]},
    )
    weights = RNG.uniform(0.5, 2, 130).astype("float32")
    judge, found = judged(model, targets, weights=weights)
    expected = model.evaluate(X, targets, sample_weight=weights, verbose=0, return_dict=True,
                              batch_size=48)  # fmt: skip
    wanted = {name: value for name, value in expected.items() if name[-5:] != "_loss"}
    assert found.metrics == pytest.approx(wanted, rel=1e-5)
    assert judge.metric == dataclasses.replace(ACCURACY, name="kind_accuracy")
    assert found.examples == 130


def test_what_a_model_is_judged_by_that_was_not_compiled():
    judge, found = judged(plain(("price", 1, None)), VALUES)
    assert judge.metric == Metric(name="mae", higher_is_better=False, share=False)
    model = plain(("price", 1, None))
    assert found.value == pytest.approx(np.abs(model.predict(X, verbose=0)[:, 0] - VALUES).mean())
    assert found.per_example.shape == (130,)
    assert found.metrics == {}
    judge, found = judged(plain(("kind", 3, "softmax")), LABELS)
    assert judge.metric == ACCURACY
    assert found.value == (found.labels == LABELS).mean()
    assert {*found.per_example} <= {0, 1}


@pytest.mark.parametrize(
    ("asked", "metric"),
    [
        ("mse", Metric(name="mse", higher_is_better=False, share=False)),
        ("huber", Metric(name="huber", higher_is_better=False, share=False)),
        ("r2_score", Metric(name="r2_score", share=False)),
        ("my_error:min", Metric(name="my_error", higher_is_better=False, share=False)),
        (None, Metric(name="loss", higher_is_better=False, share=False)),
    ],
)
def test_a_metric_that_is_asked_for(asked, metric):
    model = plain(("price", 1, None))
    model.compile("adam", "mae", metrics=[my_error])
    judge, found = judged(model, VALUES[:, None], asked)
    assert judge.metric == metric
    outputs = model.predict(X, verbose=0)[:, 0]
    off = np.abs(outputs - VALUES)
    expected = {
        "mse": (off**2).mean(),
        "huber": np.where(off < 1, off**2 / 2, off - 0.5).mean(),
        "r2_score": 1 - (off**2).sum() / ((VALUES - VALUES.mean()) ** 2).sum(),
    }
    assert found.value == pytest.approx(expected.get(asked, off.mean()), rel=1e-5)


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize("one_hot", [False, True])
def test_metrics_of_probabilities_judge_class_numbers_and_logits(activation, one_hot):
    model = plain(("kind", 3, activation))
    judge, found = judged(model, np.eye(3)[LABELS] if one_hot else LABELS, "AUC")
    assert judge.metric == Metric(name="AUC")
    scores = model.predict(X, verbose=0)
    oracle = keras.metrics.AUC()
    oracle.update_state(np.eye(3)[LABELS], scores if activation else keras.ops.softmax(scores))
    assert found.value == pytest.approx(float(oracle.result()), abs=1e-6)
    assert found.metrics["accuracy"] == pytest.approx((scores.argmax(1) == LABELS).mean())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("hubr", "unknown metric 'hubr'.*my_error"),
        ("my_error", "which way my_error is better: ask for my_error:max"),
        ("mae:up", "NAME:max or NAME:min; got 'mae:up'"),
        ("MeanIoU", "MeanIoU needs arguments"),
    ],
)
def test_a_metric_that_can_not_be_had(asked, message):
    model = plain(("price", 1, None))
    model.compile("adam", "mae", metrics=[my_error])
    with pytest.raises(InputError, match=message):
        judged(model, VALUES[:, None], asked)


def test_targets_that_do_not_fit_are_refused_in_one_line():
    model = plain(("kind", 3, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(InputError, match=r"the data and model .* don't fit one another: .*rank"):
        judged(model, np.zeros((130, 7), int))


@pytest.mark.parametrize("one_hot", [False, True])
def test_segmentations_are_judged_by_mean_iou(one_hot):
    images = RNG.normal(size=(10, 6, 6, 1)).astype("float32")
    classes = RNG.integers(0, 3, (10, 6, 6))
    given = keras.Input((6, 6, 1))
    model = keras.Model(given, keras.layers.Conv2D(3, 1, activation="softmax")(given))
    data = as_fit((images, np.eye(3)[classes] if one_hot else classes))
    judge = judge_of(model, data, objective(model, data))
    found = judge.judge(held_out(predictor(model), data))
    chosen, right = model.predict(data.test.x, verbose=0).argmax(-1), data.test.y
    right = right.argmax(-1) if one_hot else right
    pairs = [(chosen == kind, right == kind) for kind in range(3)]
    shares = [(one & other).sum() / (one | other).sum() for one, other in pairs]
    assert (judge.metric.name, found.value) == ("mean_iou", pytest.approx(np.mean(shares)))
    assert found.metrics["accuracy"] == pytest.approx((chosen == right).mean())
