import numpy as np
import pytest

from tests.data.conftest import random_images
from tfcompress.data.dataset import Dataset, Split, stratified_split
from tfcompress.data.normalization import Normalization
from tfcompress.data.stores import ArrayImages
from tfcompress.errors import InputError


def dataset(train_labels, test_labels=(0, 1), **changes):
    train = Split(ArrayImages(random_images(len(train_labels))), np.array(train_labels))
    test = Split(ArrayImages(random_images(len(test_labels), seed=1)), np.array(test_labels))
    return Dataset(
        **{
            "name": "toy",
            "class_names": ("a", "b"),
            "licence": "none",
            "source": "a test",
            "train": train,
            "test": test,
            "normalization": Normalization.unit(),
            "augmentation": "none",
            "split": "As given.",
        }
        | changes
    )


def test_batches_are_all_images_in_order():
    data = dataset([0, 1] * 5 + [1], normalization=Normalization.of(ArrayImages(random_images(11))))
    batches = list(data.batches("train", 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 3]
    assert all(x.dtype == np.float32 and y.dtype == np.int32 for x, y in batches)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), data.train.labels)
    expected = (random_images(11) - np.array(data.normalization.mean)) / data.normalization.std
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches]), expected, atol=1e-5)
    (x, y), *_ = data.batches(data.test, 10)
    assert len(x) == len(y) == 2


def test_batches_check_their_arguments_at_the_call():
    data = dataset([0, 1])
    with pytest.raises(InputError, match="split must be one of train, test; got 'val'"):
        data.batches("val", 4)
    with pytest.raises(InputError, match="batch size must be 1 or more; got 0"):
        data.batches("train", 0)


def test_with_normalization():
    data = dataset([0, 1]).with_normalization(Normalization.unit())
    (x, _), *_ = data.batches("train", 2)
    np.testing.assert_allclose(x, random_images(2) / 255.0, atol=1e-6)


def matching_rows(chosen, images):
    """For each chosen image, its position among the images; fails where it isn't there."""
    rows = {image.tobytes(): row for row, image in enumerate(images)}
    return [rows[image.tobytes()] for image in chosen.astype(np.uint8)]


def test_representative_is_stratified_and_from_the_training_images():
    labels = np.array([0] * 90 + [1] * 10)
    data = dataset(labels, normalization=Normalization.identity())
    rows = matching_rows(data.representative(16), random_images(100))
    assert len(set(rows)) == 16
    assert np.bincount(labels[rows]).tolist() == [8, 8]
    # Class 1 has only 10: class 0 makes up for the rest.
    rows = matching_rows(data.representative(40), random_images(100))
    assert np.bincount(labels[rows]).tolist() == [30, 10]


def test_representative_is_deterministic_and_seeded():
    data = dataset([0, 1] * 50)
    np.testing.assert_array_equal(data.representative(10), data.representative(10))
    assert not np.array_equal(data.representative(10), data.representative(10, seed=1))


def test_representative_bounds():
    data = dataset([0, 1, 1])
    assert data.representative(1000).shape == (3, 6, 6, 3)
    with pytest.raises(InputError, match="1 image or more; got 0"):
        data.representative(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_labels": [0, 0]}, "no training image of class 'b'"),
        ({"train_labels": [0, 2, 1]}, r"training label 2: labels must be in 0\.\.1"),
        ({"train_labels": [0, 1], "test_labels": [-1]}, r"test label -1"),
        ({"train_labels": []}, "toy has no training images"),
        ({"train_labels": [0, 1], "test_labels": []}, "toy has no test images"),
        ({"train_labels": [0, 0], "class_names": ("a",)}, "1 classes.*2 or more"),
        ({"train_labels": [0, 1], "augmentation": "spin"}, "augmentation must be one of"),
    ],
)
def test_unusable_data_is_refused(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        dataset(**arguments)
    assert "\n" not in str(caught.value)


def test_splits_of_two_sizes_are_refused():
    test = Split(ArrayImages(random_images(2, side=5)), np.array([0, 1]))
    with pytest.raises(InputError, match="must be of one shape"):
        dataset([0, 1], test=test)


def test_a_split_has_one_label_an_image():
    with pytest.raises(InputError, match="one label an image"):
        Split(ArrayImages(random_images(3)), np.array([0, 1]))


def test_stratified_split():
    labels = np.array([0] * 50 + [1] * 10 + [2] * 2)
    train, test = stratified_split(labels, 0.2, 0, "abc")
    assert sorted([*train, *test]) == list(range(62))
    assert np.bincount(labels[test]).tolist() == [10, 2, 1]
    again = stratified_split(labels, 0.2, 0, "abc")
    np.testing.assert_array_equal(test, again[1])
    assert not np.array_equal(test, stratified_split(labels, 0.2, 1, "abc")[1])
    # Even a large fraction leaves an image of each class to train on.
    train, _ = stratified_split(labels, 0.99, 0, "abc")
    assert set(labels[train]) == {0, 1, 2}


def test_stratified_split_errors():
    with pytest.raises(InputError, match=r"class 'b' has 1 image: .* needs 2 or more"):
        stratified_split(np.array([0, 0, 1]), 0.2, 0, "ab")
    with pytest.raises(InputError, match=r"test_fraction must be in \(0, 1\); got 1"):
        stratified_split(np.array([0, 0, 1, 1]), 1, 0, "ab")


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("folder:/home/ann/photos", "folder:photos"),
        ("folder:/home/ann/photos/", "folder:photos"),
        ("fer2013:faces.csv", "fer2013:faces.csv"),
        ("folder:/home/ann:bob/photos", "folder:photos"),
        ("/home/ann/photos", "photos"),
        ("/home/ann/code.py:load", "code.py:load"),
        ("arrays", "arrays"),
    ],
)
def test_the_public_name_has_no_folders(name, public):
    data = dataset([0, 1], name=name)
    assert data.local
    assert data.public_name == public
    shared = dataset([0, 1], name="emnist/letters:3.0.1", local=False)
    assert shared.public_name == "emnist/letters:3.0.1"
    assert shared.with_normalization(Normalization.identity()).local is False


def test_in_grey_is_normalised_to_its_own_mean():
    data = dataset([0, 1] * 8)
    grey = data.in_grey()
    assert grey.image_shape == (*data.image_shape[:2], 1)
    images = np.concatenate([x for x, _ in grey.batches("train", 5)])
    assert images.shape[3] == 1
    np.testing.assert_allclose([images.mean(), images.std()], [0, 1], atol=1e-5)
    np.testing.assert_array_equal(grey.train.labels, data.train.labels)
    assert len(grey.normalization.mean) == 1
