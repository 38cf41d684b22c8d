import numpy as np
import pytest

from tfcompress.errors import InputError
from tfcompress.runtime import LiteModel
from tfcompress.runtime.accuracy import file_accuracy


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
