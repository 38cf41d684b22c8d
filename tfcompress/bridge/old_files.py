"""Loads whole models of Keras 2 from `.h5` files, which Keras 3 often can't."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import keras

from tfcompress.bounded_json import parse_json
from tfcompress.bridge import configs, legacy
from tfcompress.bridge.errors import BridgeError
from tfcompress.bridge.to_keras import TENSOR_OPERATIONS, to_keras
from tfcompress.errors import require
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
    for entry in _entries(_config(name)):
        _check_entry(name, entry)
    tf_keras = legacy.tf_keras()
    try:
        model = tf_keras.models.load_model(name, compile=False)
    except Exception as error:  # h5py and every layer have their own.
        raise BridgeError(f"{name} can't be loaded by tf_keras: {first_line(error)}") from error
    return to_keras(model, tolerance=tolerance)


def _config(name: str) -> Any:
    """Returns the model's configuration, read without any Keras."""
    import h5py

    require(os.path.isfile(name), f"no model file {name}")
    try:
        with h5py.File(name, "r") as file:
            text = file.attrs.get("model_config")
    except OSError as error:
        raise BridgeError(f"{name} isn't an HDF5 file, or damaged") from error
    if text is None:
        raise BridgeError(
            f"{name} holds no model, perhaps weights alone: give a file of model.save('....h5')"
        )
    try:
        return parse_json(text)
    except ValueError as error:
        raise BridgeError(f"{name} is damaged: its model_config isn't JSON") from error


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yields everything in a configuration that names a class."""
    if isinstance(config, dict):
        if "class_name" in config or "module" in config:
            yield config
        for value in config.values():
            yield from _entries(value)
    elif isinstance(config, list):
        for value in config:
            yield from _entries(value)


def _check_entry(name: str, entry: dict[str, Any]) -> None:
    """Refuses what isn't a built-in class that can be converted."""
    kind, settings = entry.get("class_name"), entry.get("config")
    module = entry.get("module")
    if module is not None and str(module).split(".")[0] not in ("keras", "tf_keras"):
        raise BridgeError(
            f"{name} holds '{kind}' of the module '{module}', which isn't imported: build the "
            "model of built-in layers and save it again"
        )
    if kind == "Lambda":
        which = settings.get("name") if isinstance(settings, dict) else None
        raise BridgeError(
            f"{name} holds code (the Lambda layer '{which}'), which isn't run: build the model "
            "without it and save it again"
        )
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
