import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import random_images
from tfcompress.data.stores import ArrayImages, GreyImages, SelectedImages
from tfcompress.errors import InputError


def test_array_images_check_shapes():
    with pytest.raises(InputError, match=r"uint8 of shape \(N, H, W, 3\); got float32"):
        ArrayImages(np.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(InputError, match=r"got uint8 of \(2, 4, 4\)"):
        ArrayImages(np.zeros((2, 4, 4), np.uint8))


def test_selected_images():
    pixels = random_images(10)
    chosen = SelectedImages(ArrayImages(pixels), np.array([7, 2, 5]))
    assert (len(chosen), chosen.shape) == (3, (6, 6, 3))
    np.testing.assert_array_equal(chosen.batch(np.array([0, 2])), pixels[[7, 5]])


def test_grey_images_are_those_of_pillow():
    pixels = random_images(10)
    grey = GreyImages(ArrayImages(pixels))
    assert (len(grey), grey.shape) == (10, (6, 6, 1))
    for image, found in zip(pixels, grey.batch(np.arange(10)), strict=True):
        np.testing.assert_array_equal(
            found[..., 0], np.asarray(Image.fromarray(image).convert("L"))
        )


def test_what_is_grey_keeps_its_values():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = GreyImages(ArrayImages(np.repeat(values, 3, -1)))
    np.testing.assert_array_equal(images.batch(np.arange(1)), values)
