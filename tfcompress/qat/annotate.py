"""TFMOT's quantizers, put where the layout says."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from tfcompress.bridge import legacy
from tfcompress.qat.layout import QuantSpec


def annotated(model: Any, places: dict[str, QuantSpec], preserve: frozenset[str]) -> Any:
    """The tf_keras model wrapped for quantization-aware training, with weights of its own.

    Args:
        model: made by `to_tf_keras` from a ready model.
        places: of its layers, by name; others stay as they are.
        preserve: of `sparsity` and `clusters`.

    Reference:
        The weight quantizers that preserve are TFMOT's PQAT, CQAT and PCQAT,
        `tfmot.experimental.combine`.
    """
    classes = _classes()
    quantization = legacy.tfmot().quantization.keras

    def wrap(layer: Any) -> Any:
        place = places.get(layer.name)
        if place is None or (place.kernel is None and place.output == "none"):
            return layer
        config = classes.Config(place.kernel, place.output, place.fixed, sorted(preserve))
        return quantization.quantize_annotate_layer(layer, config)

    legacy_keras = legacy.tf_keras()
    with quantization.quantize_scope({"Config": classes.Config}):
        wrapped = legacy_keras.models.clone_model(model, clone_function=wrap)
        return quantization.quantize_apply(wrapped, classes.Scheme())


@functools.cache
def _classes() -> SimpleNamespace:
    """Classes with TFMOT's as bases, made when it is first needed."""
    import tensorflow as tf

    tfmot: Any = legacy.tfmot()
    quantization = tfmot.quantization.keras
    quantizers: Any = quantization.quantizers
    config_base: Any = quantization.QuantizeConfig
    scheme_base: Any = quantization.default_8bit.Default8BitQuantizeScheme
    combine = tfmot.experimental.combine

    class ChannelQuantizer(quantizers.Quantizer):
        """Of kernels whose filters aren't on the last axis: one range a filter, as in the file.

        TFMOT's quantizers have one range for the whole of these kernels.
        """

        def __init__(self, depthwise: bool) -> None:
            # (height, width, channels, multiplier), or (height, width, filters, channels).
            self.depthwise = depthwise

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            size = tensor_shape[-1] * tensor_shape[-2] if self.depthwise else tensor_shape[-2]
            initial = legacy.tf_keras().initializers
            return {
                key: layer.add_weight(
                    f"{name}_{key[:3]}",
                    shape=(int(size),),
                    initializer=initial.Constant(value),
                    trainable=False,
                )
                for key, value in (("min_var", -6.0), ("max_var", 6.0))
            }

        def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
            low, high = weights["min_var"], weights["max_var"]
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

    class Config(config_base):
        """One layer's place."""

        def __init__(
            self, kernel: str | None, output: str, fixed: Any, preserve: list[str]
        ) -> None:
            self.kernel = kernel
            self.output = output
            self.fixed = fixed
            self.preserve = preserve

        def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
            if self.kernel is None:
                return []
            return [(getattr(layer, self.kernel), self._weight_quantizer(layer))]

        def _weight_quantizer(self, layer: Any) -> Any:
            kind = type(layer).__name__
            if kind in ("DepthwiseConv2D", "Conv2DTranspose"):
                return ChannelQuantizer(kind == "DepthwiseConv2D")
            # A scheme for each layer: TFMOT's shares one quantizer among all, and the first layer
            # without zeros would turn sparsity preservation off for those behind it.
            if "clusters" in self.preserve:
                scheme = combine.Default8BitClusterPreserveQuantizeScheme(
                    preserve_sparsity="sparsity" in self.preserve
                )
            elif "sparsity" in self.preserve:
                scheme = combine.Default8BitPrunePreserveQuantizeScheme()
            else:
                scheme = quantization.default_8bit.Default8BitQuantizeScheme()
            config = scheme.get_quantize_registry().get_quantize_config(layer)
            return config.weight_quantizer

        def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
            if self.kernel is not None:
                setattr(layer, self.kernel, quantize_weights[0])

        def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
            """There are none: each is a layer of its own."""
            del quantize_activations  # AutoGraph can't read a body without a statement.

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            settings = {"num_bits": 8, "per_axis": False, "symmetric": False, "narrow_range": False}
            if self.output == "input":
                return [quantizers.AllValuesQuantizer(**settings)]
            if self.output == "range":
                return [quantizers.MovingAverageQuantizer(**settings)]
            if self.output == "fixed":
                low, high = self.fixed
                return [FixedQuantizer(8, low, high, False)]
            return []

        def get_config(self) -> dict[str, Any]:
            return {
                "kernel": self.kernel,
                "output": self.output,
                "fixed": self.fixed,
                "preserve": self.preserve,
            }

    class FixedQuantizer(quantizers.FixedQuantizer):
        """TFMOT's, whose `build` gives None where the wrapper wants a dictionary."""

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            return {}

    class Registry:
        """Quantises nothing by itself: every layer brings its own configuration."""

        def supports(self, layer: Any) -> bool:
            return False

    class Layout:
        """Leaves the model's layers as they are."""

        def apply(self, model: Any, layer_quantize_map: Any) -> tuple[Any, Any]:
            return model, layer_quantize_map

    class Scheme(scheme_base):
        """TFMOT's default scheme with the layout and registry above."""

        def get_layout_transformer(self) -> Any:
            return Layout()

        def get_quantize_registry(self) -> Any:
            return Registry()

    return SimpleNamespace(Config=Config, Scheme=Scheme)
