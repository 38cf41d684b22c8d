"""Representative images in the forms that people have them."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.errors import InputError
from tfcompress.export.representative import MOST, as_rows


def only(model, given, argument="representative"):
    """The array of a model's one input."""
    (array,) = as_rows(model, given, argument).arrays
    return array


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
    got = only(model, FORMS[form]())
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, X)


@pytest.mark.parametrize("batch", [None, 64])
def test_streams_without_an_end(batch, model):
    endless = pipeline(X).repeat()
    got = only(model, endless.batch(batch) if batch else endless)
    assert got.shape == (MOST, 4, 4, 3)
    np.testing.assert_array_equal(got[7:14], X)
    assert len(only(model, (x for x in itertools.cycle(X)))) == MOST


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("folder/of/images", r"takes real inputs as fit does: .*tf\.data\.Dataset .*; got str"),
        ({"image": X}, "needs the model's inputs by their names, input_layer.*; got image"),
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
        as_rows(model, given, "calibration")
    assert "\n" not in str(error.value)


def test_vectors():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert only(model, [[1, 2, 3], [4, 5, 6]]).shape == (2, 3)
    assert only(model, [[1, 2, 3]]).shape == (1, 3)


def test_grey_images_get_the_last_axis_that_they_lack():
    inputs = keras.Input((4, None, 1), name="image")
    model = keras.Model(inputs, layers.Conv2D(2, 3)(inputs))
    images = np.zeros((5, 4, 6))
    assert only(model, images).shape == (5, 4, 6, 1)
    assert only(model, {"image": images}).shape == (5, 4, 6, 1)
    assert only(model, [image[..., None] for image in images]).shape == (5, 4, 6, 1)
    for wrong in (images[:, :3], np.zeros((4, 4, 1))):
        with pytest.raises(InputError, match=r"shape \(n, 4, None, 1\), n at least 1; got \("):
            only(model, wrong)


def test_integers_stay_integers():
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(9, 2)])
    got = only(model, [[1, 2, 3], [4, 5, 6]])
    assert got.dtype == np.int32
    with pytest.raises(InputError, match="got list"):
        only(model, [["a", "b", "c"]])


NUMBERS = np.arange(35, dtype="float32").reshape(7, 5)


@pytest.fixture(scope="module")
def two_inputs():
    image, table = keras.Input((4, 4, 3), name="image"), keras.Input((5,), name="table")
    x = layers.Concatenate()([layers.Flatten()(image), table])
    return keras.Model([image, table], layers.Dense(2)(x))


SEVERAL = {
    "list": lambda: [X, NUMBERS],
    "tuple": lambda: (X, NUMBERS),
    "dictionary": lambda: {"table": NUMBERS, "image": X},
    "with labels": lambda: ([X, NUMBERS], Y),
    "generator of rows": lambda: ([x, n] for x, n in zip(X, NUMBERS, strict=True)),
    "generator of batches": lambda: ((X[i : i + 3], NUMBERS[i : i + 3]) for i in (0, 3, 6)),
    "generator of batches and labels": lambda: (
        ((X[i : i + 3], NUMBERS[i : i + 3]), Y[i : i + 3]) for i in (0, 3, 6)
    ),
    "list of dictionaries": lambda: [
        {"image": x, "table": n} for x, n in zip(X, NUMBERS, strict=True)
    ],
    "tf.data of dictionaries and labels": lambda: pipeline({"image": X, "table": NUMBERS}, Y).batch(
        4
    ),
    "tf.data of pairs and labels": lambda: pipeline((X, NUMBERS), Y).batch(4),
}


@pytest.mark.parametrize("form", SEVERAL)
def test_forms_of_several_inputs(form, two_inputs):
    images, table = as_rows(two_inputs, SEVERAL[form](), "representative").arrays
    np.testing.assert_array_equal(images, X)
    np.testing.assert_array_equal(table, NUMBERS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (X, r"has an element that isn't 2 inputs: give dictionaries by the names image, table"),
        ({"image": X}, "needs the model's inputs by their names, image, table; got image"),
        ([X, NUMBERS[:3]], r"must have one length; got the shapes \(7, 4, 4, 3\), \(3, 5\)"),
        ([X, NUMBERS[:, :4]], r"the shape \(n, 5\) for 'table', n at least 1; got \(7, 4\)"),
        ([(X, NUMBERS[0])], r"an element of shape \(7, 4, 4, 3\), \(5,\); the model takes"),
        (iter([{"image": X[0], "size": 1}]), "by their names, image, table; got image, size"),
        ([NUMBERS, X], r"has an element that isn't 2 inputs"),
        (7, "got int"),
    ],
)
def test_several_inputs_that_do_not_fit(given, message, two_inputs):
    with pytest.raises(InputError, match=message) as error:
        as_rows(two_inputs, given, "representative")
    assert "\n" not in str(error.value)
