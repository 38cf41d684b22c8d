"""Penalties on weights that push whole filters towards 0 while a model trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

Array = np.ndarray
# A variable with one entry for each of its axis's channels, and which channels these are (-1 for
# those of others).
Scales = Sequence[tuple[keras.Variable, Array]]
# A weight's share of the cost; and for each axis that holds channels its length, and group names
# with the channel in each entry.
Term = tuple[float, Sequence[tuple[int, Sequence[tuple[str, Array]]]]]


@keras.saving.register_keras_serializable("tfcompress")
class FilterLasso(keras.regularizers.Regularizer):
    """Adds the norms of a kernel's filters to the loss, so that whole filters become small.

    ```
    strength * sqrt(n) * sum_k ||w_k||
    ```

    with the n weights of each filter k. The gradient of a norm has the same length however small
    the filter is, so that those that the loss has little need of go all the way.

    Args:
        strength: factor of the penalty.
        axis: of the kernel, along which its filters lie.

    Reference:
        Wen et al. 2016, "Learning Structured Sparsity in Deep Neural Networks", arXiv:1608.03665,
        section 3.2.
    """

    def __init__(self, strength: float, axis: int = -1) -> None:
        self.strength = strength
        self.axis = axis

    def __call__(self, x: Any) -> Any:
        """Returns the penalty of a kernel."""
        rank = len(x.shape)
        others = [axis for axis in range(rank) if axis != self.axis % rank]
        squares = ops.sum(ops.square(x), axis=others)
        size = math.prod(x.shape[axis] for axis in others)
        # At 0 the root's derivative is infinite.
        norms = ops.sqrt(squares + keras.config.epsilon() ** 2)
        return self.strength * math.sqrt(size) * ops.sum(norms)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"strength": self.strength, "axis": self.axis}


class GroupLasso(keras.regularizers.Regularizer):
    """Adds the norms of channels to the loss, each of all weights that go with it.

    ```
    strength * sqrt(n) * sum_k ||w_k||
    ```

    with the n weights of each channel k: of the filters that make it in several layers, the scales
    that it passes, and the rows of the kernels that take it. It reads several variables, and it
    belongs to one of them: it stands in no configuration.

    Args:
        strength: factor of the penalty.
        parts: variables, each with the axis that holds channels, and the channel in each entry of
            it; -1 for those of others.

    Reference:
        Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900, section 3.3.
    """

    def __init__(self, strength: float, parts: Sequence[tuple[keras.Variable, int, Array]]) -> None:
        self.strength = strength
        self.parts = parts
        self.size = max(int(channels.max()) for _, _, channels in parts) + 1
        weights = sum(
            math.prod(variable.shape) / variable.shape[axis] * (channels >= 0).sum()
            for variable, axis, channels in parts
        )
        self.factor = strength * math.sqrt(weights / self.size)

    def __call__(self, x: Any) -> Any:
        """Returns the penalty of all parts; the variable that it belongs to is one of them."""
        squares = []
        for variable, axis, _ in self.parts:
            others = [other for other in range(len(variable.shape)) if other != axis]
            squares.append(ops.sum(ops.square(ops.convert_to_tensor(variable)), axis=others))
        channels = [channels for _, _, channels in self.parts]
        sums = ops.sum(by_channel(squares, channels, self.size), axis=1)
        # At 0 the root's derivative is infinite.
        return self.factor * ops.sum(ops.sqrt(sums + keras.config.epsilon() ** 2))


def by_channel(rows: Sequence[Any], channels: Sequence[Array], size: int) -> Any:
    """Returns the values of each channel side by side, and 0 where it has fewer than others.

    Args:
        rows: of values.
        channels: of each row the channel of each value; -1 for those of others.
        size: the number of channels.

    Returns:
        A tensor (channels, values).
    """
    owners = np.concatenate(channels)
    entries = [np.flatnonzero(owners == channel) for channel in range(size)]
    most = max(map(len, entries))
    places = [np.pad(row, (0, most - len(row)), constant_values=len(owners)) for row in entries]
    return ops.take(ops.concatenate([*rows, ops.zeros((1,))]), np.stack(places), axis=0)


class ResourcePenalty(keras.regularizers.Regularizer):
    """Adds to the loss what a network's channels cost, each by its batch normalisation's scale.

    ```
    strength * sum_l c_l * sum_a ( sum_k m_k in axis a * prod of what is alive in other axes )
    ```

    for each weight l with its share c_l of the whole cost, for each of its axes a that holds
    channels. m_k is the largest absolute scale that channel k passes, and a channel is alive if
    this is above the threshold. For a convolution that is

    ```
    c * (sum_i m_i * alive filters + alive inputs * sum_j m_j) / (inputs * filters)
    ```

    It reads several variables, and belongs to one of them: it stands in no configuration.

    Args:
        strength: factor of the penalty.
        threshold: of the scales, at and below which a channel counts as gone.
        scales: of each group of channels the scales that they pass.
        terms: weights that the cost is made of.

    Reference:
        Gordon, Eban et al. 2018, arXiv:1711.06798, sections 4.1 to 4.3.
    """

    def __init__(
        self,
        strength: float,
        threshold: float,
        scales: Mapping[str, Scales],
        terms: Sequence[Term],
    ) -> None:
        self.strength = strength
        self.threshold = threshold
        self.scales = scales
        self.terms = terms

    def __call__(self, x: Any) -> Any:
        """Returns the penalty of all scales; the variable that it belongs to is one of them."""
        sizes = {name: largest(scales) for name, scales in self.scales.items()}
        alive = {
            name: ops.cast(ops.stop_gradient(size) > self.threshold, size.dtype)
            for name, size in sizes.items()
        }
        total = ops.zeros(())
        for share, axes in self.terms:
            rows = [_sums(length, parts, sizes, alive) for length, parts in axes]
            for at, (by_scale, _) in enumerate(rows):
                others = [left for other, (_, left) in enumerate(rows) if other != at]
                total += share * math.prod(others, start=by_scale)
        return self.strength * total


def largest(scales: Scales) -> Any:
    """Returns each channel's largest absolute scale."""
    rows = [ops.abs(ops.convert_to_tensor(variable)) for variable, _ in scales]
    size = max(int(channels.max()) for _, channels in scales) + 1
    return ops.max(by_channel(rows, [channels for _, channels in scales], size), axis=1)


def _sums(
    length: int,
    parts: Sequence[tuple[str, Array]],
    sizes: Mapping[str, Any],
    alive: Mapping[str, Any],
) -> tuple[Any, Any]:
    """Returns an axis's sum of scales and its number of entries alive, by the axis's length."""
    by_scale, left = ops.zeros(()), ops.convert_to_tensor(float(length))
    for name, channels in parts:
        if name in sizes:
            held = np.bincount(channels[channels >= 0], minlength=sizes[name].shape[0])
            counts = ops.convert_to_tensor(held.astype("float32"))
            by_scale += ops.sum(counts * sizes[name])
            left -= ops.sum(counts * (1 - alive[name]))
    return by_scale / length, left / length
