"""Measures how much each output position of a convolution matters to a network's loss."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.deferred import keras

if TYPE_CHECKING:
    from tfcompress.techniques.base import Candidate

_EXAMPLES = 64


def impacts(
    model: keras.Model, layers: Collection[str], candidate: Candidate
) -> dict[str, np.ndarray]:
    """Returns by layer what the loss would change if a position weren't computed: (height, width).

    ```
    B[y, x] = sum over filters t of the mean over examples of |V[y, x, t] * dL/dV[y, x, t]|
    ```

    with the layer's output V (Figurnov et al. 2016, arXiv:1504.08362, section 3.3).

    Args:
        model: flat and with unique names.
        layers: names of convolutions that are called once.
        candidate: holds the examples.
    """
    from tfcompress.graph import rewrite
    from tfcompress.techniques._channel_gradients import examples
    from tfcompress.training.gradients import batch_gradients

    def gated(layer: Any) -> Callable[..., Any]:
        """Multiplies each output by a weight of 1, whose gradient is V * dL/dV."""
        shape = tuple(layer.output.shape)[1:]
        gate = keras.layers.EinsumDense(
            "bhwc,hwc->bhwc", shape, kernel_initializer="ones", name=f"{layer.name}_gate"
        )
        return lambda *args, **kwargs: gate(layer(*args, **kwargs))

    replace = {name: gated(model.get_layer(name)) for name in layers}
    batch, goal = examples(model, candidate, _EXAMPLES)
    sums = {name: np.zeros(tuple(model.get_layer(name).output.shape)[1:3]) for name in layers}
    for gradients in batch_gradients(rewrite(model, replace), batch, goal, 1):
        for name, total in sums.items():
            total += np.abs(np.asarray(gradients[f"{name}_gate"][0])).sum(-1)
    return sums
