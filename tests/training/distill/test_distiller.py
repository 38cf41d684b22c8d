"""The distiller: its loss, what it leaves as it is, and what it learns from."""

import dataclasses
import importlib

import keras
import numpy as np
import pytest
from keras import layers

from tests.training.distill.nets import CROSSENTROPY, X, Y, dense, distiller, softmax
from tfcompress.config import Distillation, Training
from tfcompress.data.protocol import Batch
from tfcompress.errors import InputError
from tfcompress.graph import clone
from tfcompress.graph.nodes import input_structure, output_structure
from tfcompress.training import TrainingContext, fit
from tfcompress.training.batches import epoch_batches, mixed
from tfcompress.training.distill import KD, Distiller, divergence


@pytest.mark.parametrize("student_softmax", [False, True])
@pytest.mark.parametrize("teacher_softmax", [False, True])
@pytest.mark.parametrize(("weight", "temperature"), [(0.7, 4.0), (0.3, 1.0), (1.0, 2.0), (0.0, 3)])
def test_loss_against_the_formula(student_softmax, teacher_softmax, weight, temperature):
    student, s = dense(1, student_softmax)
    teacher, t = dense(2, teacher_softmax)
    made = distiller(student, teacher, weight, temperature)
    got = float(made.compute_loss(x=X, y=Y, y_pred=student(X), training=False))
    hard = -np.log(softmax(s(X))[np.arange(5), Y]).mean()
    p, q = softmax(t(X) / temperature), softmax(s(X) / temperature)
    soft = temperature**2 * (p * np.log(p / q)).sum(-1).mean()
    assert got == pytest.approx((1 - weight) * hard + weight * soft, rel=1e-5)
    alone = float(made.compute_loss(x=X, y_pred=student(X)))
    assert alone == pytest.approx(soft, rel=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_computed_in_full(dtype):
    """What comes out of such a model has 16 bits, the labels' loss 32."""
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3, dtype=dtype)(inputs))
    for student, teacher in ((model, dense(2, False)[0]), (dense(2, False)[0], model)):
        loss = distiller(student, teacher, 0.5).compute_loss(X, Y, student(X))
        assert keras.backend.standardize_dtype(loss.dtype) == "float32"
        assert np.isfinite(float(loss))


def test_the_teacher_is_a_frozen_copy():
    student, teacher = dense(1, False)[0], dense(2, False)[0]
    made = distiller(student, teacher, 0.5)
    kept = [v is w for v, w in zip(made.trainable_variables, student.weights, strict=True)]
    assert kept == [True, True]
    assert teacher.trainable
    np.testing.assert_array_equal(made.teacher.get_weights()[0], teacher.get_weights()[0])
    assert made.teacher.weights[0] is not teacher.weights[0]


class OldDistiller(keras.Model):
    """As today's recipes were trained before there was more than one loss."""

    def __init__(self, student, teacher, distillation, **kwargs):
        super().__init__(input_structure(student), output_structure(student), name=student.name)
        self.teacher = clone(teacher)
        self.teacher.trainable = False
        self.distillation, self.own_variables = distillation, []

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        hard = super().compute_loss(x, y, y_pred, sample_weight, training)
        weight, temperature = self.distillation.weight, self.distillation.temperature
        soft = keras.ops.mean(divergence(y_pred, self.teacher(x, training=False), temperature))
        return (1 - weight) * hard + weight * temperature**2 * soft


def test_the_recipes_train_to_the_bit_as_they_did(toy, build, monkeypatch):
    training = Training(epochs=2, batch_size=32, learning_rate=1e-2, distillation=Distillation())
    context = TrainingContext(seed=3, teacher=build(7, filters=8), augmentation="flip+shift")
    now, before = build(), build()
    rows = fit(now, toy, training, context)
    monkeypatch.setattr(importlib.import_module(fit.__module__), "distiller", OldDistiller)
    old_rows = fit(before, toy, training, context)
    for a, b in zip(now.variables, before.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert [row["loss"] for row in rows] == [row["loss"] for row in old_rows]
    assert [set(row) for row in rows] == [set(row) for row in old_rows]


def test_training_leaves_the_teacher_and_learns_from_it(toy, build):
    training = Training(epochs=2, batch_size=32, learning_rate=1e-2)
    teacher = build(7, filters=8)
    before = [keras.ops.convert_to_numpy(v).copy() for v in teacher.variables]
    ways = {}
    for weight in (0.0, 0.9):
        model = build()
        settings = dataclasses.replace(training, distillation=Distillation(weight=weight))
        fit(model, toy, settings, TrainingContext(teacher=teacher))
        ways[weight] = model.get_weights()
    for old, variable in zip(before, teacher.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), old)
    assert teacher.trainable
    assert not np.array_equal(ways[0.0][0], ways[0.9][0])
    alone = build()
    fit(alone, toy, training)
    np.testing.assert_array_equal(alone.get_weights()[0], ways[0.0][0])


