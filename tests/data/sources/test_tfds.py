import gc
import os
from pathlib import Path

import numpy as np
import pytest

from tests.data.conftest import check_normalization
from tfcompress import data, images
from tfcompress.errors import InputError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
tfds = pytest.importorskip("tensorflow_datasets")

# Prepared data sets: where TFDS is told to look, or in a folder beside the checkout.
BESIDE = Path(__file__).resolve().parents[4].glob("*/tensorflow_datasets")
PREPARED = Path(os.environ.get("TFDS_DATA_DIR") or next(BESIDE, "absent"))


def picture(seed, shape=(28, 28, 1), dtype=np.uint8):
    """The same picture in 8 and, but for a low byte of its own, in 16 bits."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)
    return pixels if dtype == np.uint8 else pixels * 256 + 255 - pixels


class _Toy(tfds.core.GeneratorBasedBuilder):
    """A data set made on the spot: 12 images of 3 classes a part, the last class unused."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE = (28, 28, 1)
    DTYPE = np.uint8
    PARTS = ("train", "test")
    SECRET: tuple[str, ...] = ()
    LABELS = ("ant", "bee", "cow", "unused")

    def _features(self):
        return {
            "image": tfds.features.Image(shape=self.SHAPE, dtype=self.DTYPE),
            "label": tfds.features.ClassLabel(names=self.LABELS),
        }

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(self._features()),
            homepage="https://example.org",
        )

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(part) for part in self.PARTS}

    def _shape(self, index):
        return self.SHAPE

    def _generate_examples(self, part):
        for index in range(12):
            yield (
                index,
                {
                    "image": picture(
                        (self.PARTS.index(part), index), self._shape(index), self.DTYPE
                    ),
                    "label": -1 if part in self.SECRET else index % 3,
                },
            )


class TfcToy(_Toy):
    """28 x 28 grey, train and test."""


class TfcToyLarge(_Toy):
    """Colour of many sizes."""

    SHAPE = (None, None, 3)

    def _shape(self, index):
        return (90 + index, 70, 3)


class TfcToyDeep(_Toy):
    """16 bits a channel."""

    DTYPE = np.uint16


class TfcToyTrainOnly(_Toy):
    """No test part."""

    PARTS = ("train",)


class TfcToyThreeParts(_Toy):
    """A test and a validation part, both with labels."""

    PARTS = ("train", "validation", "test")


class TfcToySecret(_Toy):
    """The test labels aren't given away."""

    PARTS = ("train", "test", "validation")
    SECRET = ("test",)


class TfcToyNoTrain(_Toy):
    """Only a test part."""

    PARTS = ("test",)


class TfcToyTwoImages(_Toy):
    """Two images an example."""

    def _features(self):
        return {**super()._features(), "other": tfds.features.Image(shape=self.SHAPE)}


