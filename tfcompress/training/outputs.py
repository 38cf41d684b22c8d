"""Tells logits from probabilities at the end of a classifier."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.graph.nodes import functional, is_nested, producer


def ends_in_softmax(model: keras.Model) -> bool:
    """Says whether the last layer gives probabilities; the builders' networks give logits."""
    model = functional(model)
    last = producer(model.outputs[0])
    if is_nested(last):
        return ends_in_softmax(last)
    # The layer, or the operation behind keras.ops.softmax and keras.activations.softmax.
    if type(last).__name__ == "Softmax":
        return True
    return getattr(getattr(last, "activation", None), "__name__", "") == "softmax"


def as_logits(outputs: Any, softmax: bool) -> Any:
    """Returns a model's outputs as logits: of probabilities, their logarithms."""
    return ops.log(ops.clip(outputs, 1e-7, 1.0)) if softmax else outputs
