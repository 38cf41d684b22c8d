"""Makes TFMOT quantizers for what TFMOT's own get wrong.

Their base classes are TFMOT's, which is imported when it is first needed; so each class is made by
a function.
"""

from __future__ import annotations

import functools
from typing import Any

from tfcompress.bridge import legacy


@functools.cache
def channel_quantizer() -> Any:
    """Returns the class of quantizers with one range for each filter of a kernel, as in the file.

    It is for kernels whose filters aren't on the last axis: TFMOT's quantizers have one range for
    the whole of these.
    """
    import tensorflow as tf

    base: Any = legacy.tfmot().quantization.keras.quantizers.Quantizer

    class ChannelQuantizer(base):
        """Rounds a kernel to 8 bits, symmetrically, each filter by its own range.

        Args:
            depthwise: whether the kernel is (height, width, channels, multiplier), and not
                (height, width, filters, channels).
        """

        def __init__(self, depthwise: bool) -> None:
            self.depthwise = depthwise

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            size = tensor_shape[-1] * tensor_shape[-2] if self.depthwise else tensor_shape[-2]
            initializers = legacy.tf_keras().initializers
            return {
                key: layer.add_weight(
                    f"{name}_{key[:3]}",
                    shape=(int(size),),
                    initializer=initializers.Constant(value),
                    trainable=False,
                )
                for key, value in (("min_var", -6.0), ("max_var", 6.0))
            }

        def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
            low, high = weights["min_var"], weights["max_var"]
            # (height, width, ...) with the filters' axis, or axes, last.
            turned = inputs if self.depthwise else tf.transpose(inputs, (0, 1, 3, 2))
            flat = tf.reshape(turned, (-1, low.shape[0]))
            if training:
                largest = tf.reduce_max(tf.abs(flat), axis=0)
                low, high = low.assign(-largest), high.assign(largest)
            rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                flat, low, high, num_bits=8, narrow_range=True
            )
            rounded = tf.reshape(rounded, turned.shape)
            return rounded if self.depthwise else tf.transpose(rounded, (0, 1, 3, 2))

        def get_config(self) -> dict[str, Any]:
            return {"depthwise": self.depthwise}

    return ChannelQuantizer


@functools.cache
def fixed_quantizer() -> Any:
    """Returns TFMOT's class of quantizers with a fixed range, mended.

    Its `build` gives None where the wrapper wants a dictionary.
    """
    base: Any = legacy.tfmot().quantization.keras.quantizers.FixedQuantizer

    class FixedQuantizer(base):
        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            return {}

    return FixedQuantizer
