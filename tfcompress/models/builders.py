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

    Raises:
        InputError: no builder has that name.
    """
    if name not in names():
        raise unknown_name("model", name, names())
    return importlib.import_module(f"tfcompress.models.{name}")


def build(
    name: str, input_shape: tuple[int, int, int], num_classes: int, **options: Any
) -> keras.Model:
    """Builds a network of the papers, with new weights and logits as output.

    Args:
        name: one of `names()`.
        input_shape: (height, width, channels).
        num_classes: units of the last layer.
        options: the builder's own, such as `width`, which scales all channels.

    Returns:
        A functional Keras model from (batch, height, width, channels) to (batch, num_classes).

    Raises:
        InputError: unknown name or option, or a size that the network can't take.
    """
    builder = get(name)
    check_type("num_classes", num_classes, int)
    check_types(builder.build, options)
    shape = tuple(input_shape) if isinstance(input_shape, Iterable) else ()
    require(
        len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape),
        f"input_shape must be (height, width, channels), all positive; got {input_shape}",
    )
    require(num_classes >= 2, f"num_classes must be 2 or more; got {num_classes}")
    try:
        return builder.build(shape, num_classes, **options)
    except TypeError as error:
        raise InputError(f"model '{name}': {error}") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"model '{name}' can't take images of {shape[0]}x{shape[1]} pixels; it was made for "
            f"{builder.NATIVE_SIZE}x{builder.NATIVE_SIZE}"
        ) from error
