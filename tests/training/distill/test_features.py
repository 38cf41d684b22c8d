"""Losses inside of the networks, against NumPy; which layers are compared."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import models
from tfcompress.errors import InputError
from tfcompress.training.distill import AttentionTransfer, Hint
from tfcompress.training.distill.features import matching_layers, middle_layers

RNG = np.random.default_rng(0)


def convs(filters, sizes=(1, 2, 2), dense=3):
    x = inputs = keras.Input((16, 16, 2))
    for number, stride in enumerate(sizes, 1):
        x = layers.Conv2D(filters, 3, stride, padding="same", name=f"conv{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(dense, name="logits")(x))


def attention(maps):
    flat = (maps**2).sum(-1).reshape(len(maps), -1)
    return flat / np.linalg.norm(flat, axis=-1, keepdims=True)


def pooled(maps, factor):
    n, h, w, c = maps.shape
    return maps.reshape(n, h // factor, factor, w // factor, factor, c).mean((2, 4))


@pytest.mark.parametrize("larger", ["teacher", "student", "neither"])
def test_attention(larger):
    teacher = RNG.normal(size=(3, 8, 8, 5)).astype("float32")
    student = RNG.normal(size=(3, 8, 8, 2)).astype("float32")
    sums = {"teacher": teacher, "student": student}
    sums = {name: (maps.astype("float64") ** 2).sum(-1, keepdims=True)
            for name, maps in sums.items()}  # fmt: skip
    if larger == "teacher":
        student, sums["teacher"] = student[:, :4, :4], pooled(sums["teacher"], 2)
        sums["student"] = sums["student"][:, :4, :4]
    elif larger == "student":
        teacher, sums["student"] = teacher[:, :4, :4], pooled(sums["student"], 2)
        sums["teacher"] = sums["teacher"][:, :4, :4]
    q_t, q_s = (attention(np.sqrt(sums[name])) for name in ("teacher", "student"))
    values = ((q_s - q_t) ** 2).mean(-1)
    loss = AttentionTransfer("a", "b")
    assert float(loss.compute_loss(teacher, student)) == pytest.approx(values.mean(), rel=1e-4)
    weights = np.array([0.0, 1.0, 3.0], "float32")
    got = loss.compute_loss(teacher, student, sample_weight=weights)
    assert float(got) == pytest.approx((values * weights).mean(), rel=1e-4)
    assert np.isfinite(float(loss.compute_loss(0 * teacher, student)))


def test_hint_by_a_convolution_without_padding():
    """Of a map of 8x8 and one of 4x4 its kernel is 5x5."""
    teacher, student = convs(5, (2, 2, 1)), convs(4, (1, 2, 1))
    loss = Hint("relu2", "relu2")
    loss.validate_model_compatibility(teacher, student)
    kernel, bias = (w.numpy() for w in loss.regressor.weights)
    assert kernel.shape == (5, 5, 4, 5)
    f_t = RNG.normal(size=(2, 4, 4, 5)).astype("float32")
    f_s = RNG.normal(size=(2, 8, 8, 4)).astype("float32")
    made = np.empty_like(f_t)
    for i in range(4):
        for j in range(4):
            patch = f_s[:, i : i + 5, j : j + 5]
            made[:, i, j] = np.einsum("nhwc,hwcf->nf", patch, kernel) + bias
    expected = 0.5 * ((made - f_t) ** 2).mean()
    assert float(loss.compute_loss(f_t, f_s)) == pytest.approx(expected, rel=1e-5)


def test_hint_from_smaller_maps_takes_the_teachers_mean():
    teacher, student = convs(5, (1, 1, 1)), convs(4, (2, 1, 1))
    loss = Hint("relu2", "relu2")
    loss.validate_model_compatibility(teacher, student)
    assert loss.regressor.kernel.shape == (1, 1, 4, 5)
    f_t = RNG.normal(size=(2, 16, 16, 5)).astype("float32")
    f_s = RNG.normal(size=(2, 8, 8, 4)).astype("float32")
    made = f_s @ loss.regressor.kernel.numpy()[0, 0]
    expected = 0.5 * ((made - pooled(f_t, 2)) ** 2).mean()
    assert float(loss.compute_loss(f_t, f_s)) == pytest.approx(expected, rel=1e-4)


def test_layers_of_equal_maps_and_the_one_in_the_middle():
    teacher, student = models.build("vgg_small", (32, 32, 3), 10), convs(4)
    own = [("conv1_relu", "conv1_relu"), ("conv2_relu", "conv2_relu"),
           ("conv3_relu", "conv3_relu"), ("conv4_relu", "conv4_relu"),
           ("pool4", "pool4")]  # fmt: skip
    narrow = models.build("vgg_small", (32, 32, 3), 10, width=0.5)
    assert matching_layers(teacher, narrow) == own
    assert middle_layers(teacher, narrow) == own[2]
    assert matching_layers(teacher, student) == [
        ("conv2_relu", "relu1"), ("conv3_relu", "relu2"), ("conv4_relu", "relu3")
    ]  # fmt: skip
    plain = [keras.Sequential([keras.Input((6,)), layers.Dense(n, name="hidden"),
                               layers.Dense(3)]) for n in (8, 4)]  # fmt: skip
    assert middle_layers(*plain) == ("hidden", "hidden")
    loss = Hint()
    loss.validate_model_compatibility(*plain)
    assert loss.regressor.kernel.shape == (4, 8)


def test_what_cannot_be_compared_is_refused():
    teacher, student = convs(4), convs(2)
    with pytest.raises(InputError, match=r"the teacher '.*' has no layer 'conv9'"):
        Hint("conv9", "conv1").validate_model_compatibility(teacher, student)
    with pytest.raises(InputError, match="both layers' names or none"):
        AttentionTransfer("conv1")
    with pytest.raises(InputError, match="no regressor leads from"):
        Hint("conv1", "flat").validate_model_compatibility(teacher, student)
    one = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    with pytest.raises(InputError, match="has no layer that a hint could be given"):
        Hint().validate_model_compatibility(one, one)


@pytest.mark.parametrize("kind", [AttentionTransfer, Hint])
def test_in_keras_own_distiller(kind):
    teacher, student = convs(5), convs(4)
    loss = kind()
    stock = keras.distillation.Distiller(teacher, student, [loss], student_loss_weight=0.0)
    stock.compile("sgd", "sparse_categorical_crossentropy")
    x = RNG.normal(size=(3, 16, 16, 2)).astype("float32")
    names = (loss.teacher_layer_name, loss.student_layer_name)
    values = [
        keras.Model(model.inputs, model.get_layer(name).output)(x)
        for model, name in zip((teacher, student), names, strict=True)
    ]
    expected = float(loss.compute_loss(*values))
    got = stock.compute_loss(x, y_pred=student(x))
    assert float(got) == pytest.approx(expected, rel=1e-5)
    assert expected > 0
