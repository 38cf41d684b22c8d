"""Several teachers, and one of other images, against NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.errors import InputError
from tfcompress.graph import clone
from tfcompress.training.distill.teachers import one_teacher

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 8, 8, 1)).astype("float32")


def net(shape=(8, 8, 1), classes=4, ending=None, seed=1):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input(shape)
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x) if len(shape) == 3 else x)
    return keras.Model(inputs, layers.Dense(classes, activation=ending)(x))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_one_that_takes_the_same_is_returned_as_it_is():
    teacher = net()
    assert one_teacher([teacher], net(seed=2), temperature=4.0) is teacher


def test_several_give_the_mean_of_their_probabilities():
    members = [net(seed=1), net(seed=2, ending="softmax"), net(seed=3)]
    members[2].name = members[0].name
    teacher = clone(one_teacher(members, net(), temperature=4.0))
    logits = [np.asarray(member(X), "float64") for member in members]
    logits[1] = np.log(logits[1])
    mean = np.mean([softmax(z / 4.0) for z in logits], axis=0)
    np.testing.assert_allclose(softmax(np.asarray(teacher(X)) / 4.0), mean, rtol=1e-4)
    values = one_teacher(members[::2], net(), temperature=4.0, classes=(False,))
    expected = (logits[0] + logits[2]) / 2
    np.testing.assert_allclose(values(X), expected, rtol=1e-4, atol=1e-6)


def test_images_come_in_the_size_that_a_teacher_takes():
    """Of four times the size and of three equal channels: the mean of each is the image's."""
    large, student = net((16, 16, 3)), net()
    teacher = one_teacher([large], student, temperature=4.0)
    assert teacher.input_shape == (None, 8, 8, 1)
    image = X[:, :1, :1] * np.ones((1, 8, 8, 1), "float32")
    expected = large(np.broadcast_to(image[:, :1, :1], (3, 16, 16, 3)))
    np.testing.assert_allclose(clone(teacher)(image), expected, rtol=1e-5)
    any_size = net((None, None, 1))
    assert one_teacher([any_size], student, temperature=4.0) is any_size


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (lambda: net(classes=5), r"outputs of shape \(5,\), and the model .* teach \(4,\)"),
        (lambda: net((64,)), r"inputs of shape \(64,\), and the model .* takes \(8, 8, 1\)"),
        (lambda: net((8, 8, 2)), r"inputs of shape \(8, 8, 2\)"),
        (lambda: keras.Model([a := keras.Input((3,)), b := keras.Input((3,))], [a, b]), "2 inputs"),
    ],
)
def test_what_cannot_teach_is_refused(teacher, message):
    with pytest.raises(InputError, match=message):
        one_teacher([net(), teacher()], net(), temperature=4.0)
