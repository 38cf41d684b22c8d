"""Keeps 1x1 convolutions with strides from a fault of TensorFlow that ends the process.

In TensorFlow 2.21 on a CPU, oneDNN writes past its buffers in the gradient of such a convolution
of fewer input channels than a vector register has numbers (16 with AVX-512, 8 with AVX2): `free():
invalid size`, whatever the batch. The residual branches of Xception-like nets are such layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

# oneDNN's widest block of channels.
_CHANNELS = 16


@contextlib.contextmanager
def unit_strides(layers: Iterable[Any]) -> Iterator[None]:
    """Lets 1x1 convolutions drop first what their strides pass over, and then have strides of 1.

    The values are the same. The layers are themselves again when the context ends.

    Args:
        layers: of Keras 3 or tf_keras, or wrappers around them; those that aren't concerned stay
            as they are.
    """
    changed: list[Any] = []
    if keras.backend.backend() == "tensorflow":
        inner = [getattr(layer, "layer", layer) for layer in layers]
        every = {id(layer): layer for layer in inner}  # One that is shared stands there twice.
        changed = [layer for layer in every.values() if _is_concerned(layer)]
    for layer in changed:
        layer.convolution_op = _on_sample(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.convolution_op


def _is_concerned(layer: Any) -> bool:
    """Returns whether it is a built 1x1 convolution of few channels with strides."""
    if not hasattr(layer, "convolution_op") or set(layer.kernel_size) != {1} or not layer.built:
        return False
    channels = layer.input_spec.axes.get(-1, _CHANNELS)  # Of channels_last.
    return max(layer.strides) > 1 and channels < _CHANNELS


def _on_sample(layer: Any) -> Callable[..., Any]:
    """Returns what computes as the layer's `convolution_op`, with strides of 1."""
    convolve, strides = layer.convolution_op, layer.strides
    sample = (slice(None), *(slice(None, None, stride) for stride in strides))

    def convolve_sample(inputs: Any, kernel: Any) -> Any:
        layer.strides = (1,) * len(strides)
        try:
            return convolve(inputs[sample], kernel)
        finally:
            layer.strides = strides

    return convolve_sample
