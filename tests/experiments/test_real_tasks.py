"""What the real tasks are judged by, and what is drawn for them."""

import numpy as np
import pytest
import real_tasks
import task_data


def test_mean_iou_by_hand():
    targets = np.array([[0, 0, 1, 1]])
    outputs = np.eye(2)[[[0, 1, 1, 1]]]
    assert real_tasks.mean_iou(outputs, targets) == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)


def test_decibels_by_hand():
    clean = np.zeros((2, 4, 4, 1))
    assert real_tasks.decibels(clean + 0.1, clean) == pytest.approx(20)


def test_a_mask_covers_the_digits_on_a_canvas():
    images = np.zeros((2, 28, 28), "float32")
    images[:, 10:20, 10:20] = 1
    x, masks = task_data.canvases(images, np.array([1, 4]), 3, np.random.default_rng(0))
    assert x.shape == (3, 64, 64, 1)
    for canvas, mask in zip(x[..., 0], masks, strict=True):
        assert set(np.unique(mask)) <= {0, 2, 5}
        assert (mask > 0).sum() in (100, 200, 300, 400)
        assert canvas[mask > 0].mean() > 0.5 > 0.1 > abs(canvas[mask == 0].mean())


def test_faces_follow_from_the_seed():
    (x, y), (again, _) = (task_data.faces(7, np.random.default_rng(0)) for _ in range(2))
    assert (x.shape, x.dtype, sorted(y)) == ((7, 64, 64, 1), "uint8", list(range(7)))
    np.testing.assert_array_equal(x, again)
