import numpy as np
import pytest
from PIL import Image

from tests.test_images import resized
from tfcompress import images
from tfcompress.errors import InputError
from tfcompress.runtime.picture import pixels


def picture(height=8, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_right_size_is_left_alone():
    np.testing.assert_array_equal(pixels(picture(), 8, 8, 3), picture())
    np.testing.assert_array_equal(pixels(picture(6, 9), 6, 9, 3), picture(6, 9))


def test_as_in_training(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(picture(40, 70)).save(path)
    np.testing.assert_array_equal(pixels(path, 16, 16, 3), images.decode(path, images.Standard(16)))


def test_small_grey_ones_are_padded():
    grey = picture(28, 28)[..., 0]
    for image in (grey, grey[..., None]):
        found = pixels(image, 32, 32, 3)
        assert found.shape == (32, 32, 3)
        np.testing.assert_array_equal(found[2:30, 2:30], np.repeat(grey[..., None], 3, 2))
        assert not found[:2].any()


def test_grey_nets():
    grey = picture()[..., 0]
    np.testing.assert_array_equal(pixels(grey, 8, 8, 1), grey[..., None])
    white = pixels(np.full((8, 8, 3), 255, np.uint8), 8, 8, 1)
    np.testing.assert_array_equal(white, np.full((8, 8, 1), 255))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3), np.int64), r"got int64 of shape \(8, 8, 3\)"),
        (np.zeros((8, 8, 2), np.uint8), r"got uint8 of shape \(8, 8, 2\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"got uint8 of shape \(1, 8, 8, 3\)"),
        (np.zeros((0, 8, 3), np.uint8), "there are no pixels"),
        (None, "an image is a file, a Pillow image, or uint8"),
        ("absent.png", "absent.png can't be read as an image"),
        (Image.new("F", (8, 8)), "the image holds floating-point pixels"),
    ],
)
def test_no_image(image, message):
    with pytest.raises(InputError, match=message) as caught:
        pixels(image, 8, 8, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_file_cut_short(tmp_path, share):
    path = tmp_path / "image.png"
    Image.fromarray(picture(40, 40)).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"image\.png"):
        pixels(path, 8, 8, 3)


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_large_files_are_those_of_training_too(tmp_path, extension):
    path = tmp_path / f"image.{extension}"
    Image.fromarray(picture(150, 200)).save(path)
    found = pixels(path, 16, 16, 3)
    np.testing.assert_array_equal(found, images.decode(path, images.Standard(16)))


@pytest.mark.parametrize(("height", "width"), [(8, 12), (10, 4), (9, 9), (50, 70)])
def test_resizing_is_bilinear_and_antialiased(height, width):
    image = picture(40, 40) // 2 + 60
    # Cropped around the centre to the shape's proportions.
    share = min(40 / height, 40 / width)
    top, left = (40 - share * height) / 2, (40 - share * width) / 2
    box = (left, top, 40 - left, 40 - top)
    found = pixels(image, height, width, 3)
    expected = resized(image, box, height, width)
    assert np.abs(found - expected).max() <= 1.5
