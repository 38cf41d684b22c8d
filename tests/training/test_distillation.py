import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.config import Distillation, Training
from tfcompress.data.protocol import Batch
from tfcompress.errors import InputError
from tfcompress.training import TrainingContext, fit
from tfcompress.training.distillation import Distiller


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def dense(seed, ends_in_softmax):
    rng = np.random.default_rng(seed)
    kernel, bias = rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=3).astype("float32")
    inputs = keras.Input((6,))
    activation = "softmax" if ends_in_softmax else None
    model = keras.Model(inputs, layers.Dense(3, activation=activation)(inputs))
    model.set_weights([kernel, bias])
    return model, lambda x: x.astype(np.float64) @ kernel + bias


X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
Y = np.int32([0, 1, 2, 1, 0])


@pytest.mark.parametrize("student_softmax", [False, True])
@pytest.mark.parametrize("teacher_softmax", [False, True])
@pytest.mark.parametrize(("weight", "temperature"), [(0.7, 4.0), (0.3, 1.0), (1.0, 2.0), (0.0, 3)])
def test_loss_against_the_formula(student_softmax, teacher_softmax, weight, temperature):
    student, s = dense(1, student_softmax)
    teacher, t = dense(2, teacher_softmax)
    distiller = Distiller(student, teacher, weight=weight, temperature=temperature)
    distiller.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not student_softmax)
    )
    got = float(distiller.compute_loss(x=X, y=Y, y_pred=student(X), training=False))
    hard = -np.log(softmax(s(X))[np.arange(5), Y]).mean()
    p, q = softmax(t(X) / temperature), softmax(s(X) / temperature)
    soft = (p * np.log(p / q)).sum(-1).mean()
    expected = (1 - weight) * hard + weight * temperature**2 * soft
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_computed_in_full(dtype):
    """What comes out of such a model has 16 bits, the labels' loss 32."""
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3, dtype=dtype)(inputs))
    distiller = Distiller(model, dense(2, False)[0], weight=0.5, temperature=4.0)
    distiller.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loss = distiller.compute_loss(X, Y, distiller(X))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert np.isfinite(float(loss))


def test_a_student_that_equals_its_teacher_has_no_soft_loss():
    student, _ = dense(1, False)
    distiller = Distiller(student, student, weight=1.0, temperature=4.0)
    distiller.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert float(distiller.compute_loss(x=X, y=Y, y_pred=student(X))) == pytest.approx(0, abs=1e-6)


def test_the_teacher_is_a_frozen_copy():
    student, _ = dense(1, False)
    teacher, _ = dense(2, False)
    distiller = Distiller(student, teacher, weight=0.5, temperature=4.0)
    assert [
        v is w for v, w in zip(distiller.trainable_variables, student.weights, strict=True)
    ] == [
        True,
        True,
    ]
    assert teacher.trainable
    np.testing.assert_array_equal(distiller.teacher.get_weights()[0], teacher.get_weights()[0])
    assert distiller.teacher.weights[0] is not teacher.weights[0]


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


@pytest.mark.parametrize("epochs", [2, 5], ids=["computed in each step", "outputs kept"])
def test_a_transfer_set_is_learned_without_its_labels(toy, build, epochs, tmp_path):
    teacher = build(7, filters=8)
    fit(teacher, toy, Training(epochs=3, batch_size=32, learning_rate=1e-2))
    inputs = toy.take(np.arange(96), "none", np.random.default_rng()).x
    transfer = Unread(inputs)
    settings = Training(
        epochs=epochs, batch_size=32, learning_rate=1e-2, distillation=Distillation(weight=0.2)
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
    alone = dataclasses.replace(settings, distillation=Distillation(weight=1.0))
    other = build()
    fit(other, toy, alone, dataclasses.replace(context, checkpoint=None))
    np.testing.assert_allclose(other.get_weights()[0], student.get_weights()[0], atol=1e-4)


@pytest.mark.parametrize("distillation", [None, Distillation(weight=0.0)])
def test_a_transfer_set_without_a_teacher_is_refused(toy, build, distillation):
    settings = Training(epochs=1, distillation=distillation)
    for teacher in (build(7), None):
        context = TrainingContext(teacher=teacher, transfer=toy)
        with pytest.raises(InputError, match="transfer set has no labels"):
            fit(build(), toy, settings, context)
    taught = TrainingContext(teacher=build(7), transfer=toy, class_weight={0: 1.0})
    with pytest.raises(InputError, match="class_weight takes labels"):
        fit(build(), toy, Training(epochs=1, distillation=Distillation()), taught)
