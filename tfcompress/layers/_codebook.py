"""Holds what CodebookConv2D and CodebookDense share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._builtin import add_bias_and_activate, with_weights
from tfcompress.layers._logical_kernel import LogicalKernel
from tfcompress.layers.arguments import positive
from tfcompress.ops import codebooks, kmeans

# The paper's largest codebook.
_MOST = 2048
# So many blocks of the kernel for each of the book, at least.
_MEMBERS = 4


class CodebookWeights(LogicalKernel):
    """Gives a built-in layer weights that are blocks of a codebook: stands before it in the bases.

    The layer's `build` calls `_add_weights`.
    """

    _built_in: type[keras.layers.Layer]
    _stored = "a codebook"

    def __init__(self, *args: Any, centroids: int, block_channels: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(centroids, int) or not 2 <= centroids <= _MOST:
            raise ValueError(
                f"centroids must be a whole number from 2 to {_MOST}. Received: "
                f"centroids={centroids}"
            )
        self.centroids = centroids
        self.block_channels = positive("block_channels", block_channels)

    def _add_weights(self, logical_shape: tuple[int, ...]) -> None:
        """Makes the codebook, the codes and the bias.

        Args:
            logical_shape: of the built-in layer's kernel, filters last.
        """
        self._logical_shape = logical_shape
        *window, channels, filters = logical_shape
        # The most channels of a block that leave none over.
        width = next(n for n in range(self.block_channels, 0, -1) if channels % n == 0)
        groups = channels // width
        size = math.prod(window) * width
        count = max(min(self.centroids, groups * filters // _MEMBERS), 1)

        def counting(shape: tuple[int, ...], dtype: Any = None) -> Any:
            return np.reshape(np.arange(math.prod(shape)) % count, shape).astype(dtype)

        # Keras's own attribute: the property `kernel` reads it.
        self._kernel = self.codebook = self.add_weight(
            name="codebook",
            shape=(count, size),
            initializer=self._initial,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,
        )
        # Floats, for whoever copies a model's weights treats all alike.
        self.codes = self.add_weight(
            name="codes",
            shape=(groups, filters),
            initializer=counting,
            trainable=False,
            autocast=False,
        )
        self._add_bias((filters,))

    def rounded_codebook(self) -> Any:
        """Returns the codebook that the layer computes with, as a file holds it."""
        return codebooks.on_steps(self.codebook)

    def logical_kernel(self) -> Any:
        """Returns the kernel that the codes make, of the built-in layer's shape."""
        *window, channels, filters = self._logical_shape
        blocks = codebooks.expand(self.rounded_codebook(), self.codes)
        groups = blocks.shape[0]
        if not window:  # (groups, units, block) -> (groups, block, units)
            kernel = ops.transpose(blocks, (0, 2, 1))
        else:  # (groups, filters, height, width, block) -> height, width, groups, block, filters
            shape = (groups, filters, *window, channels // groups)
            kernel = ops.transpose(ops.reshape(blocks, shape), (2, 3, 0, 4, 1))
        return ops.reshape(kernel, self._logical_shape)

    def blocks_of(self, kernel: np.ndarray) -> np.ndarray:
        """Cuts a kernel of the built-in layer's shape into blocks: (groups * filters, size)."""
        *window, channels, filters = self._logical_shape
        groups = self.codes.shape[0]
        cut = np.reshape(kernel, (math.prod(window), groups, channels // groups, filters))
        return cut.transpose(1, 3, 0, 2).reshape(groups * filters, -1)

    def moments_of(self, rows: np.ndarray) -> np.ndarray:
        """Returns the mean of x x^T over what all blocks are multiplied with: (size, size).

        Args:
            rows: what outputs of the layer see: (rows, inputs), in the order of the kernel's axes.
        """
        *window, channels, _ = self._logical_shape
        groups = self.codes.shape[0]
        cut = np.reshape(rows, (len(rows), math.prod(window), groups, channels // groups))
        seen = cut.transpose(0, 2, 1, 3).reshape(len(rows) * groups, -1)
        return seen.T @ seen / len(seen)

    def project(
        self,
        kernel: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        moments: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        """Sets codebook and codes so that the logical kernel is near to a given one.

        Args:
            kernel: of the built-in layer's shape.
            bias: one value for each output channel; None for zeros.
            moments: of `moments_of`, so that the layer's outputs are kept; None to keep its
                weights.
            seed: of the blocks that k-means begins with.
        """
        count = self.codebook.shape[0]
        blocks = self.blocks_of(np.asarray(kernel))
        book, codes = kmeans.codebook(blocks, count, moments=moments, seed=seed)
        self.codebook.assign(book)
        self.codes.assign(codes.reshape(self.codes.shape).astype("float32"))
        if self.bias is not None:
            self.bias.assign(np.zeros(self.bias.shape) if bias is None else bias)

    def _compute(self, inputs: Any, product: Callable[[Any, Any], Any]) -> Any:
        """Returns the layer's outputs, from the product of the inputs with the kernel."""
        outputs = product(inputs, ops.cast(self.logical_kernel(), self.compute_dtype))
        return add_bias_and_activate(outputs, self.bias, self.activation)

    def lower(self, **_: Any) -> keras.layers.Layer:
        """Returns the built-in layer with the logical kernel."""
        names = ("centroids", "block_channels")
        config = {key: value for key, value in self.get_config().items() if key not in names}
        built_in = self._built_in.from_config(config)
        return with_weights(built_in, self.logical_kernel(), self.bias)

    def save_own_variables(self, store: Any) -> None:
        """Saves the layer's weights; Keras's layers would save kernel and bias alone."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        own = {"centroids": self.centroids, "block_channels": self.block_channels}
        return {**super().get_config(), **own}
