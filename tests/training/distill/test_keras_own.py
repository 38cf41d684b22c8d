"""Keras's own distiller beside ours: ten differences, and losses of the one in the other."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.training.distill.nets import CROSSENTROPY, X, Y, dense, distiller, softmax
from tfcompress.training.distill import KD, AttentionTransfer, Distiller, Hint


def bn_net(seed, filters=4):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(filters, 3, name="conv", kernel_regularizer="l2")(x)
    x = layers.BatchNormalization(momentum=0.5, name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(x)))


MAPS = np.random.default_rng(1).normal(size=(6, 8, 8, 2)).astype("float32")
CLASSES = np.int32([0, 1, 2, 0, 1, 2])


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
