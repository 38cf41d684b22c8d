"""SAME padding beside TensorFlow's own."""

import hypothesis
import numpy as np
from hypothesis import strategies

from tfcompress.tflite.padding import same_pads

sides = strategies.tuples(strategies.integers(1, 12), strategies.integers(1, 12))
small = strategies.tuples(strategies.integers(1, 3), strategies.integers(1, 3))


@hypothesis.given(sides, strategies.tuples(*[strategies.integers(1, 5)] * 2), small, small)
def test_as_jax_pads(size, window, strides, dilations):
    import jax

    reach = [(w - 1) * d + 1 for w, d in zip(window, dilations, strict=True)]
    expected = jax.lax.padtype_to_pads(size, reach, strides, "SAME")
    assert same_pads(size, window, strides, dilations) == tuple(np.ravel(expected))
