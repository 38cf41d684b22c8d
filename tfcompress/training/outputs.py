"""Tells what a model's outputs are: logits, probabilities or other values."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.graph.nodes import functional, inputs_of, is_nested, place_of_output, producer
from tfcompress.layers.fake_quantize import FakeQuantize


def ends_in_softmax(model: keras.Model) -> bool:
    """Says whether the first output is probabilities; the builders' networks give logits."""
    return endings(model)[0] == "softmax"


def endings(model: keras.Model) -> tuple[str, ...]:
    """Returns the name of each output's activation, such as `softmax`; `linear` if it has none."""
    model = functional(model)
    return tuple(_ending(output) for output in model.outputs)


def _ending(output: Any) -> str:
    """Returns the name of the activation that gives a tensor, rounded or not."""
    last = producer(output)
    while isinstance(last, FakeQuantize):
        output = inputs_of(output)[0]
        last = producer(output)
    if is_nested(last):
        return endings(last)[place_of_output(output)]
    # The layer, or the operation behind keras.ops.softmax and keras.activations.softmax.
    kind = type(last).__name__
    if kind in ("Softmax", "Sigmoid"):
        return kind.lower()
    return getattr(getattr(last, "activation", None), "__name__", "linear")


def as_logits(outputs: Any, softmax: bool) -> Any:
    """Returns a model's outputs as logits: of probabilities, their logarithms."""
    return ops.log(ops.clip(outputs, 1e-7, 1.0)) if softmax else outputs
