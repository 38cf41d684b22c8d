"""Penalties on weights that push whole filters towards 0 while a model trains."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


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
