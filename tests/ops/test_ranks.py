import numpy as np
import pytest

from tfcompress.ops import ranks


def noisy(rows, columns, rank, noise, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return signal + noise * rng.standard_normal((rows, columns))


@pytest.mark.parametrize(
    ("rows", "columns", "rank", "noise"),
    [(64, 128, 10, 1.0), (128, 600, 20, 0.5), (50, 50, 5, 0.3)],
)
def test_variational_bayes_finds_the_rank_in_noise(rows, columns, rank, noise):
    matrix = noisy(rows, columns, rank, noise)
    assert ranks.by_variational_bayes(matrix) == rank
    assert ranks.by_variational_bayes(matrix.T) == rank
    assert ranks.by_variational_bayes(1e-4 * matrix) == rank


@pytest.mark.parametrize("matrix", [noisy(40, 60, 1, 0.0), np.zeros((4, 5)), noisy(30, 40, 0, 1.0)])
def test_variational_bayes_of_one_component_or_none(matrix):
    assert ranks.by_variational_bayes(matrix) == 1


def root_of_the_threshold():
    """The zero of log(z + 1) / z - 1/2 by bisection (Nakajima et al. 2013, section 4.3)."""
    low, high = 1.0, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.log(middle + 1) / middle > 0.5 else (low, middle)
    return low


def test_variational_bayes_threshold_is_the_root_of_its_equation():
    """A component on either side of the threshold above known noise.

    The singular values are those of noise of variance 1, but for one that is 100, and for one near
    the threshold. That one counts in the estimate of the noise, so that the rank changes a little
    below it: at 0.98 of the threshold.
    """
    size = 150
    tau = root_of_the_threshold()
    assert tau == pytest.approx(2.5129, abs=1e-4)
    threshold = (1 + tau) * (1 + 1 / tau)  # Of a square matrix.
    noise = np.linalg.svd(np.random.default_rng(0).standard_normal((size, size)), compute_uv=False)
    for factor, rank in ((0.96, 1), (1.0, 2)):
        values = np.concatenate([[100.0, np.sqrt(factor * threshold * size)], noise[2:]])
        assert ranks.by_variational_bayes(np.diag(values)) == rank


def test_variational_bayes_minimises_the_free_energy():
    """A fine search over noise levels by the formulas, written out a component at a time."""
    matrix = noisy(20, 45, 4, 1.5, seed=3)
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    alpha, large = 20 / 45, 45
    tau = 2.5129 * np.sqrt(alpha)
    threshold = (1 + tau) * (1 + alpha / tau)
    best = np.inf, 0
    for noise in np.geomspace(squares.sum() / 900 * 1e-2, squares.sum() / 900, 20000):
        x = squares / (large * noise)
        total = 0.0
        for value in x:
            total += value - np.log(value)
            if value > threshold:
                t = (value - 1 - alpha + np.sqrt((value - 1 - alpha) ** 2 - 4 * alpha)) / 2
                total += np.log(t + 1) + alpha * np.log(t / alpha + 1) - t
        best = min(best, (total, int((x > threshold).sum())))
    assert ranks.by_variational_bayes(matrix) == best[1] == 4


@pytest.mark.parametrize(
    ("energy", "rank"), [(0.01, 1), (9 / 14, 1), (0.65, 2), (13 / 14, 2), (0.95, 3), (1.0, 3)]
)
def test_by_energy(energy, rank):
    assert ranks.by_energy(np.diag([2.0, 3.0, 1.0]), energy) == rank


def test_by_energy_keeps_the_error_that_it_says():
    matrix = noisy(20, 30, 5, 0.5)
    rank = ranks.by_energy(matrix, 0.9)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    made = (left[:, :rank] * values[:rank]) @ right[:rank]
    assert np.linalg.norm(matrix - made) <= np.sqrt(0.1) * np.linalg.norm(matrix)


@pytest.mark.parametrize("energy", [0, -1, 1.01])
def test_bad_energy(energy):
    with pytest.raises(ValueError, match="energy must be in"):
        ranks.by_energy(np.eye(3), energy)


@pytest.mark.parametrize(
    ("limit", "rank"), [(0, 0), (99, 0), (100, 1), (101, 1), (6400, 64), (1e9, 64)]
)
def test_by_cost(limit, rank):
    assert ranks.by_cost(lambda n: 100 * n, limit, 64) == rank
