"""Puts TFMOT's quantizers where the layout says."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

from tfcompress.bridge import legacy
from tfcompress.qat.layout import QuantSpec
from tfcompress.qat.quantizers import channel_quantizer, fixed_quantizer


def annotate(model: Any, specs: Mapping[str, QuantSpec], preserve: frozenset[str]) -> Any:
    """Returns the tf_keras model wrapped for quantization-aware training, with its own weights.

    Args:
        model: made by `to_tf_keras` from a prepared model.
        specs: how its layers are quantised, by name; others stay as they are.
        preserve: of `sparsity` and `clusters`.

    Reference:
        The weight quantizers that preserve are TFMOT's PQAT, CQAT and PCQAT,
        `tfmot.experimental.combine`.
    """
    quantization = legacy.tfmot().quantization.keras
    config = _config_class()

    def wrap(layer: Any) -> Any:
        spec = specs.get(layer.name)
        if spec is None or (spec.kernel is None and spec.output == "none"):
            return layer
        settings = config(spec.kernel, spec.output, spec.fixed_range, sorted(preserve))
        return quantization.quantize_annotate_layer(layer, settings)

    with quantization.quantize_scope({"LayerConfig": config}):
        wrapped = legacy.tf_keras().models.clone_model(model, clone_function=wrap)
        return quantization.quantize_apply(wrapped, _scheme_class()())


@functools.cache
def _config_class() -> Any:
    """Returns the class that tells TFMOT how one layer is quantised, a `QuantSpec` of its own."""
    base: Any = legacy.tfmot().quantization.keras.QuantizeConfig

    class LayerConfig(base):
        """Answers TFMOT's questions for one layer."""

        def __init__(
            self, kernel: str | None, output: str, fixed_range: Any, preserve: list[str]
        ) -> None:
            self.kernel = kernel
            self.output = output
            self.fixed_range = fixed_range
            self.preserve = preserve

        def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
            if self.kernel is None:
                return []
            return [(getattr(layer, self.kernel), _weight_quantizer(layer, self.preserve))]

        def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
            if self.kernel is not None:
                setattr(layer, self.kernel, quantize_weights[0])

        def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
            """There are none: each is a layer of its own."""
            del quantize_activations  # AutoGraph can't read a body without a statement.

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return _output_quantizers(self.output, self.fixed_range)

        def get_config(self) -> dict[str, Any]:
            return {
                "kernel": self.kernel,
                "output": self.output,
                "fixed_range": self.fixed_range,
                "preserve": self.preserve,
            }

    return LayerConfig


def _weight_quantizer(layer: Any, preserve: Collection[str]) -> Any:
    """Returns what rounds a layer's kernel, and keeps its zeros or shared values if asked to."""
    kind = type(layer).__name__
    if kind in ("DepthwiseConv2D", "Conv2DTranspose"):
        return channel_quantizer()(kind == "DepthwiseConv2D")
    tfmot = legacy.tfmot()
    combine = tfmot.experimental.combine
    # A scheme for each layer: TFMOT's shares one quantizer among all, and the first layer without
    # zeros would turn sparsity preservation off for those behind it.
    if "clusters" in preserve:
        scheme = combine.Default8BitClusterPreserveQuantizeScheme(
            preserve_sparsity="sparsity" in preserve
        )
    elif "sparsity" in preserve:
        scheme = combine.Default8BitPrunePreserveQuantizeScheme()
    else:
        scheme = tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme()
    return scheme.get_quantize_registry().get_quantize_config(layer).weight_quantizer


def _output_quantizers(output: str, fixed_range: tuple[float, float] | None) -> list[Any]:
    """Returns what rounds a layer's output: a list of one, or of none."""
    quantizers = legacy.tfmot().quantization.keras.quantizers
    settings = {"num_bits": 8, "per_axis": False, "symmetric": False, "narrow_range": False}
    if output == "input":
        return [quantizers.AllValuesQuantizer(**settings)]
    if output == "range":
        return [quantizers.MovingAverageQuantizer(**settings)]
    if fixed_range is not None:
        low, high = fixed_range
        return [fixed_quantizer()(8, low, high, False)]
    return []


@functools.cache
def _scheme_class() -> Any:
    """Returns TFMOT's default scheme without its own layout and its own choice of layers."""
    base: Any = legacy.tfmot().quantization.keras.default_8bit.Default8BitQuantizeScheme

    class Registry:
        """Quantises nothing by itself: every layer brings its own configuration."""

        def supports(self, layer: Any) -> bool:
            return False

    class Layout:
        """Leaves the model's layers as they are."""

        def apply(self, model: Any, layer_quantize_map: Any) -> tuple[Any, Any]:
            return model, layer_quantize_map

    class Scheme(base):
        """Takes the two."""

        def get_layout_transformer(self) -> Any:
            return Layout()

        def get_quantize_registry(self) -> Any:
            return Registry()

    return Scheme
