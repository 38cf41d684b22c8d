import os

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import check_normalization
from tfcompress import data, images
from tfcompress.data.sources.folder import FolderOptions
from tfcompress.data.stores import FileImages
from tfcompress.errors import InputError


def load(path, **arguments):
    return data.load(f"folder:{path}", **arguments)


def save(path, value=0, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value % 256, 0, 0)).save(path)


@pytest.fixture
def flat(tmp_path):
    """cat has 10 images, dog has 5; the red channel numbers them."""
    for index in range(10):
        save(tmp_path / "cat" / f"{index}.png", index)
    for index in range(5):
        save(tmp_path / "dog" / f"{index}.JPG", 100)
    return tmp_path


@pytest.fixture
def split(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(count):
                save(tmp_path / part / name / f"{index}.png", 50 * label + index)
    return tmp_path


def reds(part):
    return sorted(part.images.batch(np.arange(len(part)))[:, 0, 0, 0].tolist())


def test_train_and_test_folders(split):
    loaded = data.load(f"folder:{split}")
    assert loaded.class_names == ("cat", "dog")
    assert loaded.image_shape == (40, 40, 3)
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert reds(loaded.train) == [0, 1, 2, 50, 51, 52]
    assert reds(loaded.test) == [0, 1, 50, 51]
    assert loaded.split == "By folder: train and test."


@pytest.mark.parametrize("name", ["val", "validation", "valid", "Test"])
def test_other_names_of_the_test_folder(split, name):
    (split / "test").rename(split / name)
    loaded = load(split)
    assert len(loaded.test) == 4
    assert loaded.split == f"By folder: train and {name}."


def test_normalised_by_the_training_images(tmp_path):
    generator = np.random.default_rng(0)
    for part, highest in (("train", 256), ("test", 100)):
        for name in ("cat", "dog"):
            file = tmp_path / part / name / "0.png"
            file.parent.mkdir(parents=True)
            pixels = generator.integers(0, highest, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)
    check_normalization(load(tmp_path))


def test_test_comes_before_val(split):
    save(split / "val" / "cat" / "x.png")
    loaded = load(split)
    assert len(loaded.test) == 4
    assert loaded.split.endswith("Not used: val.")


def test_flat_layout_is_split_within_each_class(flat):
    loaded = load(flat)
    assert np.bincount(loaded.train.labels).tolist() == [8, 4]
    assert np.bincount(loaded.test.labels).tolist() == [2, 1]
    assert reds(loaded.train)[:8] + reds(loaded.test)[:2] != sorted(range(10))
    cats = [red for part in (loaded.train, loaded.test) for red in reds(part) if red < 90]
    assert sorted(cats) == list(range(10))
    assert "20% for testing, seed 0" in loaded.split


def test_flat_split_is_deterministic_and_follows_its_options(flat):
    first = reds(load(flat).test)
    assert reds(load(flat).test) == first
    others = [
        reds(data.load(f"folder:{flat}", options={"split_seed": seed}).test) for seed in range(1, 6)
    ]
    assert any(other != first for other in others)
    assert len(data.load(f"folder:{flat}", options={"test_fraction": 0.4}).test) == 6


def test_clutter_is_passed_over(flat):
    (flat / "cat" / "notes.txt").write_text("x")
    (flat / "cat" / "Thumbs.db").write_text("x")
    (flat / "cat" / ".hidden.png").write_text("x")
    (flat / ".git").mkdir()
    (flat / "README.md").write_text("x")
    loaded = load(flat)
    assert (loaded.num_classes, len(loaded.train) + len(loaded.test)) == (2, 15)


def test_images_in_subfolders_of_a_class(flat):
    save(flat / "dog" / "puppies" / "0.png", 7)
    loaded = load(flat)
    assert len(loaded.train) + len(loaded.test) == 16


def test_a_class_may_be_called_train(flat):
    (flat / "dog").rename(flat / "train")
    assert load(flat).class_names == ("cat", "train")


def test_mixed_sizes_take_the_fallback_or_the_size_asked_for(flat):
    save(flat / "cat" / "wide.png", 3, size=(90, 30))
    assert load(flat, fallback_size=36).image_shape == (36, 36, 3)
    assert load(flat, image_size=20).image_shape == (20, 20, 3)


def test_streaming_reads_the_same_data_set(flat, monkeypatch):
    kept = load(flat)
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 1)
    streamed = load(flat)
    assert isinstance(streamed.train.images, FileImages)
    assert kept.normalization == streamed.normalization
    np.testing.assert_array_equal(kept.representative(8), streamed.representative(8))
    for (x, y), (x_streamed, y_streamed) in zip(
        kept.batches("test", 2), streamed.batches("test", 2), strict=True
    ):
        np.testing.assert_array_equal(x, x_streamed)
        np.testing.assert_array_equal(y, y_streamed)


