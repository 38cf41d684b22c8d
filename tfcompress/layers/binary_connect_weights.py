"""A wrapper that gives a layer weights of two values, by their signs or by chance."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._rounded_kernel import RoundedKernel
from tfcompress.layers.clip_weights import ClipWeights
from tfcompress.ops import few_bits


@keras.saving.register_keras_serializable("tfcompress")
class BinaryConnectWeights(RoundedKernel):
    """Computes what a layer computes with the weights -s and s.

    ```
    forward   B = s * sign(W);  stochastic, in training: s with probability clip((W + 1) / 2, 0, 1),
              else -s
    gradient  dL/dW = s * dL/dB
    ```

    and the latent weights W are clipped to [-1, 1] after each update. A `.keras` file holds them.
    The scale s is fixed: 1 as in the paper, until `start()` sets it by the present weights.
    This layer computes in floats; `tfcompress.export` writes 1, 2 or 8 bits a weight and a scale.

    It departs from the paper in the scale, which a batch normalisation behind the layer hides, and
    in that a network that was trained by chance computes with the signs at inference, where the
    paper takes the latent weights: a file holds them in bits.

    Args:
        layer: a `Conv2D`, `Conv2DTranspose`, `Dense` or `DepthwiseConv2D` of Keras. A constraint
            of its kernel takes the place of the clipping.
        stochastic: whether weights are drawn in training.
        seed: of these draws; None for one that differs each time.

    Input shape:
        The layer's.

    Output shape:
        The layer's.

    Example:
    >>> import keras, numpy as np
    >>> dense = BinaryConnectWeights(keras.layers.Dense(1, use_bias=False))
    >>> _ = dense(np.zeros((1, 3), "float32"))
    >>> _ = dense.kernel.assign(np.array([[0.1], [-2.0], [0.0]]))
    >>> np.asarray(dense.rounded_kernel()).ravel().tolist()
    [1.0, -1.0, 1.0]

    Raises:
        ValueError: a layer of another class.

    Reference:
        Courbariaux, Bengio, David 2015, "BinaryConnect: Training Deep Neural Networks with binary
        weights during propagations", arXiv:1511.00363, sections 2.2 to 2.6.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        stochastic: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        self.stochastic = bool(stochastic)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if stochastic else None

    def build(self, input_shape: Any = None) -> None:
        """Makes the scale, and clips the latent weights from now on."""
        super().build(input_shape)
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")
        if self.kernel.constraint is None:
            self.kernel.constraint = ClipWeights(1.0)

    def start(self) -> None:
        """Sets the scale to the weights' mean size, and spreads the latent weights over [-1, 1]."""
        size = ops.abs(self._latent())
        self.scale.assign(ops.mean(size))
        self.kernel.assign(self.kernel / ops.maximum(ops.max(size), 1e-8))

    def rounded_kernel(self) -> Any:
        """Returns the weights that the layer computes with at inference."""
        return ops.cast(self.scale, self.scale.dtype) * few_bits.signs(self._latent())

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Calls the layer with weights of two values, drawn anew in training if asked."""
        if not training or self.seed_generator is None:
            return super().call(inputs)
        noise = keras.random.uniform(
            self.kernel.shape, seed=self.seed_generator, dtype=self.kernel.dtype
        )
        drawn = few_bits.signs(self._latent(), noise)
        return self._call_with(ops.cast(self.scale, self.scale.dtype) * drawn, inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "stochastic": self.stochastic, "seed": self.seed}
