"""Rounding by the least squared error of outputs."""

import itertools

import numpy as np
import pytest

from tfcompress.ops import gptq

LOW, HIGH = -8, 7


def layer(filters=6, inputs=40, seed=0):
    """Filters, and second moments of inputs that depend on one another, as behind a ReLU."""
    random = np.random.default_rng(seed)
    x = np.maximum(random.normal(size=(300, 12)) @ random.normal(size=(12, inputs)), 0)
    return random.normal(size=(filters, inputs)), x.T @ x / len(x)


def recursion(row, hessian, step):
    """One filter by the textbook: each rounding's error moves the weights that are left."""
    left, inverse = row.copy(), np.linalg.inv(hessian)
    codes = np.zeros(len(row))
    waiting = sorted(range(len(row)), key=lambda j: -hessian[j, j])
    while waiting:
        j = waiting.pop(0)
        codes[j] = np.clip(np.round(left[j] / step), LOW, HIGH)
        error = (left[j] - codes[j] * step) / inverse[j, j]
        for k in waiting:
            left[k] -= error * inverse[j, k]
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return codes


@pytest.mark.parametrize("inputs", [40, 150])  # Within a block of columns, and beyond.
def test_compensated_is_the_textbook_recursion(inputs):
    rows, hessian = layer(inputs=inputs)
    hessian = gptq.damped(hessian)
    steps = np.abs(rows).max(axis=1) / HIGH
    codes = gptq.compensated(rows, hessian, steps, LOW, HIGH)
    for row, step, got in zip(rows, steps, codes, strict=True):
        np.testing.assert_array_equal(got, recursion(row, hessian, step))


@pytest.mark.parametrize(("low", "high"), [(-8, 7), (-2, 1), (-127, 127)])
def test_no_filter_costs_more_than_with_its_nearest_integers(low, high):
    for seed in range(5):
        rows, hessian = layer(seed=seed)
        codes, steps = gptq.rounded(rows, hessian, low, high)
        assert codes.dtype == np.int8
        assert low <= codes.min() <= codes.max() <= high
        hessian = gptq.damped(hessian)
        largest = np.abs(rows).max(axis=1, keepdims=True) / high
        plain = rows - np.clip(np.round(rows / largest), low, high) * largest
        errors = rows - codes * steps[:, None]
        cost, before = (np.diag(e @ hessian @ e.T) for e in (errors, plain))
        assert np.all(cost <= before * (1 + 1e-9))
        assert cost.sum() < 0.7 * before.sum()


def test_no_single_weight_could_do_better():
    rows, hessian = layer(filters=3, inputs=6)
    codes, steps = gptq.rounded(rows, hessian, LOW, HIGH)
    hessian = gptq.damped(hessian)
    for row, integers, step in zip(rows, codes.astype(int), steps, strict=True):

        def cost(values, row=row, step=step):
            error = row - np.asarray(values) * step
            return error @ hessian @ error

        own = cost(integers)
        for j, value in itertools.product(range(6), range(LOW, HIGH + 1)):
            assert own <= cost([*integers[:j], value, *integers[j + 1 :]]) * (1 + 1e-9)


def test_without_dependence_every_weight_goes_to_its_nearest_integer():
    rows, _ = layer()
    codes, steps = gptq.rounded(rows, np.diag(np.arange(1.0, 41)), LOW, HIGH)
    np.testing.assert_array_equal(codes, np.clip(np.round(rows / steps[:, None]), LOW, HIGH))


def test_filters_and_inputs_of_zeros():
    rows, hessian = layer()
    rows[2], hessian[5], hessian[:, 5] = 0.0, 0.0, 0.0
    codes, steps = gptq.rounded(rows, hessian, LOW, HIGH)
    assert steps[2] == 0
    assert not codes[2].any()
    assert np.all(steps[[0, 1, 3, 4, 5]] > 0)
    codes, steps = gptq.rounded(rows, np.zeros_like(hessian), LOW, HIGH)
    assert np.isfinite(steps).all()