def fails(path, message):
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_class_only_in_test(split):
    save(split / "test" / "emu" / "0.png")
    fails(split, "class 'emu' has no folder in .*/train: training and test")


def test_class_only_in_train(split):
    save(split / "train" / "emu" / "0.png")
    fails(split, "class 'emu' has no folder in .*/test: training and test")


def test_train_without_test(split):
    (split / "test").rename(split / "other")
    fails(split, "has a train but no test folder: add one")


def test_images_right_in_train(split):
    save(split / "train" / "x.png")
    fails(split, r"image .*/train/x\.png lies beside the class folders")


def test_images_beside_class_folders(flat):
    save(flat / "x.png")
    fails(flat, r"image .*/x\.png lies beside the class folders of .*: move it")


def test_empty_class_folder(flat):
    (flat / "emu").mkdir()
    (flat / "emu" / "notes.txt").write_text("x")
    fails(flat, r"class folder .*/emu has no images \(\.png")


def test_empty_folder_and_one_class(tmp_path):
    fails(tmp_path, "2 or more classes; it has 0 folders")
    save(tmp_path / "cat" / "0.png")
    fails(tmp_path, "2 or more classes; it has 1 folder$")


def test_class_of_one_image(flat):
    save(flat / "emu" / "0.png")
    fails(flat, "class 'emu' has 1 image: ")


def test_file_instead_of_folder(flat):
    fails(flat / "cat" / "0.png", r"0\.png' is a file: a folder of images is needed")


def test_text_named_png(flat):
    (flat / "cat" / "x.png").write_text("not an image")
    fails(flat, r"cat/x\.png is no image")


def test_link_to_a_folder_above(flat):
    (flat / "cat" / "again").symlink_to(flat / "cat")
    fails(flat, "cat/again is a link to a folder above it")


def test_links_within_the_folder_are_followed(flat):
    (flat / ".pool").mkdir()
    for index in range(2):
        save(flat / ".pool" / f"{index}.png", index)
    (flat / "emu").symlink_to(flat / ".pool")
    (flat / "cat" / "more.png").symlink_to(flat / ".pool" / "0.png")
    loaded = load(flat)
    assert loaded.class_names == ("cat", "dog", "emu")
    assert len(loaded.train) + len(loaded.test) == 18


@pytest.mark.parametrize("name", ["emu", "cat/more", "cat/x.png"])
def test_links_out_of_the_folder(flat, tmp_path_factory, name):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "0.png")
    (flat / name).symlink_to(elsewhere / "0.png" if name.endswith("png") else elsewhere)
    fails(flat, f"{name} is a link out of {flat}, which isn't followed: put a copy in its place")


def test_a_linked_folder_itself(flat, tmp_path_factory):
    link = tmp_path_factory.mktemp("elsewhere") / "data"
    link.symlink_to(flat)
    assert load(link).class_names == ("cat", "dog")


@pytest.mark.parametrize("target", ["dog", "cat/deep"])
def test_two_names_of_one_folder(flat, target):
    save(flat / "cat" / "deep" / "0.png")
    (flat / "emu").symlink_to(flat / target)
    fails(flat, rf"emu and .*/{target} are the same folder: remove one")


def test_training_images_that_are_the_test_images(tmp_path):
    for name in ("cat", "dog"):
        save(tmp_path / "train" / name / "0.png")
    (tmp_path / "test").symlink_to("train")
    fails(tmp_path, "test/cat and .*/train/cat are the same folder: remove one")


@pytest.mark.parametrize("name", ["cat/x.png", "cat/link.png"])
def test_pipes_arent_waited_for(flat, name):
    os.mkfifo(flat / "cat" / "x.txt")  # Passed over, as is what isn't named as an image.
    assert len(load(flat).train) == 12
    os.mkfifo(flat / "cat" / "x.png")
    if name != "cat/x.png":
        (flat / name).symlink_to("x.txt")
        (flat / "cat" / "x.png").unlink()
    fails(flat, f"{name} is a pipe, socket or device, no image: remove it")


def test_folder_that_cannot_be_listed(flat, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    fails(flat, "can't be listed: Permission denied")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"test_fraction": 0.0}, "test_fraction must be in"), ({"split_seed": -1}, "0 or more")],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        FolderOptions(**options)
