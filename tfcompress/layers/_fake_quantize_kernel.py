"""A wrapper that rounds a layer's kernel to 8 bits, in floats, whenever the layer is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfcompress.layers._rounded_kernel import FILTER_AXES, RoundedKernel
from tfcompress.ops import clustering, fake_quantize

# The axes of the kernels that one range is taken over: all of a dense layer's.
_AXES: dict[str, tuple[int, ...] | None] = {**FILTER_AXES, "Dense": None}


@keras.saving.register_keras_serializable("tfcompress")
class FakeQuantizeKernel(RoundedKernel):
    """Computes what a layer computes with its kernel rounded to the grid of an 8-bit file.

    ```
    forward   y = layer(x) with s * round(kernel / s) in place of the kernel
    gradient  that of the rounded kernel, passed straight through to the kernel
    ```

    with a step `s = max |kernel| / 127` for each filter, of a dense layer one for all weights. The
    range is always that of the present weights, in training and at inference.

    Args:
        layer: a `Conv2D`, `Conv2DTranspose`, `Dense` or `DepthwiseConv2D`.
        keep_zeros: whether weights that are 0 get no gradient, so that they stay 0.
        shared_values: shape of the values that the kernel's weights share: (values,), or (filters,
            values) where each filter of a `Conv2D` has its own. They are weights, trained as
            TFMOT's cluster-preserving quantization trains them. None shares nothing.

    Raises:
        ValueError: a layer of another class.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3; TFMOT's weight quantizers, PQAT,
        CQAT and PCQAT among them.
    """

    few_bits = False

    def __init__(
        self,
        layer: keras.layers.Layer,
        keep_zeros: bool = False,
        shared_values: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        self.keep_zeros = bool(keep_zeros)
        self.shared_values = tuple(shared_values) if shared_values else None
        self.values: keras.Variable | None = None

    def build(self, input_shape: Any = None) -> None:
        """Makes the shared values."""
        if self.shared_values:
            self.values = self.add_weight(
                shape=self.shared_values, initializer="zeros", name="shared_values"
            )
        super().build(input_shape)

    def rounded_kernel(self) -> Any:
        """Returns the weights that the layer computes with."""
        kernel = self._kept(self._latent())
        if self.values is not None:
            kernel = clustering.share(kernel, self._kept(ops.cast(self.values, self.values.dtype)))
        return fake_quantize.fake_quantize_weights(kernel, _AXES[type(self.layer).__name__])

    def _kept(self, weights: Any) -> Any:
        """Returns weights of which zeros get no gradient, if zeros are to stay."""
        if not self.keep_zeros:
            return weights
        return weights * ops.stop_gradient(ops.cast(weights != 0, weights.dtype))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        config = {"keep_zeros": self.keep_zeros, "shared_values": self.shared_values}
        return {**super().get_config(), **config}
