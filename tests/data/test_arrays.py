import numpy as np
import pytest

from tfcompress import data
from tfcompress.data import from_arrays
from tfcompress.errors import InputError


class Pipeline:
    """What of tf.data is used, without TensorFlow."""

    def __init__(self, elements, count=None):
        self.elements = elements
        self.count = count

    def cardinality(self):
        return len(self.elements) if self.count is None else self.count

    def as_numpy_iterator(self):
        return iter(self.elements)


def arrays(count=20, shape=(7, 9, 3), seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return x, np.arange(count) % 2


def pixels(part):
    return part.images.batch(np.arange(len(part)))


def test_images_keep_their_size_and_values():
    train, test = arrays(), arrays(seed=1)
    loaded = from_arrays(train, test)
    assert loaded.image_shape == (7, 9, 3)
    assert (loaded.class_names, loaded.augmentation) == (("0", "1"), "none")
    np.testing.assert_array_equal(pixels(loaded.train), train[0])
    np.testing.assert_array_equal(pixels(loaded.test), test[0])
    np.testing.assert_array_equal(loaded.test.labels, test[1])
    np.testing.assert_allclose(loaded.normalization.mean, train[0].mean(axis=(0, 1, 2)))


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1)])
def test_grey_is_repeated(shape):
    train = arrays(shape=shape)
    out = pixels(from_arrays(train, train).train)
    for channel in range(3):
        np.testing.assert_array_equal(out[..., channel], train[0].reshape(-1, 7, 9))


@pytest.mark.parametrize("kind", ["int64", "uint16", "float32", "float64", "float16"])
def test_other_types_in_0_to_255(kind):
    x, y = arrays()
    loaded = from_arrays((x.astype(kind), y), (x, y))
    np.testing.assert_array_equal(pixels(loaded.train), x)
    assert loaded.source == "arrays"


def test_floats_up_to_one_are_scaled_and_said_to_be():
    x, y = arrays()
    loaded = from_arrays(((x / 255).astype(np.float32), y))
    every = np.concatenate([pixels(loaded.train), pixels(loaded.test)])
    assert sorted(image.tobytes() for image in every) == sorted(image.tobytes() for image in x)
    assert loaded.source == "arrays, floats in 0..1 multiplied by 255"


def test_dark_test_images_are_not_scaled_when_training_images_are_not():
    x, y = arrays()
    dark = np.ones((4, 7, 9, 3), np.float32)
    loaded = from_arrays((x.astype(np.float32), y), (dark, np.arange(4) % 2))
    assert pixels(loaded.test).max() == 1


def test_without_test_images_a_fifth_of_each_class_is_split_off():
    x, _ = arrays(60)
    y = np.array([0] * 40 + [1] * 20)
    loaded = from_arrays((x, y))
    assert np.bincount(loaded.train.labels).tolist() == [32, 16]
    assert np.bincount(loaded.test.labels).tolist() == [8, 4]
    where = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    for part in (loaded.train, loaded.test):
        found = [where.pop(image.tobytes()) for image in pixels(part)]
        assert found == part.labels.tolist()
    assert not where
    assert "20% for testing, seed 0" in loaded.split
    np.testing.assert_array_equal(pixels(from_arrays((x, y)).test), pixels(loaded.test))


def test_label_forms():
    x, y = arrays()
    for form in (y[:, None], np.eye(2)[y], y.astype(np.float32), y.tolist()):
        np.testing.assert_array_equal(from_arrays((x, form), (x, y)).train.labels, y)


def test_class_names():
    loaded = from_arrays(arrays(), class_names=["no", "yes"], name="mine", augmentation="flip")
    assert (loaded.class_names, loaded.name, loaded.augmentation) == (
        ("no", "yes"),
        "mine",
        "flip",
    )


@pytest.mark.parametrize("shape", [(7, 9, 3), (7, 9, 1), (7, 9)])
def test_pipelines_batched_or_not(shape):
    x, y = arrays(shape=shape)
    expected = pixels(from_arrays((x, y), (x, y)).train)
    batched = Pipeline([(x[at : at + 8], y[at : at + 8]) for at in range(0, 20, 8)])
    single = Pipeline(list(zip(x, y, strict=True)))
    one_hot = Pipeline(list(zip(x, np.eye(2)[y], strict=True)))
    for pipeline in (batched, single, one_hot):
        loaded = from_arrays(pipeline, (x, y))
        np.testing.assert_array_equal(pixels(loaded.train), expected)
        np.testing.assert_array_equal(loaded.train.labels, y)


def test_a_real_pipeline():
    tf = pytest.importorskip("tensorflow")
    x, y = arrays()
    pipeline = tf.data.Dataset.from_tensor_slices((x, y))
    loaded = from_arrays(pipeline.batch(8), pipeline)
    np.testing.assert_array_equal(pixels(loaded.train), x)
    np.testing.assert_array_equal(pixels(loaded.test), x)
    with pytest.raises(InputError, match="repeats for ever"):
        from_arrays(pipeline.repeat())


X, Y = arrays()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (X, "train must be a pair .*; got ndarray"),
        ((X, Y, Y), "train must be a pair .*; got tuple of 3"),
        ((X[0, 0], Y), r"images must be of shape .*; got \(9, 3\)"),
        ((X[..., :2], Y), r"images must be of shape .*; got \(20, 7, 9, 2\)"),
        ((X[:0], Y[:0]), r"none of them 0; got \(0, 7, 9, 3\)"),
        ((X, Y[:-1]), "19 labels for 20 images"),
        ((X, Y - 1), "labels must be 0 or more; got -1"),
        ((X, Y + 0.5), "labels must be whole numbers"),
        ((X, np.array(["cat", "dog"] * 10)), "labels must be whole numbers"),
        ((X, np.ones((20, 2))), "must be one-hot"),
        ((X, Y * 2), "class '1' has 0 images"),
        ((X, Y * 0), "1 classes: classification needs 2"),
        ((X.astype(np.float32) - 128, Y), r"must be in 0\.\.255 or 0\.\.1, not normalised; got -"),
        ((X.astype(np.int32) + 1000, Y), r"must be in 0\.\.255"),
        ((np.full(X.shape, np.nan), Y), r"must be in 0\.\.255 or 0\.\.1.*nan"),
        ((X > 3, Y), "images must be numbers; got type bool"),
        ((X.astype(object), Y), "images must be numbers; got type object"),
        (Pipeline([]), "the pipeline yields nothing"),
        (Pipeline([{"image": X[0]}]), "must yield pairs .*; got dict"),
        (Pipeline([(X[0], 0)], count=-1), "repeats for ever"),
        (Pipeline([(X[0], 0), (X[0, :5], 1)]), r"several shapes, \(5, 9, 3\) and \(7, 9, 3\)"),
    ],
)
def test_what_cannot_be_used_is_refused(train, message):
    with pytest.raises(InputError, match=message) as caught:
        from_arrays(train)
    assert "\n" not in str(caught.value)


def test_labels_must_have_class_names():
    with pytest.raises(InputError, match="label 1 has no class name; there are 1"):
        from_arrays((X, Y), class_names=["a"])
    with pytest.raises(InputError, match=r"test label 5: labels must be in 0\.\.1"):
        from_arrays((X, Y), (X, Y * 5), class_names=["a", "b"])
    with pytest.raises(InputError, match="no training image of class '2'"):
        from_arrays((X, Y), (X, Y * 2))


def test_errors_name_the_test_part():
    with pytest.raises(InputError, match="test: there must be one label an image"):
        data.from_arrays((X, Y), (X, Y[:3]))
