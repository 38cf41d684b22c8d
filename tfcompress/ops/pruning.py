"""Chooses the weights that magnitude pruning leaves, and how many at which step.

Every function equals TFMOT's to the last bit in TensorFlow: its schedules
(`pruning_schedule.py`), its threshold with ties, its blocks and its m by n (`pruning_impl.py`).
"""

from __future__ import annotations

from typing import Any

from keras import ops


def changes_at(step: Any, begin: int, end: int, frequency: int) -> Any:
    """Says whether the masks change at a step.

    Args:
        step: counted from 1, an integer or a scalar tensor.
        begin: first step at which they may change.
        end: last one; -1 for no end.
        frequency: steps between two changes, counted from `begin`.

    Returns:
        A boolean scalar.
    """
    step = ops.convert_to_tensor(step)
    in_range = ops.logical_and(step >= begin, ops.logical_or(step <= end, end < 0))
    return ops.logical_and(in_range, ops.equal(ops.mod(step - begin, frequency), 0))


def polynomial_sparsity(
    step: Any, initial: float, final: float, begin: int, end: int, power: float
) -> Any:
    """Returns the share of zeros at a step.

    ```
    p = clip((step - begin) / (end - begin), 0, 1)
    share = final + (initial - final) * (1 - p)^power
    ```

    Returns:
        A float32 scalar.

    Reference:
        Zhu and Gupta 2017, arXiv:1710.01878, section 3.
    """
    done = ops.cast(ops.convert_to_tensor(step) - begin, "float32") / (end - begin)
    left = 1 - ops.minimum(1.0, ops.maximum(0.0, done))
    return (initial - final) * ops.power(left, power) + final


def magnitude_mask(weights: Any, sparsity: Any) -> Any:
    """Returns 1 for the largest weights and 0 for the others.

    Of `n` weights `k = max(1, round(n * (1 - sparsity)))` are left, and those as large as the
    smallest of them.

    Args:
        weights: any shape.
        sparsity: share of zeros, a float32 scalar.

    Returns:
        The mask, of the weights' shape and dtype.
    """
    sizes = ops.abs(weights)
    count = 1
    for side in sizes.shape:
        count *= side
    share = 1 - ops.cast(sparsity, "float32")
    left = ops.cast(ops.maximum(ops.round(float(count) * share), 1.0), "int32")
    threshold = ops.take(ops.sort(ops.reshape(sizes, (-1,))), count - left)
    return ops.cast(sizes >= threshold, weights.dtype)


def block_mask(weights: Any, sparsity: Any, block: tuple[int, int]) -> Any:
    """Returns a mask whose blocks are left or zero as a whole, by the mean of their magnitudes.

    Where the sides are no multiples of the block's, means are taken of windows that stand
    centred, and the blocks of the mask from the first row and column on, as TFMOT does.

    Args:
        weights: two axes longer than 1.
        sparsity: share of zero blocks, a float32 scalar.
        block: rows and columns.

    Returns:
        The mask, of the weights' shape and dtype.
    """
    rows, columns = (side for side in weights.shape if side > 1)
    means = ops.reshape(ops.abs(weights), (1, rows, columns, 1))
    for window in ((block[0], 1), (1, block[1])):
        means = ops.average_pool(means, window, window, "same", "channels_last")
    mask = magnitude_mask(means[0, :, :, 0], sparsity)
    mask = ops.repeat(ops.repeat(mask, block[0], axis=0), block[1], axis=1)
    return ops.reshape(mask[:rows, :columns], weights.shape)


def m_by_n_mask(weights: Any, zeros: int, of: int) -> Any:
    """Returns a mask with so many zeros in every group of consecutive inputs of an output.

    Args:
        weights: a kernel (inputs, outputs) or (height, width, inputs, outputs).
        zeros: in a group; of equal weights the later ones.
        of: size of a group; the last one of a row is filled up with zeros.

    Returns:
        The mask, of the weights' shape and dtype.
    """
    rank = len(weights.shape)
    sizes = ops.transpose(ops.abs(weights), (rank - 1, *range(rank - 1)))  # Inputs come last.
    inputs = sizes.shape[-1]
    padding = -inputs % of
    padded = ops.pad(sizes, [(0, 0)] * (rank - 1) + [(0, padding)])
    _, left = ops.top_k(ops.reshape(padded, (-1, of)), of - zeros)
    mask = ops.sum(ops.one_hot(left, of, dtype=weights.dtype), 1)  # (groups, of)
    mask = ops.reshape(mask, padded.shape)[..., :inputs]
    return ops.transpose(mask, (*range(1, rank), 0))
