"""Finds the builders: every module of this folder that defines `build`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfcompress.errors import InputError, require, unknown_name
from tfcompress.options import check_type, check_types

if TYPE_CHECKING:
    import keras

_NOT_BUILDERS = ("blocks", "builders", "classes", "hdf5", "hdf5_walk", "keras_zip", "saved")

# Axes of an input.
_IMAGES = (3,)
_ANY = (1, 2, 3)
_WANTED = {_IMAGES: "(height, width, channels)", _ANY: "(features,) or up to three axes"}


def names() -> list[str]:
    """Returns the builders' names, without importing them."""
    package = importlib.import_module("tfcompress.models")
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if module.name not in _NOT_BUILDERS
    )


def get(name: str) -> ModuleType:
    """Imports the module of one builder, with `build`, `NATIVE_SIZE` and its docstring.

    Those that take other things than images, or give other things than classes, have `INPUT_RANKS`,
    how many axes an input may have, and `MIN_OUTPUTS`.

    Raises:
        InputError: no builder has that name.
    """
    if name not in names():
        raise unknown_name("model", name, names())
    return importlib.import_module(f"tfcompress.models.{name}")


def build(name: str, input_shape: tuple[int, ...], num_classes: int, **options: Any) -> keras.Model:
    """Builds a network of the papers, with new weights and logits as output.

    Args:
        name: one of `names()`.
        input_shape: (height, width, channels); of `mlp` any.
        num_classes: units of the last layer: classes, or values that `mlp` is to predict.
        options: the builder's own, such as `width`, which scales all channels.

    Returns:
        A functional Keras model from (batch, height, width, channels) to (batch, num_classes);
        that of `unet_small` gives (batch, height, width, num_classes).

    Raises:
        InputError: unknown name or option, or a size that the network can't take.
    """
    builder = get(name)
    check_type("num_classes", num_classes, int)
    check_types(builder.build, options)
    shape = tuple(input_shape) if isinstance(input_shape, Iterable) else ()
    ranks = getattr(builder, "INPUT_RANKS", _IMAGES)
    require(
        len(shape) in ranks and all(isinstance(n, int) and n > 0 for n in shape),
        f"input_shape must be {_WANTED[ranks]}, all positive; got {input_shape}",
    )
    least = getattr(builder, "MIN_OUTPUTS", 2)
    require(num_classes >= least, f"num_classes must be {least} or more; got {num_classes}")
    try:
        return builder.build(shape, num_classes, **options)
    except TypeError as error:
        raise InputError(f"model '{name}': {error}") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"model '{name}' can't take images of {'x'.join(map(str, shape[:2]))} pixels; it was "
            f"made for {builder.NATIVE_SIZE}x{builder.NATIVE_SIZE}"
        ) from error
