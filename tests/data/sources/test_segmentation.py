import os

import numpy as np
import pytest
from PIL import Image

from tfcompress import data, images
from tfcompress.data.masks import NormalizedImages
from tfcompress.errors import InputError

SIZE = (48, 40)  # Width and height.


def picture(number, size=SIZE):
    """A bright square on noise, and where it is."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 80, (size[1], size[0], 3)).astype(np.uint8)
    mask = np.zeros((size[1], size[0]), np.uint8)
    top, left = rng.integers(4, 16, 2)
    mask[top : top + 12, left : left + 12] = 1
    pixels[mask == 1] = 200
    return pixels, mask


def save(folder, name, pixels, mask, kind=".png"):
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / "images" / f"{name}{kind}", quality=100)
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    image.save(folder / "masks" / f"{name}.png")


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        save(tmp_path, f"p{number}", *picture(number), kind=".jpg" if number else ".png")
    return tmp_path


def load(folder, size=40, **options):
    return data.load(f"segmentation:{folder}", image_size=size, options=options)


def everything(loaded):
    parts = (loaded.train.y, loaded.test.y)
    return np.concatenate(parts)


def test_pictures_and_masks_are_cut_alike(folder):
    loaded = load(folder)
    assert loaded.describe() == (
        f"segmentation:{folder}: 4 training and 1 test pictures, a class of 2 for each pixel, "
        "40x40x3"
    )
    assert loaded.split == "At random, 20% for testing, seed 0."
    assert (loaded.metric, loaded.num_outputs, loaded.input_shape) == ("mean_iou", 2, (40, 40, 3))
    batch = loaded.take(np.arange(4))
    assert batch.x.dtype == np.float32
    assert batch.y.dtype == np.uint8
    # Where the mask says so, there is the bright square.
    bright = batch.x.mean(-1) > 0.5
    assert (bright == (batch.y == 1)).mean() > 0.99
    np.testing.assert_allclose(batch.x.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(batch.x.std((0, 1, 2)), 1, atol=1e-4)
    assert set(np.unique(everything(load(folder, 17)))) == {0, 1}


@pytest.mark.parametrize(
    ("as_saved", "options", "expected"),
    [
        (lambda m: m * 255, {}, [0, 1]),
        (lambda m: Image.fromarray(m.astype(bool)), {}, [0, 1]),
        (lambda m: m * 2, {}, [0, 2]),
        (lambda m: m * 128, {"renumber": True}, [0, 1]),
        (lambda m: np.where(m == 0, 255, m).astype(np.uint8), {"void": 255}, [0, 1]),
        (lambda m: np.repeat(m[..., None], 3, -1), {}, [0, 1]),
        (lambda m: m.astype(np.uint16), {}, [0, 1]),
    ],
)
def test_values_of_masks(tmp_path, as_saved, options, expected):
    for number in range(3):
        pixels, mask = picture(number, (32, 32))
        mask = as_saved(mask)
        save(tmp_path, f"{number}", pixels, mask)
    loaded = load(tmp_path, None, **options)
    assert np.unique(everything(loaded)).tolist() == expected
    assert ("pixels void" in loaded.describe()) == ("void" in options)


def test_a_palettes_numbers(tmp_path):
    for number in range(3):
        pixels, mask = picture(number, (32, 32))
        indexed = Image.fromarray(mask, "P")
        indexed.putpalette([10, 20, 30, 200, 100, 0])
        save(tmp_path, f"{number}", pixels, indexed)
    loaded = load(tmp_path, class_names=("ground", "square"))
    assert loaded.class_names == ("ground", "square")
    assert np.unique(everything(loaded)).tolist() == [0, 1]


def test_small_squares_are_padded_alike(tmp_path):
    for number in range(3):
        save(tmp_path, f"{number}", *picture(number, (28, 28)))
    loaded = data.load(f"segmentation:{tmp_path}")
    assert loaded.input_shape == (32, 32, 3)
    assert not everything(loaded)[:, :2].any()
    bright = loaded.train.x[:].mean(-1) > 0.5
    assert (bright == (loaded.train.y == 1)).mean() > 0.99


def test_train_and_val_folders_and_suffixes(tmp_path):
    for part, numbers in (("train", range(4)), ("val", range(4, 6))):
        for number in numbers:
            pixels, mask = picture(number)
            save(tmp_path / part, str(number), pixels, mask)
            path = tmp_path / part / "masks" / f"{number}.png"
            path.rename(path.with_stem(f"{number}_mask"))
    loaded = load(tmp_path, mask_suffix="_mask")
    assert (loaded.examples, loaded.test_examples) == (4, 2)
    assert loaded.split == "By folder: train and val."
    with pytest.raises(
        InputError, match=r"image .*0\.png has no mask: .*masks/0\.png is looked for"
    ):
        load(tmp_path)


def test_pictures_that_dont_fit_the_memory_are_streamed(folder, monkeypatch):
    held = load(folder)
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 5 * 40 * 40 * 3 - 1)
    streamed = load(folder)
    assert isinstance(streamed.train.x, NormalizedImages)
    assert type(streamed.train.x.images).__name__ == "FileImages"
    np.testing.assert_array_equal(streamed.train.x[1:3], held.train.x[1:3])
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 5 * 40 * 40 - 1)
    with pytest.raises(InputError, match="5 masks of 40x40 take more than 0 MiB"):
        load(folder)


def no_mask(folder):
    (folder / "masks" / "p3.png").unlink()


def no_picture(folder):
    (folder / "images" / "p3.jpg").unlink()


def two_of_a_name(folder):
    Image.new("RGB", SIZE).save(folder / "images" / "p3.png")


def other_size(folder):
    Image.new("L", (20, 20)).save(folder / "masks" / "p3.png")


def colours(folder):
    Image.new("RGB", SIZE, (1, 2, 3)).save(folder / "masks" / "p3.png")


def high_numbers(folder):
    Image.fromarray(np.full(SIZE[::-1], 300, np.uint16)).save(folder / "masks" / "p3.png")


def levels(folder):
    Image.new("L", SIZE, 200).save(folder / "masks" / "p3.png")


def not_labelled(folder):
    Image.new("L", SIZE, 255).save(folder / "masks" / "p3.png")


def truncated(folder):
    path = folder / "masks" / "p3.png"
    path.write_bytes(path.read_bytes()[:60])


def one_class(folder):
    for file in (folder / "masks").iterdir():
        Image.new("L", SIZE).save(file)


def link_out(folder):
    (folder / "masks" / "p3.png").unlink()
    os.symlink("/etc/hostname", folder / "masks" / "p3.png")


def linked_folder(folder):
    (folder / "masks").rename(folder.parent / f"{folder.name}_elsewhere")
    os.symlink(folder.parent / f"{folder.name}_elsewhere", folder / "masks")


def no_masks_folder(folder):
    (folder / "masks").rename(folder / "labels")


def no_test_folder(folder):
    (folder / "train").mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_mask, r"image .*p3\.jpg has no mask: .*masks/p3\.png is looked for"),
        (no_picture, r"mask .*p3\.png belongs to no image of"),
        (two_of_a_name, r"p3\.jpg and .*p3\.png have one name: remove one"),
        (other_size, r"mask .*p3\.png is 20x20, and its image p3\.jpg 48x40"),
        (colours, r"p3\.png has colours: a mask is a grey or palette image"),
        (high_numbers, r"p3\.png has values of 300\.\.300: numbers of classes are 0\.\.255"),
        (levels, r"the values 0, 1, 200 up to 200, .*--set renumber=true$"),
        (not_labelled, r"the values 0, 1, 255 up to 255, .*--set void=255"),
        (truncated, r"p3\.png .*: replace or remove it"),
        (one_class, "all pixels of all masks are of one class"),
        (link_out, r"p3\.png is a link out of"),
        (linked_folder, r"masks is a link out of"),
        (no_masks_folder, r"there is no folder '.*masks': images/ and masks/ are needed"),
        (no_test_folder, "has a train but no test folder"),
    ],
)
def test_bad_folders(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_bad_options(folder):
    with pytest.raises(InputError, match=r"classes 0\.\.1, and class_names 1 names"):
        load(folder, class_names=("all",))
    with pytest.raises(InputError, match=r"void must be in 1\.\.255; got 0"):
        load(folder, void=0)
    with pytest.raises(InputError, match="doesn't end in '_mask', mask_suffix"):
        load(folder, mask_suffix="_mask")
