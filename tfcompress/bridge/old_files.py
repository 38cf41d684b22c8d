"""Loads whole models of Keras 2 from `.h5` files, which Keras 3 often can't."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import keras

from tfcompress.bounded_json import parse_json
from tfcompress.bridge import configs, legacy
from tfcompress.bridge.errors import BridgeError
from tfcompress.bridge.to_keras import TENSOR_OPERATIONS, to_keras
from tfcompress.errors import InputError, UnsafeFileError, require
from tfcompress.models import classes, hdf5
from tfcompress.plain_text import first_line

_MODELS = ("Functional", "Model", "Sequential")
_KNOWN = frozenset((*configs.CONVERTIBLE, *_MODELS, "InputLayer", "ThresholdedReLU"))


def load_h5(path: str | os.PathLike[str], *, tolerance: float = 1e-5) -> keras.Model:
    """Loads a model that Keras 2 saved whole, and converts it to Keras 3.

    Nothing in the file is executed: the layers in it are read first, and a file with others than
    the built-in layers that can be converted isn't loaded.

    Args:
        path: an `.h5` file of `model.save` in Keras 2 or tf_keras.
        tolerance: as in `to_keras`.

    Returns:
        A flat functional model of Keras 3, not compiled.

    Raises:
        BridgeError: the file can't be read, holds weights alone, code (a Lambda layer), or layers
            that can't be converted.
    """
    name = os.fspath(path)
    for entry in classes.entries(_config(name)):
        _check_entry(name, entry)
    tf_keras = legacy.tf_keras()
    try:
        model = tf_keras.models.load_model(name, compile=False)
    except Exception as error:  # h5py and every layer have their own.
        raise BridgeError(f"{name} can't be loaded by tf_keras: {first_line(error)}") from error
    return to_keras(model, tolerance=tolerance)


def _config(name: str) -> Any:
    """Returns the model's configuration, read without any Keras, of a file that is checked."""
    require(os.path.isfile(name), f"no model file {name}")
    try:
        text = hdf5.read_config(name, name)
    except InputError as error:
        raise BridgeError(str(error)) from error
    if text is None:
        raise BridgeError(
            f"{name} holds no model, perhaps weights alone: give a file of model.save('....h5')"
        )
    try:
        return parse_json(text)
    except ValueError as error:
        raise BridgeError(f"{name} is damaged: its model_config isn't JSON") from error


def _check_entry(name: str, entry: dict[str, Any]) -> None:
    """Refuses what isn't a built-in class that can be converted."""
    kind, settings = entry.get("class_name"), entry.get("config")
    try:
        classes.refuse_code(name, entry, ("keras", "tf_keras"))
    except UnsafeFileError as error:
        raise BridgeError(str(error)) from error
    if kind == "TFOpLambda":
        function = settings.get("function") if isinstance(settings, dict) else None
        if function not in TENSOR_OPERATIONS:
            raise BridgeError(
                f"{name} calls TensorFlow's {function}, which can't be converted: only "
                f"{', '.join(sorted(TENSOR_OPERATIONS))} can"
            )
        return
    if not isinstance(kind, str) or not (kind in _KNOWN or _is_setting(kind)):
        raise BridgeError(
            f"{name} holds '{kind}', which isn't a built-in layer that can be converted to Keras "
            "3: build the model without it and save it again"
        )


def _is_setting(kind: str) -> bool:
    """Returns whether it names an initialiser, regulariser, constraint or precision policy."""
    if kind in ("Policy", "DTypePolicy", "__tuple__", "TensorShape", "__numpy__"):
        return True
    for module in (keras.initializers, keras.regularizers, keras.constraints):
        with contextlib.suppress(AttributeError):
            if isinstance(getattr(module, kind), type):
                return True
    return False
