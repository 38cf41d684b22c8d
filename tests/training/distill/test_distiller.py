"""The distiller: its loss, what it leaves as it is, and where it differs from Keras's own."""

import dataclasses
import importlib

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.config import Distillation, Training
from tfcompress.data.protocol import Batch
from tfcompress.errors import InputError
from tfcompress.graph import clone
from tfcompress.graph.nodes import input_structure, output_structure
from tfcompress.training import TrainingContext, fit
from tfcompress.training.batches import epoch_batches, mixed
from tfcompress.training.distill import KD, AttentionTransfer, Distiller, Hint, divergence


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


def distiller(student, teacher, weight, temperature=4.0, loss=None, **settings):
    made = Distiller(teacher, student, loss or KD(temperature), None, 1 - weight, **settings)
    softmax = getattr(student.layers[-1].activation, "__name__", "") == "softmax"
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax))
    return made


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
    taught = TrainingContext(teacher=build(7), transfer=toy, class_weight={0: 1.0})
    with pytest.raises(InputError, match="class_weight takes labels"):
        fit(build(), toy, Training(epochs=1, distillation=Distillation()), taught)


def bn_net(seed, filters=4):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(filters, 3, name="conv", kernel_regularizer="l2")(x)
    x = layers.BatchNormalization(momentum=0.5, name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(x)))


MAPS = np.random.default_rng(1).normal(size=(6, 8, 8, 2)).astype("float32")
CLASSES = np.int32([0, 1, 2, 0, 1, 2])
CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trained(kind, losses, y=CLASSES, weights=None, **settings):
    """Returns a distiller of one step, its student's statistics before, and its logs."""
    student = bn_net(2)
    made = kind(bn_net(1, 5), student, losses, **settings)
    made.compile(keras.optimizers.SGD(0.0), CROSSENTROPY)
    before = student.get_layer("bn").moving_variance.numpy()
    history = made.fit(MAPS, y, sample_weight=weights, batch_size=6, verbose=0)
    return made, before, {name: values[0] for name, values in history.history.items()}


BOTH = [keras.distillation.Distiller, Distiller]


