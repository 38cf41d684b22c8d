"""Rounds weights so that what a layer makes of its inputs changes least.

For weights w of a filter and the inputs' second moments H, rounded weights v cost

```
cost(v) = (w - v) H (w - v)'
```

the mean square of what rounding does to the filter's output. Rounding each weight by itself has
the least cost only where inputs don't depend on one another.
"""

from __future__ import annotations

import numpy as np

# Of the mean of H's diagonal, added to it: section 3.3 of the paper, step 3.
DAMPING = 0.01
# Steps that are tried for a filter, as shares of the one that its largest weight asks for.
SHARES = np.linspace(0.5, 1.0, 9)
# Columns after which the weights behind them are changed, all at once.
_BLOCK = 64
# Rounds of single weights and steps; few filters change after the third.
_ROUNDS = 4


def damped(hessian: np.ndarray) -> np.ndarray:
    """Returns second moments with a hundredth of their mean added to each input's own.

    Args:
        hessian: (inputs, inputs), symmetric.
    """
    size = len(hessian)
    mean = float(np.trace(hessian)) / size
    result: np.ndarray = hessian + (DAMPING * mean if mean > 0 else 1.0) * np.eye(size)
    return result


def costs(errors: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Returns each filter's mean square error of the output.

    Args:
        errors: of the weights, (filters, inputs).
        hessian: (inputs, inputs).
    """
    return np.asarray(np.einsum("fi,fi->f", errors @ hessian, errors))


def nearest(rows: np.ndarray, steps: np.ndarray, low: int, high: int) -> np.ndarray:
    """Returns the integers that are nearest to weights.

    Args:
        rows: weights, (filters, inputs).
        steps: of the filters, (filters,), above 0.
        low: the lowest integer.
        high: the highest one.
    """
    return np.asarray(np.clip(np.round(rows / steps[:, None]), low, high))


def compensated(
    rows: np.ndarray, hessian: np.ndarray, steps: np.ndarray, low: int, high: int
) -> np.ndarray:
    """Rounds weights one input after the other; those left make up for what was rounded.

    Inputs with large second moments come first, so that many weights are left to make up for them.

    Args:
        rows: weights, (filters, inputs).
        hessian: second moments of the inputs, (inputs, inputs), positive definite: `damped`.
        steps: of the filters, (filters,), above 0.
        low: the lowest integer.
        high: the highest one.

    Returns:
        Integers, (filters, inputs), of a float type.

    Reference:
        Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate Post-Training Quantization for
        Generative Pre-trained Transformers", arXiv:2210.17323, algorithm 1; the order of its
        authors' code ("act-order").
    """
    order = np.argsort(-np.diag(hessian), kind="stable")
    inverse = np.linalg.inv(hessian[np.ix_(order, order)])
    factor = np.linalg.cholesky(inverse).T  # Upper: row j is what is left once 0..j are rounded.
    left, codes = rows[:, order].astype("float64"), np.empty(rows.shape)
    for start in range(0, len(order), _BLOCK):
        end = min(start + _BLOCK, len(order))
        errors = np.empty((len(rows), end - start))
        for j in range(start, end):
            codes[:, j] = np.clip(np.round(left[:, j] / steps), low, high)
            errors[:, j - start] = (left[:, j] - codes[:, j] * steps) / factor[j, j]
            left[:, j + 1 : end] -= np.outer(errors[:, j - start], factor[j, j + 1 : end])
        left[:, end:] -= errors @ factor[start:end, end:]
    result = np.empty_like(codes)
    result[:, order] = codes
    return result


def rounded(
    rows: np.ndarray, hessian: np.ndarray, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rounds weights to few integers and a step for each filter, by the least squared error.

    Of nine steps a filter takes the one with the least cost by `compensated`, or by plain rounding
    with the step of its largest weight where that costs less. From there single weights move to
    the integer that costs least with all others as they are, and steps to the best for their
    integers, by turns: neither makes the cost larger.

    Args:
        rows: weights, (filters, inputs).
        hessian: second moments of the inputs, (inputs, inputs).
        low: the lowest integer, below 0.
        high: the highest one, above 0.

    Returns:
        int8 of the rows' shape, and steps (filters,), 0 for a filter of zeros. No filter's cost,
        by the `damped` moments, is above that of its nearest integers at the usual step.

    Reference:
        Frantar et al. 2022, arXiv:2210.17323; single weights as Behdin et al. 2023, "QuantEase",
        arXiv:2309.01885, section 3.
    """
    hessian = damped(np.asarray(hessian, "float64"))
    weights = np.asarray(rows, "float64")
    largest = np.abs(weights).max(axis=1, initial=0.0) / high
    usual = np.where(largest > 0, largest, 1.0)
    codes, steps = nearest(weights, usual, low, high), usual.copy()
    least = costs(weights - codes * steps[:, None], hessian)
    # All shares at once: the same inputs come first for each.
    tried = (usual[:, None] * SHARES).ravel()
    repeated = np.repeat(weights, len(SHARES), axis=0)
    others = compensated(repeated, hessian, tried, low, high)
    found = costs(repeated - others * tried[:, None], hessian).reshape(len(weights), -1)
    best = found.argmin(axis=1)
    better = found.min(axis=1) < least
    places = np.arange(len(weights)) * len(SHARES) + best
    codes[better], steps[better] = others[places[better]], tried[places[better]]
    for _ in range(_ROUNDS):
        _move_weights(weights, hessian, codes, steps, low, high)
        _move_steps(weights, hessian, codes, steps)
    return codes.astype(np.int8), np.where(largest > 0, steps, 0.0)


def _move_weights(
    weights: np.ndarray,
    hessian: np.ndarray,
    codes: np.ndarray,
    steps: np.ndarray,
    low: int,
    high: int,
) -> None:
    """Moves each weight in turn to the integer that costs least; changes `codes`."""
    slopes = (weights - codes * steps[:, None]) @ hessian
    for j in range(weights.shape[1]):
        wanted = np.round(codes[:, j] + slopes[:, j] / (hessian[j, j] * steps))
        change = np.clip(wanted, low, high) - codes[:, j]
        moved = np.flatnonzero(change)
        codes[moved, j] += change[moved]
        slopes[moved] -= np.outer(change[moved] * steps[moved], hessian[j])


def _move_steps(
    weights: np.ndarray, hessian: np.ndarray, codes: np.ndarray, steps: np.ndarray
) -> None:
    """Gives each filter the best step for its integers; changes `steps`."""
    squares = costs(codes, hessian)
    products = np.einsum("fi,fi->f", codes @ hessian, weights)
    positive = (squares > 0) & (products > 0)
    steps[positive] = products[positive] / squares[positive]
