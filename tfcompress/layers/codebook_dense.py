"""Fully connected layer whose weights are made of the blocks of a codebook."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._codebook import CodebookWeights


@keras.saving.register_keras_serializable("tfcompress")
class CodebookDense(CodebookWeights, keras.layers.Dense):
    """Multiplies by a matrix V that is looked up block by block: `y = x @ V + b`.

    ```
    forward   V[g * c : (g + 1) * c, u] = B[code[g, u]]      g: groups of c inputs
    gradient  dL/dB[k] = mean of dL/dV[g * c : (g + 1) * c, u] over code[g, u] = k
    ```

    `CodebookConv2D` explains how blocks and codes are trained, chosen and stored, and where that
    departs from the papers.

    Args:
        units: as in `keras.layers.Dense`.
        centroids: blocks of the codebook, 2 to 2048; at most a quarter of the matrix's blocks. 181,
            the default, is the most of which a file holds two codes in 16 bits.
        block_channels: inputs c of a block, 4 by default; where they don't divide the number of
            inputs, the most below that do.
        activation, use_bias, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `keras.layers.Dense`;
            the kernel's act on the codebook.
        kernel_initializer: as in `keras.layers.Dense`; called with the shape of V, of which the
            first values are taken.

    Input shape:
        `(batch, ..., inputs)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    >>> import keras
    >>> layer = CodebookDense(32, centroids=16, use_bias=False)
    >>> layer(keras.ops.ones((2, 40))).shape == (2, 32)
    True
    >>> layer.codebook.shape == (16, 4) and layer.codes.shape == (10, 32)
    True

    Raises:
        ValueError: `centroids` or `block_channels` is out of range, or the layer is given a
            `lora_rank`.

    Reference:
        Gong, Liu, Yang, Bourdev 2014, "Compressing Deep Convolutional Networks using Vector
        Quantization", arXiv:1412.6115, section 3.3; Stock et al. 2020, arXiv:1907.05686.
    """

    _built_in = keras.layers.Dense

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        centroids: int = 181,
        block_channels: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            centroids=centroids,
            block_channels=block_channels,
            **kwargs,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes codebook, codes and bias."""
        inputs: Any = input_shape[-1]
        self._add_weights((inputs, self.units))
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: inputs})
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Maps (batch, ..., inputs) to (batch, ..., units)."""
        return self._compute(inputs, ops.matmul)
