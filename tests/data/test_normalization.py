import numpy as np
import pytest

from tests.data.conftest import random_images
from tfcompress.data.normalization import Normalization
from tfcompress.data.stores import ArrayImages
from tfcompress.errors import InputError


def test_normalization_is_numpys_mean_and_std():
    pixels = random_images(700)
    measured = Normalization.of(ArrayImages(pixels))
    np.testing.assert_allclose(measured.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(measured.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)
    out = measured(pixels)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-5)


def test_a_constant_channel_is_only_centred():
    pixels = random_images(10)
    pixels[..., 1] = 9
    measured = Normalization.of(ArrayImages(pixels))
    assert (measured.mean[1], measured.std[1]) == (9.0, 1.0)
    assert (measured(pixels)[..., 1] == 0).all()


def test_more_than_ten_thousand_images_are_sampled_the_same_way_each_time():
    pixels = random_images(10_500, side=2)
    images = ArrayImages(pixels)
    measured = Normalization.of(images)
    assert measured == Normalization.of(images)
    assert measured.mean != tuple(pixels.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(measured.mean, pixels.mean(axis=(0, 1, 2)), rtol=0.01)


def test_no_images_to_measure():
    with pytest.raises(InputError, match="no images to measure"):
        Normalization.of(ArrayImages(random_images(0)))


def test_fixed_normalizations():
    ends = np.array([[[[0, 255, 0]]]], np.uint8)
    np.testing.assert_array_equal(Normalization.identity()(ends).ravel(), [0, 255, 0])
    np.testing.assert_array_equal(Normalization.unit()(ends).ravel(), [0, 1, 0])
    np.testing.assert_array_equal(Normalization.symmetric()(ends).ravel(), [-1, 1, -1])
    with pytest.raises(InputError, match="for each of 1 or 3 channels"):
        Normalization((0, 0, 0), (1, 0, 1))


@pytest.mark.parametrize("shape", [(5, 4, 6, 3), (2, 1, 1, 3), (4, 3), (3,)])
def test_normalises_as_the_formula_does_to_the_last_bit(shape):
    normalization = Normalization((1.5, 100, 200), (3, 70.25, 0.1))
    images = np.random.default_rng(0).integers(0, 256, (*shape, 2), dtype=np.uint8)[..., 0]
    mean, std = (np.float32(values) for values in (normalization.mean, normalization.std))
    np.testing.assert_array_equal(normalization(images), (images - mean) / std)
    assert normalization(images).dtype == np.float32
