import numpy as np
import pytest

from tfcompress.errors import InputError
from tfcompress.runtime import LiteModel
from tfcompress.runtime.accuracy import change_interval, file_accuracy


def test_the_share_of_right_answers_over_all_batches(tiny):
    images = np.random.default_rng(0).normal(size=(11, 8, 8, 3)).astype("float32")
    chosen = LiteModel(tiny.path).predict(images).argmax(1)
    labels = chosen.copy()
    labels[[0, 4, 10]] = (labels[[0, 4, 10]] + 1) % 5
    # Of unequal batches: a mean of the batches' accuracies would be another number.
    batches = [(images[i:j], labels[i:j]) for i, j in ((0, 2), (2, 10), (10, 11))]
    assert file_accuracy(tiny.path, batches) == 8 / 11
    assert file_accuracy(tiny.path, iter(batches), threads=1) == 8 / 11


def test_nothing_to_judge_by(tiny):
    with pytest.raises(InputError, match=r"there are no images to take the accuracy of .* on"):
        file_accuracy(tiny.path, [])


def test_images_of_another_shape(tiny):
    with pytest.raises(InputError, match="takes inputs of shape"):
        file_accuracy(tiny.path, [(np.zeros((2, 4, 4, 3), "float32"), np.zeros(2, int))])


def test_the_interval_counts_only_images_that_one_file_alone_gets_right():
    """By hand: 9 gained, 3 lost of 100; half an image in each cell."""
    before = np.repeat([True, True, False, False], [60, 3, 9, 28])
    after = np.repeat([True, False, True, False], [60, 3, 9, 28])
    low, high = change_interval(before, after)
    change, variance = 6 / 102, (9.5 + 3.5 - 36 / 102) / 102**2
    assert (low, high) == pytest.approx(
        (change - 1.959964 * variance**0.5, change + 1.959964 * variance**0.5)
    )
    assert change_interval(after, before) == pytest.approx((-high, -low))
    same = change_interval(before, before)
    assert same[0] < 0 < same[1]  # As many images as these can't tell that nothing changed.


def test_the_interval_covers_the_change_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits, trials = 0, 2000
    for _ in range(trials):
        kind = rng.choice(4, 60, p=[0.7, 0.05, 0.1, 0.15])
        low, high = change_interval(np.isin(kind, [0, 1]), np.isin(kind, [0, 2]))
        hits += low <= 0.05 <= high
    assert 0.93 < hits / trials < 0.98
