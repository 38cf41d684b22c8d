"""A wrapper that gives a layer weights of a few bits, with steps that are trained."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._rounded_kernel import RoundedKernel
from tfcompress.ops import few_bits


@keras.saving.register_keras_serializable("tfcompress")
class LearnedStepWeights(RoundedKernel):
    """Computes what a layer computes with its weights on a grid of a few bits for each filter.

    ```
    forward   Q = s * round(clip(W / s, -Qn, Qp)),  Qn = 2^(bits-1), Qp = Qn - 1
    gradient  dL/dW = dL/dQ within the range, else 0
              dL/ds = sum of dL/dQ * (round(W/s) - W/s within, -Qn below, Qp above) / sqrt(n * Qp)
    ```

    with a trained step s for each filter of n weights. Training changes the latent weights W, and
    a `.keras` file holds them. This layer computes in floats; `tfcompress.export` writes exactly
    these integers and steps by `storage="int2"`, `"int4"` or `"dynamic"`.

    It departs from the paper in that a step is a filter's, not a layer's: files hold one for each.
    Of 8 bits, -128 isn't used.

    Args:
        layer: a `Conv2D`, `Conv2DTranspose`, `Dense` or `DepthwiseConv2D` of Keras.
        num_bits: of the integers, 2 to 8.

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Example:
    >>> import keras, numpy as np
    >>> dense = LearnedStepWeights(keras.layers.Dense(1, use_bias=False), num_bits=2)
    >>> _ = dense(np.zeros((1, 3), "float32"))
    >>> _ = dense.kernel.assign(np.array([[-3.0], [-0.6], [0.9]]))
    >>> _ = dense.step.assign(np.array([[1.0]]))
    >>> np.asarray(dense.rounded_kernel()).ravel().tolist()
    [-2.0, -1.0, 1.0]

    Raises:
        ValueError: a layer of another class, or `num_bits` isn't 2 to 8.

    Reference:
        Esser, McKinstry, Bablani, Appuswamy, Modha 2020, "Learned Step Size Quantization",
        arXiv:1902.08153, section 2.
    """

    def __init__(self, layer: keras.layers.Layer, num_bits: int = 4, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        if num_bits not in range(2, 9):
            raise ValueError(f"num_bits must be from 2 to 8. Received: num_bits={num_bits}")
        self.num_bits = int(num_bits)

    def build(self, input_shape: Any = None) -> None:
        """Makes the steps, from the first weights."""
        super().build(input_shape)
        shape = few_bits.shape_of_scales(self.kernel.shape, self.filter_axes)
        self.step = self.add_weight(shape=shape, initializer="zeros", name="step")
        self.start()

    def start(self) -> None:
        """Sets the steps by the present weights."""
        self.step.assign(few_bits.first_step(self._latent(), self.filter_axes, self.num_bits))

    def rounded_kernel(self) -> Any:
        """Returns the weights that the layer computes with."""
        step = ops.cast(self.step, self.step.dtype)
        integers = few_bits.levels(self.num_bits)
        return few_bits.learned_step(self._latent(), step, self.filter_axes, integers)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "num_bits": self.num_bits}
