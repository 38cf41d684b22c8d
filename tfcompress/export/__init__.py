"""Keras to `.tflite`: storages, audit, comparison with Keras.

The package itself can be called: `tfcompress.export(model, "m.tflite", storage="int8")`.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfcompress.errors import ExportError

if TYPE_CHECKING:
    import keras

    from tfcompress.export.exported import Exported
    from tfcompress.export.keras_file import KerasFile, export_keras
    from tfcompress.export.noise_budget import NoiseBudget
    from tfcompress.export.validation import Validation
    from tfcompress.tflite.metadata import Metadata

__all__ = [
    "ExportError",
    "Exported",
    "KerasFile",
    "NoiseBudget",
    "Validation",
    "export",
    "export_keras",
]

# Imported when they are first used: storages are listed without Keras.
_MODULES = {
    "Exported": "exported",
    "KerasFile": "keras_file",
    "NoiseBudget": "noise_budget",
    "Validation": "validation",
    "export_keras": "keras_file",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value  # Tools that read the module's dictionary find it from now on.
        return value
    if name == "STORAGES":
        from tfcompress.export import storages

        warnings.warn(
            "tfcompress.export.STORAGES is tfcompress.export.storages.by_name() now; the old name "
            "goes with the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        return storages.by_name()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    storage: str = "float32",
    representative: Any = None,
    calibration: Any = None,
    ranges: str = "minmax",
    rounding: str = "nearest",
    short_names: bool = False,
    validation: Validation | None = None,
    noise_budget: NoiseBudget | None = None,
    metadata: Metadata | None = None,
    labels: Sequence[str] | None = None,
    io: str | None = None,
    strict: bool = True,
) -> Exported:
    """Writes a Keras model as a `.tflite` file that was audited and compared with Keras.

    Args:
        model: functional or Sequential, with built-in layers or ours.
        path: the file to write; it appears whole or not at all.
        storage: one of `storages.names()`, as `tfcompress.run --list` explains them.
        representative: real inputs, as `fit` takes its x: an array (n, ...) of the model's input,
            such as (n, height, width, channels) of images, normalised as in training; a list or a
            dictionary of arrays for several inputs; or a list, a generator, a `tf.data.Dataset` or
            a `PyDataset` of rows or batches of these, alone or as (x, y), of which the first 1,000
            rows are taken. With them the file's outputs are compared with Keras's; without them
            only the file's structure is audited.
        calibration: likewise, the images from which integer activations take their ranges; a
            hundred or more, of all classes. Without them every second representative image is one,
            and only the others are compared.
        ranges: of integer activations: `minmax`, from the least to the largest value in the
            calibration images; or `mse`, cut at both ends where the squared error of all values is
            least, those that are clipped included. For the storages int8 and int8_int4.
        rounding: of weights of 4 bits: `nearest`, each by itself; or `gptq` (Frantar et al. 2022,
            arXiv:2210.17323), layer by layer so that the outputs for the calibration images change
            least, which takes some minutes for a large network. For the storage int8_int4.
        short_names: names each tensor inside the file by one layer. The converter's names list all
            that it merged, with their paths: 5 KB of a file of 54.
        validation: labelled images, or other inputs with targets; with them layers keep more bits,
            the most harmful first, until the file's accuracy on these, or the model's own metric,
            is worse by no more than `max_drop` points (percent, of errors). For the storages with
            integers.
        noise_budget: allots 8, 4 or 2 bits by the layers' numbers of weights instead, without
            images, as the technique sqnr does; for the storage int8_int4.
        metadata: what the file says of itself: labels, normalisation, author and the like. With
            them `tfcompress.load` and MediaPipe take images as they are. The normalisation of a
            model whose own Rescaling or Normalization takes pixels of 0..255 is known without.
        labels: the classes in the outputs' order, as in `Metadata(labels=...)`.
        io: what goes into a file that computes in integers and comes out of it: `float32` (the
            default), `int8`, or `uint8`; see `io_types.change`. A file of storage xnor whose first
            layer is in 8 bits takes them, too, and gives floats; see `byte_inputs.take_bytes`.
        strict: whether a file is refused that differs from Keras by more than its storage allows.
            False writes it all the same, and says so in `Exported.failed_check` and in the file's
            own description. A file that doesn't run, or gives no finite numbers, is refused anyway.

    Returns:
        What was written and how well it agrees.

    Raises:
        InputError: the model or storage can't be exported, the images don't fit the model, or the
            folder isn't there.
        ExportError: the file failed its audit, or the comparison unless `strict` is False; nothing
            is written.
    """
    from tfcompress.export.write import write_file

    return write_file(
        model,
        path,
        storage=storage,
        representative=representative,
        calibration=calibration,
        ranges=ranges,
        rounding=rounding,
        short_names=short_names,
        validation=validation,
        noise_budget=noise_budget,
        metadata=metadata,
        labels=labels,
        io=io,
        strict=strict,
    )


# What `inspect.signature` and `help` of the package itself tell.
__signature__ = inspect.signature(export)
__doc__ = f"{__doc__}\nexport{__signature__}\n\n{inspect.getdoc(export)}"


class _Room(ModuleType):
    """Lets the package be called: importing it binds its name to the module, not the function."""

    __call__ = staticmethod(export)


sys.modules[__name__].__class__ = _Room
