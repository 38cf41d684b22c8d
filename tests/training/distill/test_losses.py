"""Each loss against its formula in NumPy, alone and in Keras's own distiller."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfcompress.errors import InputError
from tfcompress.training.distill import DKD, KD, Labels, Logits, Softmax

RNG = np.random.default_rng(0)
T, S = (3 * RNG.normal(size=(5, 4)) for _ in range(2))
Y = np.array([0, 1, 2, 3, 0])
WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 3.0], "float32")


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(-1)


def kd(t, s, temperature=4.0):
    return temperature**2 * kl(softmax(t / temperature), softmax(s / temperature))


def labels(t, s):
    return -np.log(softmax(s))[np.arange(len(s)), t.argmax(-1)]


def logits(t, s):
    centred = [z - z.mean(-1, keepdims=True) for z in (t, s)]
    return ((centred[1] - centred[0]) ** 2).mean(-1)


def dkd(t, s, target, alpha=1.0, beta=8.0, temperature=4.0):
    values = []
    for one_t, one_s, label in zip(t, s, target, strict=True):
        p, q = softmax(one_t / temperature), softmax(one_s / temperature)
        of_target = kl(np.array([p[label], 1 - p[label]]), np.array([q[label], 1 - q[label]]))
        others = np.delete(p, label), np.delete(q, label)
        of_others = kl(*(each / each.sum() for each in others))
        values.append(temperature**2 * (alpha * of_target + beta * of_others))
    return np.array(values)


LOSSES = {
    "kd": (KD(), kd),
    "kd at 1": (KD(1.0), lambda t, s: kd(t, s, 1.0)),
    "softmax": (Softmax(), lambda t, s: kd(t, s, 1.0)),
    "labels": (Labels(), labels),
    "logits": (Logits(), logits),
    "dkd": (DKD(), lambda t, s: dkd(t, s, t.argmax(-1))),
    "dkd of kd's parts": (DKD(0.5, 2.0, 3.0), lambda t, s: dkd(t, s, t.argmax(-1), 0.5, 2.0, 3.0)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_formula(name):
    loss, formula = LOSSES[name]
    t, s = T.astype("float32"), S.astype("float32")
    expected = formula(T, S)
    assert float(loss.compute_loss(t, s)) == pytest.approx(expected.mean(), rel=1e-5)
    weighted = loss.compute_loss(t, s, sample_weight=WEIGHTS)
    assert float(weighted) == pytest.approx((expected * WEIGHTS).mean(), rel=1e-5)
    again = type(loss).from_config(loss.get_config())
    assert float(again.compute_loss(t, s)) == float(loss.compute_loss(t, s))
    # An output for each place, as of segmentations, and several outputs.
    places = loss.compute_loss(t.reshape(1, 5, 4), s.reshape(1, 5, 4))
    assert float(places) == pytest.approx(expected.mean(), rel=1e-5)
    both = loss.compute_loss([t, s], {"a": s, "b": t})
    assert float(both) == pytest.approx(expected.mean() + formula(S, T).mean(), rel=1e-5)
    assert float(loss.compute_loss(t, t)) == pytest.approx(labels(T, T).mean() * (name == "labels"),
                                                           abs=1e-6)  # fmt: skip


@pytest.mark.parametrize("targets", [Y, Y[:, None], np.eye(4)[Y]], ids=["1d", "2d", "one-hot"])
def test_the_target_of_dkd_is_the_label_where_it_is_known(targets):
    loss = DKD().compute_loss(T.astype("float32"), S.astype("float32"), targets=targets)
    assert float(loss) == pytest.approx(dkd(T, S, Y).mean(), rel=1e-5)


def test_dkd_with_the_teachers_own_factor_is_kd():
    """The paper's equation 7: KD = TCKD + (1 - p) NCKD, here of one example."""
    t, s = T[:1], S[:1]
    p = softmax(t / 4.0)[0, t.argmax()]
    parts = DKD(1.0, float(1 - p)).compute_loss(t.astype("float32"), s.astype("float32"))
    assert float(parts) == pytest.approx(kd(t, s).mean(), rel=1e-5)


@pytest.mark.parametrize("make", [KD, lambda t: DKD(1.0, 1.0, t)], ids=["kd", "dkd"])
def test_gradients_are_of_one_size_whatever_the_temperature(make):
    """Of outputs that are small beside T, where the softmax is nearly straight."""
    sizes = []
    for temperature in (1.0, 8.0):
        losses = []
        for step in np.eye(4, dtype="float32"):
            t, s = 0.02 * T.astype("float32"), 0.02 * S.astype("float32")
            ends = [make(temperature).compute_loss(t, s + sign * 0.05 * step) for sign in (1, -1)]
            losses.append((float(ends[0]) - float(ends[1])) / 0.1)
        sizes.append(np.linalg.norm(losses))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_an_output_that_is_no_class_is_compared_by_its_squares():
    loss = KD(classes=(True, False))
    t, s = T.astype("float32"), S.astype("float32")
    expected = kd(T, S).mean() + ((S - T) ** 2).mean()
    assert float(loss.compute_loss([t, t], [s, s])) == pytest.approx(expected, rel=1e-5)


def net(seed, ending=None):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation=ending)])
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    kernel, bias = model.get_weights()
    return model, lambda x: x @ kernel + bias


@pytest.mark.parametrize("endings", [(None, None), ("softmax", None), (None, "softmax")])
@pytest.mark.parametrize("name", LOSSES)
def test_in_keras_own_distiller(name, endings):
    """Whatever the models end in: they are looked at as the distiller is made."""
    loss, formula = LOSSES[name]
    (teacher, t), (student, s) = net(1, endings[0]), net(2, endings[1])
    stock = keras.distillation.Distiller(teacher, student, loss, student_loss_weight=0.0)
    stock.compile("sgd", "sparse_categorical_crossentropy")
    x = RNG.normal(size=(5, 6)).astype("float32")
    got = stock.compute_loss(x, y=None, y_pred=student(x))
    assert float(got) == pytest.approx(formula(t(x), s(x)).mean(), rel=1e-3)


def test_outputs_of_other_shapes_and_temperatures_of_zero_are_refused():
    with pytest.raises(ValueError, match="outputs of equal shapes"):
        KD().validate_outputs(ops.ones((2, 3)), ops.ones((2, 4)))
    for make in (KD, lambda temperature: DKD(temperature=temperature)):
        with pytest.raises(InputError, match="temperature must be positive; got 0"):
            make(0)
