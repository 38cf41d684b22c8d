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

    path = fake_quantize.int8_file(
        job.model, job.folder / "int8.tflite", job.usual, short_names=job.short_names
    )
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
_SIGNS = Method(build=_binary_layers, audit=audit.some_integer_weights)
# 8 bits hold the levels 0 to 3 if one of a layer's inputs is a 3. If the largest is a 2, which
# happens in small dense layers, each 1 among them is off by a 255th, and levels behind it may turn.
_LEVELS = Method(
    build=_binary_layers,
    audit=audit.some_integer_weights,
    tolerance=Tolerance(0.25, 0.9, max_relative_rms=0.1),
)


def binary_method(traits: ModelTraits) -> Method:
    """Returns how a network with binary inputs is written."""
    return _LEVELS if traits.input_levels else _SIGNS


def _accepts(traits: ModelTraits) -> str | None:
    return None if traits.trained_ranges else refuse_rounding_layers(traits)


def _method(traits: ModelTraits) -> Method:
    if traits.trained_ranges:
        return _TRAINED
    return binary_method(traits) if traits.binary_inputs else _STATIC


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