class TfcToyOffline(_Toy):
    """Its download fails after TFDS has made its folders."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route\nto host")


def everything(part):
    return part.images.batch(np.arange(len(part)))


def expected(part, count=12):
    """Grey images of a part by label, padded; TFDS stores examples in an order of its own."""
    return {
        np.pad(picture((part, index))[..., 0], 2).tobytes(): index % 3 for index in range(count)
    }


def test_small_grey_images(tmp_path, capfd):
    loaded = data.load("tfc_toy", data_dir=tmp_path)
    assert loaded.class_names == ("ant", "bee", "cow")
    assert (
        loaded.split == "As TFDS has it: train and test. Left out, as they have no images: unused."
    )
    assert loaded.source == "TFDS tfc_toy/1.0.0, https://example.org"
    assert loaded.augmentation == "flip"
    for number, part in enumerate((loaded.train, loaded.test)):
        found = {
            image[..., 0].tobytes(): label
            for image, label in zip(everything(part), part.labels, strict=True)
        }
        assert found == expected(number)
        assert all((image == image[..., :1]).all() for image in everything(part))
    assert capfd.readouterr().out == ""


def test_reading_is_in_one_order_and_needs_no_preparation_twice(tmp_path, monkeypatch):
    first = data.load("tfc_toy", data_dir=tmp_path)
    monkeypatch.setattr(TfcToy, "download_and_prepare", None)
    again = data.load("tfc_toy:1.0.0", data_dir=tmp_path)
    np.testing.assert_array_equal(everything(first.train), everything(again.train))
    np.testing.assert_array_equal(first.train.labels, again.train.labels)


def test_large_images_of_many_sizes(tmp_path):
    assert data.load("tfc_toy_large", data_dir=tmp_path).image_shape == (32, 32, 3)
    loaded = data.load("tfc_toy_large", data_dir=tmp_path, fallback_size=24)
    assert loaded.image_shape == (24, 24, 3)
    loaded = data.load("tfc_toy_large", data_dir=tmp_path, image_size=16)
    assert loaded.image_shape == (16, 16, 3)


def test_data_sets_over_the_budget_are_kept_in_a_file_that_vanishes(tmp_path, monkeypatch):
    kept = data.load("tfc_toy", data_dir=tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 2 * 12 * 32 * 32 * 3 - 1)
    mapped = data.load("tfc_toy", data_dir=tmp_path)
    assert isinstance(mapped.train.images.array, np.memmap)
    assert not isinstance(kept.train.images.array, np.memmap)
    assert sorted(tmp_path.rglob("*")) == before
    for part in ("train", "test"):
        kept_part, mapped_part = getattr(kept, part), getattr(mapped, part)
        np.testing.assert_array_equal(everything(kept_part), everything(mapped_part))
        assert not isinstance(everything(mapped_part), np.memmap)
    assert kept.normalization == mapped.normalization
    del mapped, mapped_part
    gc.collect()


def test_no_room_for_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    data.load("tfc_toy", data_dir=tmp_path)
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 1)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"GiB in .*: No space left on device; free some room"):
        data.load("tfc_toy", data_dir=tmp_path)


def test_sixteen_bits_keep_the_high_byte(tmp_path):
    found = everything(data.load("tfc_toy_deep", data_dir=tmp_path).train)
    assert {image[..., 0].tobytes() for image in found} == set(expected(0))


def test_train_alone_is_split(tmp_path):
    loaded = data.load("tfc_toy_train_only", data_dir=tmp_path)
    assert np.bincount(loaded.train.labels).tolist() == [3, 3, 3]
    assert np.bincount(loaded.test.labels).tolist() == [1, 1, 1]
    assert "20% for testing, seed 0" in loaded.split
    found = {image[..., 0].tobytes() for image in everything(loaded.train)}
    found |= {image[..., 0].tobytes() for image in everything(loaded.test)}
    assert found == set(expected(0))


def test_a_test_part_comes_before_validation(tmp_path):
    loaded = data.load("tfc_toy_three_parts", data_dir=tmp_path)
    assert loaded.split.startswith("As TFDS has it: train and test.")
    assert {image[..., 0].tobytes() for image in everything(loaded.test)} == set(expected(2))


def test_normalised_by_the_training_images(tmp_path):
    for name in ("tfc_toy", "tfc_toy_train_only"):
        check_normalization(data.load(name, data_dir=tmp_path))


def test_validation_stands_in_for_a_test_part_without_labels(tmp_path):
    loaded = data.load("tfc_toy_secret", data_dir=tmp_path)
    assert loaded.split.startswith("As TFDS has it: train and validation.")
    assert {image[..., 0].tobytes() for image in everything(loaded.test)} == set(expected(2))


def fails(name, folder, message):
    with pytest.raises(InputError, match=message) as caught:
        data.load(name, data_dir=folder)
    assert "\n" not in str(caught.value)


def test_what_is_no_image_classification_set(tmp_path):
    message = "one image and one class label; it has image, label, other"
    fails("tfc_toy_two_images", tmp_path / "new", message)
    assert not (tmp_path / "new").exists()
    fails("tfc_toy_no_train", tmp_path, "no part named train; it has test")


def test_a_failed_download_leaves_no_folders(tmp_path):
    new = tmp_path / "some" / "new"
    fails(
        "tfc_toy_offline",
        new,
        f"'tfc_toy_offline' isn't prepared in {new} and can't be downloaded now "
        r"\(no route to host\): prepare it",
    )
    assert list(tmp_path.iterdir()) == []
    data.load("tfc_toy", data_dir=tmp_path)
    before = sorted(tmp_path.rglob("*"))
    fails("tfc_toy_offline", tmp_path, "can't be downloaded now")
    assert sorted(tmp_path.rglob("*")) == before


def test_broken_records(tmp_path):
    data.load("tfc_toy", data_dir=tmp_path)
    (record,) = (tmp_path / "tfc_toy" / "1.0.0").glob("*train*")
    record.write_bytes(record.read_bytes()[:-100])
    fails("tfc_toy", tmp_path, "TFDS data in .*tfc_toy/1.0.0 can't be read: .*prepare it again")


def test_unknown_names():
    for check in (data.check_name, data.load):
        with pytest.raises(InputError, match="'cifra10': did you mean 'cifar10' or") as caught:
            check("cifra10")
        assert len(str(caught.value)) < 300
    with pytest.raises(InputError, match="did you mean 'fashion_mnist_small'"):
        data.check_name("fashion_mnist_smal")
    data.check_name("emnist/letters")


def test_unknown_configuration(tmp_path):
    fails("emnist/foo", tmp_path, "can't set up data set 'emnist/foo'")


@pytest.mark.skipif(not (PREPARED / "mnist").is_dir(), reason="MNIST isn't prepared here")
def test_mnist():
    loaded = data.load("mnist", data_dir=PREPARED)
    assert (len(loaded.train), len(loaded.test)) == (60_000, 10_000)
    assert loaded.image_shape == (32, 32, 3)
    assert loaded.augmentation == "none"
    # The counts of digits in the official training part.
    assert np.bincount(loaded.train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    sample = everything(loaded.test)[:500].copy()
    sample[:, 2:30, 2:30] = 0
    assert not sample.any()


@pytest.mark.skipif(not (PREPARED / "cifar10").is_dir(), reason="CIFAR-10 isn't prepared here")
def test_cifar10():
    loaded = data.load("cifar10", data_dir=PREPARED)
    assert (len(loaded.train), len(loaded.test)) == (50_000, 10_000)
    assert np.bincount(loaded.train.labels).tolist() == [5000] * 10
    assert np.bincount(loaded.test.labels).tolist() == [1000] * 10
    assert loaded.class_names[:3] == ("airplane", "automobile", "bird")
    assert loaded.augmentation == "flip+shift"
    # The published values, and the sample of 10,000 images that stands for them.
    pixels = loaded.train.images.array
    mean, std = pixels.mean(axis=(0, 1, 2)) / 255, pixels.std(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(std, [0.2470, 0.2435, 0.2616], atol=5e-5)
    np.testing.assert_allclose(np.array(loaded.normalization.mean) / 255, mean, atol=0.01)
    np.testing.assert_allclose(np.array(loaded.normalization.std) / 255, std, atol=0.01)
