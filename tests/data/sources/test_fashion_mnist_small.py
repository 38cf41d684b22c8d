import importlib.resources

import numpy as np

from tests.data.conftest import check_normalization
from tfcompress import data


def test_counts_shape_and_no_leak():
    loaded = data.load("fashion_mnist_small")
    assert loaded.image_shape == (32, 32, 3)
    assert loaded.num_classes == 10
    assert np.bincount(loaded.train.labels).tolist() == [1000] * 10
    assert np.bincount(loaded.test.labels).tolist() == [200] * 10
    train, test = (
        {image.tobytes() for image in part.images.batch(np.arange(len(part)))}
        for part in (loaded.train, loaded.test)
    )
    assert not train & test
    assert loaded.augmentation == "flip"


def test_pixels_are_the_files():
    package = importlib.resources.files("tfcompress.data")
    with (package / "embedded" / "fashion_mnist_small.npz").open("rb") as stream:
        grey = np.load(stream, allow_pickle=False)["x_test"]
    images = data.load("fashion_mnist_small").test.images.batch(np.arange(50))
    for channel in range(3):
        np.testing.assert_array_equal(images[:, 2:30, 2:30, channel], grey[:50])
    images[:, 2:30, 2:30] = 0
    assert not images.any()


def test_normalised_by_the_training_images():
    check_normalization(data.load("fashion_mnist_small"))


def test_another_size():
    assert data.load("fashion_mnist_small", image_size=16).image_shape == (16, 16, 3)


def test_licence_comes_along():
    text = (
        importlib.resources.files("tfcompress.data") / "embedded" / "LICENSE-fashion-mnist.txt"
    ).read_text()
    assert "MIT License" in text
    assert "Copyright (c) 2017 Zalando SE" in text
