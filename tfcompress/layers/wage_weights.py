"""A wrapper that gives a layer fixed-point weights of a few bits, and passes errors of a few."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfcompress.layers._rounded_kernel import RoundedKernel
from tfcompress.ops import fixed_point

# How many steps of the grid the first weights reach at least (section 3.2: above 1).
_BETA = 1.5


@keras.saving.register_keras_serializable("tfcompress")
class WageWeights(RoundedKernel):
    """Computes what a layer computes with fixed-point weights divided by a power of two.

    ```
    forward   Q = clip(s * round(W / s), s - 1, 1 - s) / alpha,  s = 2^(1 - num_bits),
              alpha = 2^(input_shift + max(0, round(log2(L_min / L)))),
              L_min = 1.5 * s,  L = sqrt(3 / n) for the n weights of a filter
    gradient  straight through the rounding: dL/dW = (dL/dQ) / alpha
    errors    in training the gradient e at the layer's outputs becomes
              clip(t * round(e / (t * Shift(max |e|))), t - 1, 1 - t),  t = 2^(1 - error_bits)
    ```

    2 bits are the three values -1/2, 0 and 1/2, divided by alpha. There is no scale that is
    trained, and no batch normalisation is needed: alpha makes the weights' variance 1/n, nearly. L
    is that of the authors' code. The latent weights W stay between s - 1 and 1 - s where
    `IntegerSGD` (`tfcompress.training.shift_optimizers`) trains them with `largest=1 - s`. Other
    optimizers see gradients without their size: rounded errors are 1 at most.

    Args:
        layer: a `Conv2D`, `Conv2DTranspose`, `Dense` or `DepthwiseConv2D` of Keras.
        num_bits: of the weights, 2 to 8.
        error_bits: of the errors that come back through the layer, 2 to 16; 32 rounds none.
        input_shift: the inputs are up to `2^input_shift`, and the weights are divided by it.

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Example:
    >>> import keras, numpy as np
    >>> dense = WageWeights(keras.layers.Dense(1, use_bias=False))
    >>> _ = dense(np.zeros((1, 3), "float32"))
    >>> _ = dense.kernel.assign(np.array([[0.1], [-0.9], [0.3]]))
    >>> np.asarray(dense.rounded_kernel()).ravel().tolist()
    [0.0, -0.5, 0.5]

    Raises:
        ValueError: a layer of another class, or another number of bits.

    Reference:
        Wu, Li, Chen, Shi 2018, "Training and Inference with Integers in Deep Neural Networks",
        arXiv:1802.04680, sections 3.2 and 3.3.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        num_bits: int = 2,
        error_bits: int = 8,
        input_shift: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        if num_bits not in range(2, 9):
            raise ValueError(f"num_bits must be from 2 to 8. Received: num_bits={num_bits}")
        if error_bits not in (*range(2, 17), 32):
            raise ValueError(
                f"error_bits must be from 2 to 16, or 32. Received: error_bits={error_bits}"
            )
        self.num_bits = int(num_bits)
        self.error_bits = int(error_bits)
        self.input_shift = int(input_shift)

    def build(self, input_shape: Any = None) -> None:
        """Spreads the first weights over the grid."""
        super().build(input_shape)
        self.start()

    @property
    def limit(self) -> float:
        """The largest of first weights that are spread evenly: 1.5 steps of the grid, or more."""
        return max(self._even_limit(), _BETA * fixed_point.step(self.num_bits))

    @property
    def alpha(self) -> float:
        """The power of two that the weights are divided by."""
        ratio = _BETA * fixed_point.step(self.num_bits) / self._even_limit()
        return float(2.0 ** (self.input_shift + max(0, round(math.log2(ratio)))))

    def _even_limit(self) -> float:
        """Returns the largest of weights of variance 1/n that are spread evenly."""
        return math.sqrt(3.0 / math.prod(self.kernel.shape[axis] for axis in self.filter_axes))

    def start(self) -> None:
        """Gives the present weights the root mean square of first ones: `limit / sqrt(3)`."""
        kernel = self._latent()
        size = ops.sqrt(ops.mean(ops.square(kernel)))
        spread = kernel * (self.limit / math.sqrt(3.0) / ops.maximum(size, 1e-8))
        self.kernel.assign(ops.clip(spread, -1.0, 1.0))

    def rounded_kernel(self) -> Any:
        """Returns the weights that the layer computes with."""
        return fixed_point.rounded_weights(self._latent(), self.num_bits) / self.alpha

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Calls the layer with the rounded kernel; in training its errors are rounded."""
        outputs = super().call(inputs)
        if not training or self.error_bits == 32:
            return outputs
        return fixed_point.rounded_errors(outputs, self.error_bits)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        names = ("num_bits", "error_bits", "input_shift")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
