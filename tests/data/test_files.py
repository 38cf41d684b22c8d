import tracemalloc

import numpy as np
import pytest
from PIL import Image

from tfcompress import images
from tfcompress.data import files
from tfcompress.data.files import LabelledFile
from tfcompress.data.stores import ArrayImages, FileImages
from tfcompress.errors import InputError


@pytest.fixture
def photographs(tmp_path):
    """Files of 100 x 80 px, smooth enough to be small."""
    generator = np.random.default_rng(0)
    found = []
    for index in range(30):
        path = tmp_path / f"{index:02}.png"
        coarse = Image.fromarray(generator.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((100, 80)).save(path)
        found.append(LabelledFile(path, index % 2))
    return found


def test_streamed_images_are_those_in_memory(photographs, monkeypatch):
    train, test = files.splits_of(photographs[:20], photographs[20:], None, 24)
    assert isinstance(train.images, ArrayImages)
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 1)
    streamed_train, streamed_test = files.splits_of(photographs[:20], photographs[20:], None, 24)
    assert isinstance(streamed_train.images, FileImages)
    for kept, streamed in ((train, streamed_train), (test, streamed_test)):
        assert kept.images.shape == streamed.images.shape == (24, 24, 3)
        order = np.random.default_rng(1).permutation(len(kept))
        np.testing.assert_array_equal(kept.images.batch(order), streamed.images.batch(order))
        np.testing.assert_array_equal(kept.labels, streamed.labels)


def test_the_budget_is_for_training_and_test_images_together(photographs, monkeypatch):
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 30 * 24 * 24 * 3)
    train, _ = files.splits_of(photographs[:20], photographs[20:], 24, 32)
    assert isinstance(train.images, ArrayImages)
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 30 * 24 * 24 * 3 - 1)
    _, test = files.splits_of(photographs[:20], photographs[20:], 24, 32)
    assert isinstance(test.images, FileImages)


def test_streaming_holds_a_batch_not_the_data_set(photographs, monkeypatch):
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", 1)
    many = photographs * 10
    size = 128
    total = len(many) * size * size * 3
    tracemalloc.start()
    try:
        train, _ = files.splits_of(many, photographs[:2], size, 32)
        for start in range(0, len(many), 16):
            train.images.batch(np.arange(start, min(start + 16, len(many))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 64 images decoded ahead and a batch of 16, of 300.
    assert peak < 0.45 * total


@pytest.mark.parametrize("budget", [1, 1 << 30])
def test_a_truncated_file_is_found_before_anything_else(photographs, monkeypatch, budget):
    monkeypatch.setattr(images, "MEMORY_BUDGET_BYTES", budget)
    bad = photographs[25].path
    bad.write_bytes(bad.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"25\.png can't be read as an image"):
        files.splits_of(photographs[:20], photographs[20:], None, 24)


def test_small_images_of_one_size_are_padded_from_files_too(tmp_path):
    grey = np.random.default_rng(3).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "x.png")
    file = LabelledFile(tmp_path / "x.png", 0)
    train, _ = files.splits_of([file], [file], None, 96)
    image = train.images.batch(np.array([0]))[0]
    np.testing.assert_array_equal(image[2:30, 2:30, 1], grey)
    assert image.shape == (32, 32, 3)