def test_a_student_alone_on_its_teachers_targets_comes_nearer(toy, build):
    """With weight 1 the labels don't count: the student must come to agree with the teacher."""
    teacher = build(7, filters=8)
    fit(teacher, toy, Training(epochs=3, batch_size=32, learning_rate=1e-2))
    student = build()
    rows = fit(
        student,
        toy,
        Training(
            epochs=4, batch_size=32, learning_rate=1e-2, distillation=Distillation(weight=1.0)
        ),
        TrainingContext(teacher=teacher),
    )
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert rows[-1]["test_error"] < 0.3


class Unread:
    """Examples whose targets and weights can't be read."""

    name, examples, augmentation = "unread", 96, "flip"

    def __init__(self, inputs):
        self._inputs = inputs

    def steps(self, batch_size):
        return -(-self.examples // batch_size)

    def take(self, positions, augmentation, rng):
        return Batch(self._inputs[positions], np.full(len(positions), "secret"), [np.nan])


def test_a_transfer_set_is_learned_without_its_labels(toy, build, tmp_path):
    teacher = build(7, filters=8)
    fit(teacher, toy, Training(epochs=3, batch_size=32, learning_rate=1e-2))
    inputs = toy.take(np.arange(96), "none", np.random.default_rng()).x
    transfer = Unread(inputs)
    settings = Training(
        epochs=3, batch_size=32, learning_rate=1e-2, distillation=Distillation(weight=0.2)
    )
    context = TrainingContext(teacher=teacher, transfer=transfer, checkpoint=tmp_path / "c.npz")
    student = build()
    rows = fit(student, toy, settings, context)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert "train_error" not in rows[0]
    assert 0 <= rows[-1]["test_error"] < 0.6  # Chance is 0.75.
    again = build()
    assert fit(again, toy, settings, context) == rows  # From the checkpoint.
    np.testing.assert_array_equal(again.get_weights()[0], student.get_weights()[0])


@pytest.mark.parametrize("distillation", [None, Distillation(weight=0.0)])
def test_a_transfer_set_without_a_teacher_is_refused(toy, build, distillation):
    settings = Training(epochs=1, distillation=distillation)
    for teacher in (build(7), None):
        context = TrainingContext(teacher=teacher, transfer=toy)
        with pytest.raises(InputError, match="transfer set has no labels"):
            fit(build(), toy, settings, context)
    context = TrainingContext(teacher=build(7), transfer=toy, class_weight={0: 1.0})
    with pytest.raises(InputError, match="class_weight takes labels"):
        fit(build(), toy, Training(epochs=1, distillation=Distillation()), context)


def test_stages_of_hints_train_what_lies_before_them(toy, build, tmp_path):
    teacher = build(7, filters=8)
    distillation = Distillation(losses="kd+hint", hint_epochs=1)
    training = Training(epochs=2, batch_size=32, optimizer="sgd", distillation=distillation)
    context = TrainingContext(teacher=teacher, augmentation="none", checkpoint=tmp_path / "c.npz")
    model = build()
    start = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        fit(model, toy, training, dataclasses.replace(context, on_step=stop_at(2)))
    after_first = keras.ops.convert_to_numpy(np.load(tmp_path / "c.npz")["v0"])
    assert not np.array_equal(after_first, start[0])  # The convolution, before the hint.
    with np.load(tmp_path / "c.npz") as kept:
        dense = [kept[f"v{n}"] for n in range(12) if kept[f"v{n}"].shape == start[-2].shape]
    np.testing.assert_array_equal(dense[0], start[-2])  # Behind it.
    again = build()
    rows = fit(again, toy, training, context)
    through = build()
    fit(through, toy, training, dataclasses.replace(context, checkpoint=None))
    for a, b in zip(again.get_weights(), through.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(through.get_weights()[-2], start[-2])
    assert len(rows) == 2


def stop_at(epoch):
    def stop(now, step, steps):
        if now == epoch:
            raise KeyboardInterrupt

    return stop


def test_noise_disturbs_a_share_of_the_teachers_logits():
    (teacher, t), (student, _) = dense(2, True), dense(1, False)
    x = np.random.default_rng(5).normal(size=(400, 6)).astype("float32")
    made = Distiller(teacher, student, KD(), noise=0.5, noise_share=0.25, student_loss_weight=0.0)
    seen = np.log(np.asarray(made._disturbed(teacher(x))))
    clear = np.log(softmax(t(x)))
    changed = np.abs(seen - clear).max(-1) > 1e-3
    assert changed.mean() == pytest.approx(0.25, abs=0.08)
    made.compile("sgd")
    first, second = (float(made.compute_loss(x, y_pred=student(x))) for _ in range(2))
    assert first != second
    quiet = float(made.compute_loss(x, y_pred=student(x), training=False))
    assert quiet == pytest.approx(float(KD().compute_loss(clear, student(x))), rel=1e-3)
    assert len(made.own_variables) == 1


def test_all_losses_train_by_a_recipe_alike_each_time(toy, build):
    context = TrainingContext(teacher=build(7, filters=8))
    losses = "dkd+hint+at+labels+softmax+logits"
    distillation = Distillation(losses=losses, noise=0.2, hint_weight=1.0)
    training = Training(epochs=2, batch_size=32, learning_rate=1e-2, distillation=distillation)
    first, second = build(), build()
    rows = fit(first, toy, training, context)
    assert rows[1]["loss"] < rows[0]["loss"]
    fit(second, toy, training, context)
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


def test_the_name_of_before_makes_the_same(build):
    from tfcompress.training import distillation

    student, teacher = dense(1, False)[0], dense(2, False)[0]
    with pytest.warns(DeprecationWarning, match="Distiller.teacher, student, KD"):
        old = distillation.Distiller(student, teacher, weight=0.3, temperature=2.0)
    old.compile("sgd", CROSSENTROPY)
    new = distiller(student, teacher, 0.3, 2.0)
    assert float(old.compute_loss(X, Y, student(X))) == float(new.compute_loss(X, Y, student(X)))
    with pytest.warns(DeprecationWarning, match="distill.divergence now"):
        assert distillation.divergence is divergence


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_losses_metrics_and_callbacks_find_the_student_by_its_names(as_dictionary, tmp_path):
    def two_outputs():
        image = keras.Input((6,))
        ends = {name: layers.Dense(n, name=name)(image) for name, n in (("kind", 3), ("size", 1))}
        return keras.Model(image, ends if as_dictionary else [*ends.values()])

    student = two_outputs()
    made = Distiller(two_outputs(), student, KD(classes=(True, False)), student_loss_weight=0.5)
    made.compile("sgd", {"kind": CROSSENTROPY, "size": "mse"}, metrics={"kind": ["accuracy"]},
                 loss_weights={"kind": 1.0, "size": 0.5})  # fmt: skip
    targets = {"kind": Y, "size": X[:, :1]} if as_dictionary else [Y, X[:, :1]]
    logs = made.train_on_batch(X, targets, return_dict=True)
    assert {"kind_accuracy", "kind_loss", "size_loss"} <= set(logs)
    assert made.get_layer("kind") is student.get_layer("kind")
    assert made.layers == student.layers
    made.save_weights(tmp_path / "s.weights.h5")
    again = two_outputs()
    again.load_weights(tmp_path / "s.weights.h5")
    np.testing.assert_array_equal(again.get_layer("kind").kernel, student.get_layer("kind").kernel)


def test_mixtures_are_the_same_for_teacher_and_student_and_have_no_labels(toy, build):
    """Each is a pair of the batch's examples by a share; the same seed, the same mixtures."""
    x = {"a": np.eye(6, dtype="float32"), "b": np.arange(6, dtype="float32")}
    made = mixed(x, 1.0, np.random.default_rng(3))
    np.testing.assert_allclose(made["a"].sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(made["a"] @ x["b"], made["b"], rtol=1e-5)
    assert ((made["a"] > 0).sum(1) == 2).any()
    with pytest.raises(InputError, match="mixes inputs of floats; got int64"):
        mixed(np.arange(3), 1.0, np.random.default_rng())
    seen = [
        epoch_batches(toy, augmentation="none", batch_size=32, seed=1, epoch=e, labelled=False,
                      mix=1.0)[0] for e in (0, 0, 1)
    ]  # fmt: skip
    assert [len(batch) for batch in seen] == [1, 1, 1]
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    assert not np.array_equal(seen[0][0], seen[2][0])
    context = TrainingContext(teacher=build(7, filters=8))
    training = Training(epochs=3, batch_size=32, distillation=Distillation(mix=1.0))
    rows = fit(build(), toy, training, context)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert "train_error" not in rows[0]
