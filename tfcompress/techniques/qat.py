"""Quantization-aware training: 8-bit weights and activations, trained to be so."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.techniques._blocks import custom
from tfcompress.techniques._engines import Engine, check_prepares
from tfcompress.techniques._engines import train as by_an_engine
from tfcompress.techniques._weights import check_layers_of_ours, lowered_for_keras
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    import keras

    from tfcompress.data.protocol import Data
    from tfcompress.qat.prepare import Change
    from tfcompress.training.context import Row, TrainingContext

OnUnsupported = Literal["error", "keep_float"]
_PRESERVABLE = frozenset({Property.SPARSITY, Property.CLUSTERS})


@dataclasses.dataclass(frozen=True, kw_only=True)
class QatOptions:
    """Hyper-parameters of quantization-aware training.

    Attributes:
        on_unsupported: what to do about layers that have no integer form: `error` names them,
            `keep_float` leaves them float in the file, between conversions.
        calibration_images: training images from which the activations' ranges are taken before the
            first step. TFMOT's ranges start at +-6 and move by a thousandth a step, which short
            trainings don't survive.
        preserve: `sparsity` if zeros of the given model stay zeros, `clusters` if its equal weights
            stay equal; what earlier steps of a chain made is preserved anyway.
        engine: `tfmot` trains a copy in Keras 2, which learns one class an example; `keras` the
            model itself, with any loss, metrics and callbacks and on any backend, by the same
            rounding and ranges. `auto` is tfmot for a model of one input and built-in layers that
            isn't compiled and learns one class an example from data in memory, else keras.
    """

    on_unsupported: OnUnsupported = "error"
    calibration_images: int = 512
    preserve: tuple[str, ...] = ()
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        """Refuses unknown words and an empty calibration."""
        one_of("option on_unsupported", self.on_unsupported, get_args(OnUnsupported))
        one_of("option engine", self.engine, get_args(Engine))
        for word in self.preserve:
            one_of("option preserve", word, sorted(_PRESERVABLE))
        require(
            self.calibration_images >= 1,
            f"option calibration_images must be 1 or more; got {self.calibration_images}",
        )


def _transform(candidate: Candidate, options: QatOptions) -> Candidate:
    """Rewrites the model in layers that can be quantised; nothing is rounded yet."""
    from tfcompress.qat.prepare import unsupported

    model, changes = _rewritten(candidate.model, options)
    spread = "; its shared values are shared no more"
    lost = {"folded": spread} if Property.CLUSTERS in candidate.properties else {}
    lines = [
        LayerLine(c.name, c.kind, c.action, c.reason + lost.get(c.action, "")) for c in changes
    ]
    named = {line.name for line in lines}
    floats = unsupported(model)
    for layer in model.layers:
        if layer.weights and layer.name not in named and layer.name not in floats:
            kind = type(layer).__name__
            where = "folded after training" if kind == "BatchNormalization" else "8-bit weights"
            lines.append(LayerLine(layer.name, kind, "quantised", where))
    return candidate.then(model, *lines)


def _rewritten(model: keras.Model, options: QatOptions) -> tuple[keras.Model, list[Change]]:
    """Returns a model of layers that can be quantised, and what was done to them."""
    import keras

    from tfcompress.graph.dtypes import half_precision
    from tfcompress.graph.nodes import functional, operations
    from tfcompress.qat.prepare import prepare

    foreign = [layer for layer in operations(functional(model)) if custom(layer)]
    by_keras = (
        keras.backend.backend() != "tensorflow"
        or half_precision(model) is not None
        or any(not hasattr(layer, "lower") for layer in foreign)
    )
    by_tfmot = options.engine == "tfmot" or (options.engine == "auto" and not by_keras)
    if by_tfmot:
        check_layers_of_ours(model, "trained quantised")
    else:
        model = lowered_for_keras(model, full_precision=True)
    return prepare(model, on_unsupported=options.on_unsupported, by_tfmot=by_tfmot)


def _fit(
    candidate: Candidate,
    options: QatOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Calibrates, trains by TFMOT or in Keras 3, and returns a model of Keras 3."""
    from tfcompress.qat import native, train

    calibration = data.representative(options.calibration_images, context.seed)
    preserve = _preserved(candidate, options)
    model, rows = by_an_engine(
        candidate,
        options.engine,
        data,
        training,
        context,
        convert=lambda: train.wrap_and_calibrate(
            candidate.model, preserve=preserve, calibration=calibration
        ),
        by_tfmot=lambda quantized: train.fit_wrapped(
            quantized, data, training, context, calibration=calibration
        ),
        in_keras=lambda: native.fit(
            candidate.model, data, training, context, preserve=preserve, calibration=calibration
        ),
        suits_tfmot=_is_built_in(candidate.model),
    )
    return dataclasses.replace(candidate, model=model), rows


def _is_built_in(model: keras.Model) -> bool:
    """Says whether all that a rewritten model computes stands in layers of Keras."""
    from tfcompress.graph.nodes import operations

    return all(type(each).__module__.split(".")[0] == "keras" for each in operations(model))


def _preserved(candidate: Candidate, options: QatOptions) -> frozenset[str]:
    """Returns what of the weights training must not undo."""
    return frozenset({*options.preserve, *(candidate.properties & _PRESERVABLE)})


def _prepare(candidate: Candidate, options: QatOptions) -> keras.Model:
    """Returns a copy that rounds weights and activations, whatever trains it."""
    from tfcompress.data.examples import Examples
    from tfcompress.data.protocol import Batch
    from tfcompress.qat import native

    check_prepares(options.engine)
    samples: Any = candidate.samples
    require(
        samples is not None,
        "qat measures the activations' ranges before the first step: give representative=, some "
        f"inputs of training examples; {options.calibration_images} are enough",
    )
    calibration = Examples(train=Batch(samples)).representative(options.calibration_images)
    options = dataclasses.replace(options, engine="keras")
    return native.quantized(
        _rewritten(candidate.model, options)[0],
        preserve=_preserved(candidate, options),
        calibration=calibration,
    )


TECHNIQUE = Technique(
    name="qat",
    summary="8-bit integer weights and activations, trained with the rounding in place",
    reference="Jacob et al. 2018, arXiv:1712.05877; TensorFlow Model Optimization",
    options=QatOptions,
    transform=_transform,
    check=_transform,
    training=distilled(epochs=4, learning_rate=2e-4),
    storages=("int8",),
    fit=_fit,
    prepare=_prepare,
    produces=frozenset({Property.QUANTISED}),
    preserves=frozenset({Property.SPARSITY, Property.CLUSTERS}),
    acts_in="training",
    tried=True,
)
