"""Integer weights and activations, 8 bits each."""

from __future__ import annotations

from tfcompress.export import audit
from tfcompress.export.storage import (
    BuildJob,
    BuiltFile,
    Method,
    ModelTraits,
    Storage,
    Tolerance,
    refuse_rounding_layers,
)


def _with_ranges_of_images(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.static_integers(job, weight_bits=8)


def _with_trained_ranges(job: BuildJob) -> BuiltFile:
    from tfcompress.export import fake_quantize

    path = fake_quantize.int8_file(job.model, job.folder / "int8.tflite", job.usual)
    return BuiltFile(path, path, job.model)


def _binary_layers(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.binary_integers(job, weight_bits=8)


_STATIC = Method(
    build=_with_ranges_of_images,
    audit=audit.some_integer_weights,
    tolerance=Tolerance(0.5, 0.9, max_relative_rms=0.15),
    rounds=True,
    integer=True,
    needs_ranges=True,
)
# The file rounds at the same places as Keras, but in another order of operations: values at the
# border of two steps of a grid fall to either side, and layers behind them see that: 0.001 to 0.03
# of the outputs' rms in trained networks, 0.08 in an EfficientNetB0 after a few steps.
_TRAINED = Method(
    build=_with_trained_ranges,
    audit=audit.some_integer_weights,
    tolerance=Tolerance(0.25, 0.9, max_relative_rms=0.1),
    integer=True,
)
# Integers before a sign would turn many of them: everything but the layers of bits stays float.
BINARY = Method(build=_binary_layers, audit=audit.some_integer_weights)


def _accepts(traits: ModelTraits) -> str | None:
    return None if traits.trained_ranges else refuse_rounding_layers(traits)


def _method(traits: ModelTraits) -> Method:
    if traits.trained_ranges:
        return _TRAINED
    return BINARY if traits.binary_inputs else _STATIC


STORAGE = Storage(
    name="int8",
    summary=(
        "1 byte a weight and activation, integers throughout, ranges taken from training images "
        "(or from the training itself: qat); outputs differ by 1 to 5%. Of a network with binary "
        "inputs only the binary layers' weights, without error"
    ),
    accepts=_accepts,
    method=_method,
)
