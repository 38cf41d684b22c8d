"""Quantization-aware training in Keras 3: a model that any `fit` or loop trains, on any backend.

Its layers round what TFMOT's wrappers round, by the same formulas: kernels in a wrapper around the
layer, activations in a layer behind it whose range follows the batches in training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.errors import require
from tfcompress.graph.fold_batch_norm import fold_batch_norms
from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.nodes import operations
from tfcompress.graph.rewrite import Graph, clone
from tfcompress.layers._fake_quantize_kernel import FakeQuantizeKernel
from tfcompress.layers.fake_quantize import Adapt, FakeQuantize
from tfcompress.qat import calibrate
from tfcompress.qat.layout import QuantSpec, layout
from tfcompress.qat.prepare import named_outputs
from tfcompress.training import fit as training_fit
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext

# TFMOT keeps no more.
_MOST_VALUES = 1024
_ADAPT: dict[str, Adapt] = {"input": "extremes", "range": "moving_average"}


def fit(
    prepared: keras.Model,
    data: Data,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
    *,
    preserve: frozenset[str] = frozenset(),
    calibration: Any,
) -> tuple[keras.Model, list[Row]]:
    """Trains a prepared model with its weights and activations rounded to 8 bits, in Keras 3.

    Args:
        prepared: as `qat.prepare.prepare` made it.
        data: as in `training.fit`.
        training: epochs, optimizer and rates; 0 epochs only calibrate.
        context: as in `training.fit`, with any objective and callbacks.
        preserve: as of `quantized`.
        calibration: as of `quantized`.

    Returns:
        As `finished`; and one row an epoch.

    Raises:
        TrainingError, InputError, Stopped: as `training.fit`.
    """
    model = quantized(prepared, preserve=preserve, calibration=calibration)
    rows = training_fit(model, data, training, context)
    return finished(model), rows


def quantized(
    prepared: keras.Model,
    *,
    preserve: frozenset[str] = frozenset(),
    calibration: Any,
) -> keras.Model:
    """Returns a model that computes and trains with 8-bit weights and activations, in floats.

    Args:
        prepared: as `qat.prepare.prepare` made it; it stays as it is.
        preserve: of `sparsity` (zeros stay zeros) and `clusters` (equal weights stay equal).
        calibration: inputs, as the model takes them, from which the activations' first ranges are
            taken.

    Returns:
        A functional model with weights of its own. Its batch normalisations are as they were.

    Raises:
        InputError: there are no inputs to calibrate with.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3; TFMOT's quantizers.
    """
    require(len(tree.flatten(calibration)[0]) > 0, "calibration needs at least one example")
    specs = layout(prepared)
    ranges = calibrate.ranges(
        specs, calibrate.extremes(prepared, calibrate.measured(specs), calibration)
    )
    source = clone(prepared)
    maker = LayerMaker(source)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in Graph.of(source).operations.items():
        parts: list[Callable[..., Any]] = [layer]
        spec = specs[name]
        is_marker = type(layer).__name__ == "Identity"
        if spec.kernel is not None:
            parts = [_rounding_weights(maker, layer, preserve)]
        elif is_marker:
            parts = []
        if spec.output != "none":
            owner = name.removesuffix("_quantize") if is_marker else name
            parts.append(_rounding(maker, owner, spec, ranges.get(name)))
        if parts != [layer]:
            replace[name] = _chain(parts)
    return named_outputs(replace_layers(source, replace, maker), like=prepared)


def _rounding_weights(maker: LayerMaker, layer: Any, preserve: frozenset[str]) -> Any:
    """Returns the wrapper around a layer that rounds its kernel."""
    arrays = layer.get_weights()
    values = None
    if "clusters" in preserve:
        values = _shared_values(arrays[0], type(layer).__name__)
    wrapper = maker.layer(
        layer.name,
        "",
        FakeQuantizeKernel,
        layer=type(layer).from_config(layer.get_config()),
        keep_zeros="sparsity" in preserve,
        shared_values=None if values is None else values.shape,
    )
    maker.set_weights(wrapper, *([] if values is None else [values]), *arrays)
    return wrapper


def _shared_values(kernel: np.ndarray, kind: str) -> np.ndarray | None:
    """Returns the values that a kernel's weights share, as TFMOT's CQAT finds them.

    Returns:
        (values,); (filters, values) where all filters of a `Conv2D` have about as many; None if
        there are more than can be kept, or hardly fewer than weights.
    """
    if kind == "Conv2D":
        each = [np.unique(one) for one in np.moveaxis(kernel, -1, 0)]
        most, least = (choose(map(len, each)) for choose in (max, min))
        if most - least <= 1 and 1 < most <= min(_MOST_VALUES, kernel[..., 0].size // 2):
            return np.stack([np.pad(one, (0, most - len(one)), mode="edge") for one in each])
    values = np.unique(kernel)
    few = 1 < len(values) <= min(_MOST_VALUES, kernel.size // 2)
    return values if few else None


def _rounding(
    maker: LayerMaker, owner: str, spec: QuantSpec, measured: tuple[float, float] | None
) -> FakeQuantize:
    """Returns the layer that rounds the outputs of another one."""
    low, high = spec.fixed_range or measured or (-6.0, 6.0)
    adapt = _ADAPT.get(spec.output)
    rounding: FakeQuantize = maker.layer(
        owner, "quantized", FakeQuantize, minimum=low, maximum=high, adapt=adapt
    )
    return rounding


def _chain(parts: list[Callable[..., Any]]) -> Callable[..., Any]:
    """Returns the function that calls all of these in turn."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not parts:
            return args[0]
        x = parts[0](*args, **kwargs)
        for part in parts[1:]:
            x = part(x)
        return x

    return call


def is_quantized(model: keras.Model) -> bool:
    """Returns whether a model is one that `quantized` made, trained or not."""
    return any(
        isinstance(layer, FakeQuantizeKernel)
        or (isinstance(layer, FakeQuantize) and layer.adapt is not None)
        for layer in operations(model)
    )


def finished(model: keras.Model) -> keras.Model:
    """Returns a Keras 3 model of built-in and `FakeQuantize` layers that computes the same.

    Kernels hold the rounded values, and ranges stay. Batch normalisations are folded into the
    convolutions before them, which leaves each filter on a grid of its own, only wider or narrower.

    Args:
        model: as `quantized` made it, and trained.
    """
    source = clone(model)
    maker = LayerMaker(source)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in Graph.of(source).operations.items():
        if isinstance(layer, FakeQuantizeKernel):
            replace[name] = layer.lower()
        elif isinstance(layer, FakeQuantize) and layer.adapt is not None:
            low, high = calibrate.with_zero(*layer.range())
            settings = {**layer.get_config(), "adapt": None, "minimum": low, "maximum": high}
            replace[name] = FakeQuantize.from_config(settings)
    return fold_batch_norms(replace_layers(source, replace, maker))[0]
