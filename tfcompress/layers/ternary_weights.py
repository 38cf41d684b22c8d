"""A wrapper that gives a layer weights of three values a filter."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._rounded_kernel import RoundedKernel
from tfcompress.ops import few_bits


@keras.saving.register_keras_serializable("tfcompress")
class TernaryWeights(RoundedKernel):
    """Computes what a layer computes with the weights -s, 0 and s in each filter.

    ```
    forward   T = s * sign(W) * [|W| > D]
    TWN       D = threshold * mean |W|, s = mean of the |W| above D;  dL/dW = dL/dT
    TTQ       D = threshold * max |W|, s trained;  dL/ds = sum of sign(W) * dL/dT above D,
              dL/dW = dL/dT * (s above D, else 1)
    ```

    Training changes the latent weights W, and a `.keras` file holds them. This layer computes in
    floats; `tfcompress.export` writes 2 bits a weight and a scale for each filter by
    `storage="int2"`.

    It departs from the papers in that each filter has a scale and a threshold of its own, and from
    TTQ in that positive and negative weights share the scale: no integer type holds two.

    Args:
        layer: a `Conv2D`, `Conv2DTranspose`, `Dense` or `DepthwiseConv2D` of Keras.
        trained_scale: whether s is trained (TTQ) or follows from the weights (TWN).
        threshold: as above; None for 0.7 (TWN) or 0.05 (TTQ).

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Example:
    >>> import keras, numpy as np
    >>> dense = TernaryWeights(keras.layers.Dense(1, use_bias=False))
    >>> _ = dense(np.zeros((1, 4), "float32"))
    >>> _ = dense.kernel.assign(np.array([[0.1], [-2.0], [1.0], [0.3]]))
    >>> np.asarray(dense.rounded_kernel()).ravel().tolist()
    [0.0, -1.5, 1.5, 0.0]

    Raises:
        ValueError: a layer of another class, or a threshold that isn't from 0 to below 1.

    Reference:
        Li, Zhang, Liu 2016, "Ternary Weight Networks", arXiv:1605.04711, section 2; Zhu, Han, Mao,
        Dally 2017, "Trained Ternary Quantization", arXiv:1612.01064, section 3.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        trained_scale: bool = False,
        threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        if threshold is not None and not 0 <= threshold < 1:
            raise ValueError(f"threshold must be from 0 to below 1. Received: {threshold}")
        self.trained_scale = bool(trained_scale)
        self.threshold = threshold
        self.scale: keras.Variable | None = None

    def build(self, input_shape: Any = None) -> None:
        """Makes the scale, if it is trained, from the first weights."""
        super().build(input_shape)
        if self.trained_scale:
            shape = few_bits.shape_of_scales(self.kernel.shape, self.filter_axes)
            self.scale = self.add_weight(shape=shape, initializer="zeros", name="scale")
            self.start()

    def start(self) -> None:
        """Sets a trained scale to the mean of the present weights above the threshold."""
        if self.scale is not None:
            self.scale.assign(
                few_bits.mean_above(self._latent(), self.filter_axes, self._threshold())
            )

    def rounded_kernel(self) -> Any:
        """Returns the weights that the layer computes with."""
        if self.scale is None:
            return few_bits.ternary(self._latent(), self.filter_axes, self._threshold())
        scale = ops.cast(self.scale, self.scale.dtype)
        return few_bits.trained_ternary(self._latent(), scale, self.filter_axes, self._threshold())

    def _threshold(self) -> float:
        if self.threshold is not None:
            return self.threshold
        return 0.05 if self.trained_scale else 0.7

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        config = {"trained_scale": self.trained_scale, "threshold": self.threshold}
        return {**super().get_config(), **config}
