"""A wrapper that gives a layer weights on even levels, and gradients of a few bits."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._rounded_kernel import RoundedKernel
from tfcompress.ops import few_bits


@keras.saving.register_keras_serializable("tfcompress")
class DoReFaWeights(RoundedKernel):
    """Computes what a layer computes with its weights on `2^num_bits` even levels without 0.

    ```
    t = tanh(W), n = 2^num_bits - 1
    forward   Q = s * (2 * round(n * (t / (2 * max |t|) + 1/2)) / n - 1);  1 bit: s * sign(W),
              s the layer's mean |W|
    gradient  straight through the rounding, then that of the formula
    ```

    With `binning="statistics"` the levels end at a bound that follows from the weights' mean size
    and root mean square (SAWB), gradients pass straight through, and there is no scale.

    With fewer than 32 `gradient_bits` the gradient that reaches the layer's outputs is rounded as
    well, with noise, over the range of each example: in training only.

    The scale s of 2 and more bits is fixed: 1 as in the paper, until `start()` sets it by the
    present weights. Training changes the latent weights W, and a `.keras` file holds them.

    The levels are odd multiples of s / n. A file's integers are symmetric around 0, so that 1 bit
    is stored in 2, 2 and 3 bits are in 4, and up to 7 in 8, without error; 8 bits of this grid
    take 9, and are rounded.

    Args:
        layer: a `Conv2D`, `Conv2DTranspose`, `Dense` or `DepthwiseConv2D` of Keras.
        num_bits: of the weights, 1 to 8.
        gradient_bits: of the gradients behind the layer, 2 to 8; 32 leaves them.
        seed: of the gradients' noise; None for one that differs each time.
        binning: `tanh`, or `statistics`, of 2, 3, 4, 5 or 8 bits.

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Example:
    >>> import keras, numpy as np
    >>> dense = DoReFaWeights(keras.layers.Dense(1, use_bias=False), num_bits=2)
    >>> _ = dense(np.zeros((1, 3), "float32"))
    >>> _ = dense.kernel.assign(np.array([[0.1], [-2.0], [0.9]]))
    >>> [f"{value:.3f}" for value in np.asarray(dense.rounded_kernel()).ravel()]
    ['0.333', '-1.000', '1.000']

    Raises:
        ValueError: a layer of another class, another number of bits, or another binning.

    Reference:
        Zhou, Wu, Ni, Zhou, Wen, Zou 2016, "DoReFa-Net: Training Low Bitwidth Convolutional Neural
        Networks with Low Bitwidth Gradients", arXiv:1606.06160, sections 2.3 and 2.5; Choi et al.
        2018, "Bridging the Accuracy Gap for 2-bit Quantized Neural Networks", arXiv:1807.06964,
        section 3.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        num_bits: int = 3,
        gradient_bits: int = 32,
        seed: int | None = None,
        binning: str = "tanh",
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        if num_bits not in range(1, 9):
            raise ValueError(f"num_bits must be from 1 to 8. Received: num_bits={num_bits}")
        if gradient_bits not in (*range(2, 9), 32):
            raise ValueError(
                f"gradient_bits must be from 2 to 8, or 32. Received: gradient_bits={gradient_bits}"
            )
        if binning not in ("tanh", "statistics"):
            raise ValueError(
                f"binning must be 'tanh' or 'statistics'. Received: binning={binning!r}"
            )
        if binning == "statistics" and num_bits not in few_bits.SAWB_FACTORS:
            raise ValueError(
                "num_bits must be one of 2, 3, 4, 5, 8 with binning='statistics'. Received: "
                f"num_bits={num_bits}"
            )
        self.binning = binning
        self.num_bits = int(num_bits)
        self.gradient_bits = int(gradient_bits)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if gradient_bits < 32 else None

    def build(self, input_shape: Any = None) -> None:
        """Makes the scale."""
        super().build(input_shape)
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")

    def start(self) -> None:
        """Sets the scale with which the levels are nearest to the present weights."""
        if self.num_bits == 1 or self.binning == "statistics":
            return  # By the weights at any time.
        kernel = self._latent()
        levels = few_bits.even_levels(kernel, self.num_bits)
        self.scale.assign(ops.sum(kernel * levels) / ops.sum(levels * levels))

    def rounded_kernel(self) -> Any:
        """Returns the weights that the layer computes with."""
        if self.binning == "statistics":
            return few_bits.statistics_levels(self._latent(), self.num_bits)
        scale = ops.cast(self.scale, self.scale.dtype)
        return scale * few_bits.even_levels(self._latent(), self.num_bits)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Calls the layer with the rounded kernel; in training its gradient may be rounded."""
        outputs = super().call(inputs)
        if not training or self.seed_generator is None:
            return outputs
        noise = keras.random.uniform(
            ops.shape(outputs), -0.5, 0.5, seed=self.seed_generator, dtype=outputs.dtype
        )
        return few_bits.rounded_gradient(outputs, noise, self.gradient_bits)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        names = ("num_bits", "gradient_bits", "seed", "binning")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
