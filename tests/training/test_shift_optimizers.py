"""Optimizers of shifts: steps by hand, chance right on the average, state in checkpoints."""

import keras
import numpy as np
import pytest

from tfcompress.training.shift_optimizers import IntegerSGD, ShiftAdamax

GRADIENT = np.array([0.0, 1.0, -3.0, 0.013, -0.4], "float32")


def moved(optimizer, start, gradient, steps=1):
    variable = keras.Variable(np.asarray(start, "float32"))
    for _ in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return np.asarray(variable)


def test_whole_steps_of_the_grid():
    """3 is next to 4: the gradient in steps is rate * g / 4, and chance takes one more or none."""
    after = moved(IntegerSGD(8.0, num_bits=8), np.zeros(5), GRADIENT) * -128
    exact = 8 * GRADIENT / 4
    np.testing.assert_array_equal(after, np.round(after))
    assert (np.abs(after - exact) < 1).all()
    np.testing.assert_array_equal(after[:3], [0, 2, -6])  # What is whole is left to no chance.
    many = [
        moved(IntegerSGD(6.0, seed=seed), np.zeros(5), GRADIENT)[3:] * -128 for seed in range(300)
    ]  # The power of two next to 6 is 8.
    np.testing.assert_allclose(np.mean(many, axis=0), exact[3:], atol=0.12)


def test_ends_and_grid_of_the_weights():
    after = moved(IntegerSGD(64.0, num_bits=4), [0.9, -0.9, 0.3, 0.3, 0.0], np.zeros(5))
    np.testing.assert_allclose(after, np.array([7, -7, 2, 2, 0]) / 8)
    after = moved(IntegerSGD(64.0, num_bits=4), np.zeros(5), GRADIENT)
    np.testing.assert_allclose(after[1:3], [-7 / 8, 7 / 8])
    after = moved(IntegerSGD(64.0, num_bits=4, largest=0.5), np.zeros(5), GRADIENT)
    np.testing.assert_allclose(after[1:3], [-0.5, 0.5])


def test_chance_is_the_seeds_and_goes_on_from_its_state():
    runs = [moved(IntegerSGD(1.0, seed=seed), np.zeros(5), GRADIENT, 20) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    variable = keras.Variable(np.zeros(5, "float32"))
    first, second = IntegerSGD(1.0, seed=1), IntegerSGD(1.0, seed=5)
    for optimizer in (first, second):
        optimizer.build([variable])
    for optimizer in (first, second):
        for _ in range(10):
            optimizer.apply([keras.ops.convert_to_tensor(GRADIENT)])
        for new, old in zip(second.variables, first.variables, strict=True):
            new.assign(old)
    np.testing.assert_array_equal(np.asarray(variable), runs[0])


def test_adamax_by_shifts():
    rng = np.random.default_rng(0)
    weights, mean, norm = rng.normal(size=5), np.zeros(5), np.zeros(5)
    variable = keras.Variable(weights.astype("float32"))
    optimizer = ShiftAdamax(0.01)
    for step in range(1, 6):
        gradient = rng.normal(size=5) * [1, 1, 1, 1, 0]
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        mean = mean * (1 - 2**-3) + gradient * 2**-3
        norm = np.maximum((1 - 2**-10) * norm, np.abs(gradient))
        rate = 2.0 ** np.round(np.log2(0.01 / (1 - (1 - 2**-3) ** step)))
        moved = norm > 0
        weights[moved] -= rate * mean[moved] / 2.0 ** np.round(np.log2(norm[moved]))
        np.testing.assert_allclose(np.asarray(variable), weights, rtol=1e-4)


def test_refuses():
    with pytest.raises(ValueError, match=r"num_bits must be from 2 to 16\. Received: num_bits=1"):
        IntegerSGD(num_bits=1)
    with pytest.raises(ValueError, match=r"largest must be a multiple of 0\.125 between 0 and 1"):
        IntegerSGD(num_bits=4, largest=0.3)
    with pytest.raises(ValueError, match="IntegerSGD has no weight decay"):
        IntegerSGD(weight_decay=0.1)
    same = IntegerSGD.from_config(IntegerSGD(4.0, num_bits=6, seed=3).get_config())
    assert (same.num_bits, same.seed, float(same.learning_rate)) == (6, 3, 4.0)