class TestKerasOwn:
    """What differs from Keras's distiller. A failure of the first half: Keras mended a fault."""

    def test_1_its_default_is_no_distillation(self):
        t, s = (3 * np.random.default_rng(n).normal(size=(5, 4)) for n in (1, 2))
        p, q = softmax(t / 4), softmax(s / 4)
        right = 16 * (p * np.log(p / q)).sum(-1).mean()
        default = keras.distillation.LogitsDistillation(4.0).compute_loss(t, s)
        assert float(default) != pytest.approx(right, rel=0.1)
        assert float(KD(4.0).compute_loss(t, s)) == pytest.approx(right, rel=1e-5)

    def test_2_the_student_runs_once(self):
        """At momentum 0.5 one pass keeps half of the old variance, two a quarter."""
        same = keras.distillation.FeatureDistillation("mse", "relu", "relu")
        shares = []
        for kind, losses in ((BOTH[0], same), (BOTH[1], AttentionTransfer("relu", "relu"))):
            student, teacher = bn_net(2), bn_net(1)
            made = kind(teacher, student, losses)
            made.compile(keras.optimizers.SGD(0.0), CROSSENTROPY)
            seen = keras.Model(student.inputs, student.get_layer("conv").output)(MAPS)
            variance = np.asarray(seen).var((0, 1, 2))
            made.fit(MAPS, CLASSES, batch_size=6, verbose=0)
            now = student.get_layer("bn").moving_variance.numpy()
            shares.append(float(np.mean((now - variance) / (1 - variance))))
        assert shares == pytest.approx([0.25, 0.5], abs=0.02)

    def test_3_penalties_count(self):
        losses = []
        for kind in BOTH:
            made, _, logs = trained(kind, KD())
            losses.append(logs["loss"] - 0.5 * logs["distillation_loss"])
        penalty = float(sum(made.student.losses))
        assert penalty > 0.02
        assert losses[1] - losses[0] == pytest.approx(penalty, rel=1e-3)

    def test_4_weights_of_examples_count(self):
        zeros = [trained(kind, KD(), weights=np.zeros(6))[2]["loss"] for kind in BOTH]
        assert zeros[0] > 0.5
        assert zeros[1] == pytest.approx(float(sum(bn_net(2).losses)), rel=1e-4)

    def test_5_regressors_are_trained(self):
        for kind in BOTH:
            hint = Hint()
            made = kind(bn_net(1, 5), bn_net(2), [hint])
            made.compile(keras.optimizers.SGD(0.1), CROSSENTROPY)
            before = hint.regressor.kernel.numpy()
            made.fit(MAPS, CLASSES, verbose=0)
            moved = not np.array_equal(hint.regressor.kernel.numpy(), before)
            assert moved is (kind is Distiller)
        names = [weight.path for weight in made.student.weights]
        assert not any("regressor" in name for name in names)

    def test_6_probabilities_and_logits_are_told_apart(self):
        (teacher, t), (student, s) = dense(2, True), dense(1, False)
        p, q = softmax(t(X) / 3), softmax(s(X) / 3)
        right = 9 * (p * np.log(p / q)).sum(-1).mean()
        kl = keras.distillation.LogitsDistillation(3.0, keras.losses.KLDivergence())
        stock = BOTH[0](teacher, student, kl, student_loss_weight=0.0)
        stock.compile("sgd", CROSSENTROPY)
        wrong = float(stock.compute_loss(X, y_pred=student(X)))
        assert wrong != pytest.approx(right, rel=0.1)
        ours = float(distiller(student, teacher, 1.0, 3.0).compute_loss(X, y_pred=student(X)))
        assert ours == pytest.approx(right, rel=1e-4)

    def test_7_the_weight_of_a_single_loss_counts(self):
        stock, ours = (
            kind(bn_net(1), bn_net(2), KD(), distillation_loss_weights=[5.0]) for kind in BOTH
        )
        assert stock.distillation_loss_weights == [1.0]
        assert ours.distillation_loss_weights == [5.0]

    def test_8_no_loss_is_needed_that_has_no_weight(self):
        stock, ours = (kind(bn_net(1), bn_net(2), KD(), student_loss_weight=0.0) for kind in BOTH)
        with pytest.raises(ValueError, match="loss"):
            stock.compile("sgd", loss=None)
        ours.compile("sgd")
        ours.fit(MAPS, verbose=0)
        with pytest.raises(ValueError, match="'loss' can't be None where student_loss_weight"):
            Distiller(bn_net(1), bn_net(2), KD()).compile("sgd")

    def test_9_the_teacher_stays_the_users(self, tmp_path):
        teacher, student = bn_net(1), bn_net(2)
        BOTH[0](teacher, student, KD())
        assert not teacher.trainable
        teacher = bn_net(1)
        before = [variable.numpy() for variable in teacher.variables]
        made = Distiller(teacher, student, [KD(), AttentionTransfer()])
        made.compile("adam", CROSSENTROPY)
        made.fit(MAPS, CLASSES, verbose=0)
        assert teacher.trainable
        for variable, value in zip(teacher.variables, before, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)
        made.save(tmp_path / "student.keras")
        loaded = keras.saving.load_model(tmp_path / "student.keras")
        assert loaded.count_params() == student.count_params()
        np.testing.assert_array_equal(loaded(MAPS), student(MAPS))

    def test_10_inputs_of_another_type(self):
        inputs = keras.Input((6,), dtype="float16")
        teacher = keras.Model(inputs, layers.Dense(3)(inputs))
        student = dense(1, False)[0]
        with pytest.raises(ValueError, match="dtype"):
            BOTH[0](teacher, student, KD())
        assert np.isfinite(float(distiller(student, teacher, 0.5).compute_loss(X, Y, student(X))))


def test_a_loss_of_keras_works_in_ours():
    made, _, logs = trained(Distiller, [keras.distillation.LogitsDistillation(2.0), KD()])
    assert np.isfinite(logs["loss"])
    own = keras.distillation.LogitsDistillation(2.0)
    expected = float(own.compute_loss(made.teacher(MAPS), made.student(MAPS, training=True)))
    alone = Distiller(made.teacher, made.student, own, student_loss_weight=0.0)
    assert float(alone.compute_loss(MAPS, y_pred=made.student(MAPS, training=True))) == (
        pytest.approx(expected + float(sum(made.student.losses)), rel=1e-3)
    )


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
    taught = Training(epochs=3, batch_size=32, distillation=Distillation(mix=1.0))
    rows = fit(build(), toy, taught, context)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert "train_error" not in rows[0]
