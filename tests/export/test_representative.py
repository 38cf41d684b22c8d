"""Representative images in the forms that people have them."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.errors import InputError
from tfcompress.export.representative import MOST, as_images

X = np.random.default_rng(0).normal(size=(7, 4, 4, 3)).astype("float32")
Y = np.arange(7)


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(2)])


def pipeline(*parts):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, number):
        return X[2 * number : 2 * number + 2], Y[2 * number : 2 * number + 2]


FORMS = {
    "array": lambda: X,
    "float64": lambda: X.astype("float64"),
    "tensor": lambda: keras.ops.convert_to_tensor(X),
    "lists of numbers": lambda: X.tolist(),
    "list of images": lambda: list(X),
    "list of batches": lambda: [X[:3], X[3:]],
    "generator of images": lambda: (x for x in X),
    "generator of batches and labels": lambda: ((X[i : i + 2], Y[i : i + 2]) for i in (0, 2, 4, 6)),
    "as TensorFlow's converter takes them": lambda: lambda: ([x[None]] for x in X),
    "tf.data": lambda: pipeline(X),
    "tf.data with labels": lambda: pipeline(X, Y),
    "tf.data in batches": lambda: pipeline(X, Y).batch(3),
    "PyDataset": Sequence,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form, model):
    got = as_images(model, FORMS[form](), "representative")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, X)


@pytest.mark.parametrize("batch", [None, 64])
def test_streams_without_an_end(batch, model):
    endless = pipeline(X).repeat()
    got = as_images(model, endless.batch(batch) if batch else endless, "representative")
    assert got.shape == (MOST, 4, 4, 3)
    np.testing.assert_array_equal(got[7:14], X)
    assert len(as_images(model, (x for x in itertools.cycle(X)), "calibration")) == MOST


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("folder/of/images", r"takes real images: an array .*tf\.data\.Dataset .*; got str"),
        ({"image": X}, "takes real images: .*; got dict"),
        (7, "got int"),
        ([["a", "b"]], "got list"),
        (np.array(["a"]), "got ndarray"),
        ([], "calibration is empty"),
        ([X[0], X[1, :2]], "has images of different shapes"),
        (iter([1.0, 2.0]), r"an element of shape \(\); the model takes images of 3 dimensions"),
        ([X[:, :2]], r"must have the shape \(n, 4, 4, 3\)"),
    ],
)
def test_others_are_refused_in_a_line(given, message, model):
    with pytest.raises(InputError, match=message) as error:
        as_images(model, given, "calibration")
    assert "\n" not in str(error.value)


def test_vectors():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert as_images(model, [[1, 2, 3], [4, 5, 6]], "representative").shape == (2, 3)
    assert as_images(model, [[1, 2, 3]], "representative").shape == (1, 3)


def test_several_inputs_are_said_first():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    with pytest.raises(InputError, match="has 2 inputs and 1 outputs"):
        as_images(keras.Model(inputs, layers.Add()(inputs)), [X, X], "representative")
