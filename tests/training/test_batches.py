import collections

import numpy as np
import pytest

from tfcompress.data.augmentation import augment
from tfcompress.data.dataset import Dataset, Normalization, Split
from tfcompress.data.stores import ArrayImages
from tfcompress.training.batches import EpochBatches


def numbered(count, height=4, width=6):
    """Images that differ everywhere; the label is the image's number."""
    rng = np.random.default_rng(5)
    images = rng.integers(1, 256, (count, height, width, 3)).astype(np.uint8)
    return Split(ArrayImages(images), np.arange(count)), images


class Numbered:
    """A data set of any labels."""

    take = Dataset.take
    examples = Dataset.examples

    def __init__(self, train, normalization):
        self.train, self.normalization = train, normalization


def batches(split, augmentation="none", batch_size=4, seed=3, epoch=0, normalization=None):
    data = Numbered(split, normalization or Normalization.identity())
    return EpochBatches(
        data,
        augmentation=augmentation,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
    )


def everything(of):
    parts = [of[index] for index in range(len(of))]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


@pytest.mark.parametrize(("count", "sizes"), [(10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_every_image_once_an_epoch(count, sizes):
    split, images = numbered(count)
    of = batches(split)
    assert [len(of[index][1]) for index in range(len(of))] == sizes
    x, y = everything(of)
    assert sorted(y) == list(range(count))
    np.testing.assert_array_equal(x, images[y])
    assert x.dtype == np.float32


@pytest.mark.parametrize("augmentation", ["none", "flip+shift"])
def test_seed_and_epoch_decide(augmentation):
    split, _ = numbered(32)
    x, y = everything(batches(split, augmentation))
    again, labels = everything(batches(split, augmentation))
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, labels)
    for other in ({"epoch": 1}, {"seed": 4}):
        assert list(everything(batches(split, augmentation, **other))[1]) != list(y)


def test_a_batch_does_not_depend_on_those_drawn_before():
    split, _ = numbered(12)
    of = batches(split, "flip+shift")
    last = of[2][0]
    np.testing.assert_array_equal(batches(split, "flip+shift")[2][0], last)
    np.testing.assert_array_equal(of[2][0], last)


def test_the_same_image_is_augmented_anew_in_each_epoch():
    split, _ = numbered(40)
    flipped = []
    for epoch in range(2):
        x, y = everything(batches(split, "flip", epoch=epoch))
        flipped.append(x[np.argsort(y)])
    different = [not np.array_equal(a, b) for a, b in zip(*flipped, strict=True)]
    assert 8 <= sum(different) <= 32


@pytest.mark.parametrize("augmentation", ["flip", "shift"])
def test_each_epoch_batch_and_seed_augments_in_its_own_way(augmentation):
    """On copies of one image, so that the order of the images can't hide it."""
    _, images = numbered(1, 16, 16)
    split = Split(ArrayImages(np.repeat(images, 64, 0)), np.zeros(64))
    settings = {"augmentation": augmentation, "batch_size": 32}
    first = batches(split, **settings)
    ways = [first[0], first[1]]
    ways += [batches(split, **settings, **other)[0] for other in ({"epoch": 1}, {"seed": 4})]
    pixels = {x.tobytes() for x, _ in ways}
    assert len(pixels) == 4


def test_normalised_as_the_data_set_says():
    split, images = numbered(6)
    x, y = everything(batches(split, normalization=Normalization((1, 2, 3), (2, 4, 8))))
    for image, label in zip(x, y, strict=True):
        for channel, (mean, std) in enumerate([(1, 2), (2, 4), (3, 8)]):
            expected = (images[label, :, :, channel].astype(np.float64) - mean) / std
            np.testing.assert_allclose(image[:, :, channel], expected, rtol=1e-6)


def test_none_leaves_the_images():
    _, images = numbered(5)
    np.testing.assert_array_equal(augment(images, "none", np.random.default_rng(0)), images)


def naive_flip(image):
    out = np.empty_like(image)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            out[row, column] = image[row, image.shape[1] - 1 - column]
    return out


def naive_shift(image, down, right):
    out = np.zeros_like(image)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if 0 <= row - down < image.shape[0] and 0 <= column - right < image.shape[1]:
                out[row, column] = image[row - down, column - right]
    return out


def test_flip_mirrors_half_of_the_images():
    _, images = numbered(400)
    out = augment(images, "flip", np.random.default_rng(0))
    flipped = 0
    for image, got in zip(images, out, strict=True):
        if np.array_equal(got, naive_flip(image)):
            flipped += 1
        else:
            np.testing.assert_array_equal(got, image)
    assert 160 <= flipped <= 240  # four standard deviations


# 4 pixels in 32, at least 1; each side by its own size.
@pytest.mark.parametrize(
    ("height", "width", "reach"), [(4, 6, (1, 1)), (16, 8, (2, 1)), (24, 32, (3, 4))]
)
def test_shift_moves_by_every_offset_within_reach(height, width, reach):
    count = 40 * (2 * reach[0] + 1) * (2 * reach[1] + 1)
    image = numbered(1, height, width)[1][0]
    out = augment(np.repeat(image[None], count, 0), "shift", np.random.default_rng(0))
    offsets = [
        (down, right)
        for down in range(-reach[0], reach[0] + 1)
        for right in range(-reach[1], reach[1] + 1)
    ]
    known = {naive_shift(image, *offset).tobytes(): offset for offset in offsets}
    seen = collections.Counter(known[got.tobytes()] for got in out)
    assert set(seen) == set(offsets)
    assert max(seen.values()) < 100  # 40 are expected of each


def test_flip_and_shift_do_both():
    image = numbered(1)[1][0]
    out = augment(np.repeat(image[None], 400, 0), "flip+shift", np.random.default_rng(0))
    known = {
        naive_shift(source, down, right).tobytes()
        for source in (image, naive_flip(image))
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    assert {got.tobytes() for got in out} == known


def test_the_data_set_stays_as_it_is():
    split, images = numbered(8)
    before = images.copy()
    everything(batches(split, "flip+shift"))
    np.testing.assert_array_equal(images, before)


def test_augmented_as_seeds_have_always_done():
    """Trainings of a seed stay what they were: these draws, in this order, and no others."""
    _, images = numbered(9, height=8, width=16)
    flipped, rows, columns = (np.random.default_rng(7) for _ in range(3))
    flip = flipped.random(9) < 0.5
    np.testing.assert_array_equal(
        augment(images, "flip", np.random.default_rng(7)),
        [image[:, ::-1] if mirror else image for image, mirror in zip(images, flip, strict=True)],
    )
    padded = np.pad(images, ((0, 0), (1, 1), (2, 2), (0, 0)))
    tops = rows.integers(0, 3, 9)
    columns.integers(0, 3, 9)
    lefts = columns.integers(0, 5, 9)
    np.testing.assert_array_equal(
        augment(images, "shift", np.random.default_rng(7)),
        [padded[i, tops[i] : tops[i] + 8, lefts[i] : lefts[i] + 16] for i in range(9)],
    )
