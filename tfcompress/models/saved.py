"""Loads the user's own models from `.keras` and `.h5` files."""

from __future__ import annotations

import importlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcompress.bounded_json import parse_json
from tfcompress.errors import InputError, UnsafeFileError, require
from tfcompress.files import quiet
from tfcompress.models import classes, hdf5, keras_zip
from tfcompress.plain_text import first_line

if TYPE_CHECKING:
    import keras

ENDINGS = (".keras", ".h5", ".hdf5")
_BRIDGE = "tfcompress.bridge"


def is_file(name: str) -> bool:
    """Returns whether a `--model` value names a file, not a builder."""
    return name.endswith(ENDINGS) or "/" in name or "\\" in name


def check(name: str) -> Path:
    """Returns the path of a model file, if it can be one.

    Raises:
        InputError: no such file, one that can't be read, another ending, or content that isn't
            what the ending says or is cut short.
    """
    path = Path(name)
    require(path.exists(), f"no model file {name}")
    require(path.is_file(), f"{name} is no file; give one that ends in .keras or .h5")
    require(name.endswith(ENDINGS), f"{name} isn't a .keras or .h5 file")
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{name} can't be read: {error.strerror or error}") from error
    if name.endswith(".keras"):
        require(
            start.startswith(b"PK\x03\x04"),
            f"{name} isn't a .keras file (a zip archive), or damaged",
        )
        # A zip archive's list of files stands at its end. Keras says "not found" without it.
        require(zipfile.is_zipfile(path), f"{name} is cut short or damaged; get or save it again")
    else:
        require(start == b"\x89HDF\r\n\x1a\n", f"{name} isn't an HDF5 file, or damaged")
    return path


def load(
    name: str | os.PathLike[str], *, say: Callable[[str, str], None] | None = None
) -> keras.Model:
    """Loads a whole model with its weights; nothing in the file is executed.

    The file is checked before Keras reads it: what it names, where its values lie, and how much
    memory it claims. An `.h5` file of Keras 2 that Keras 3 can't load is loaded by tf_keras and
    converted.

    Args:
        name: path of a `.keras` file or of an `.h5` file of `model.save`.
        say: is told, by a stage and a line, that tf_keras loads the file.

    Returns:
        The model, not compiled: `compile_as_saved` compiles it.

    Raises:
        UnsafeFileError: the file holds code (a Lambda layer), reads other files, or claims more
            memory than its size explains. Don't try another loader.
        InputError: the file isn't there, isn't what its ending says, or holds layers that aren't
            known here, or no whole model.
    """
    name = os.fspath(name)
    path = check(name)
    try:
        return _load_by_keras_3(path, name)
    except InputError as error:
        # The older loader has fewer checks: no file that was refused for its harm gets there.
        unsafe = isinstance(error, UnsafeFileError)
        if unsafe or name.endswith(".keras") or not _may_be_of_keras_2(path, name):
            raise
    if say is not None:
        say("bridge", f"{name} isn't a model of Keras 3: loading it by tf_keras")
    with quiet():
        # By its name: the bridge stands above the rooms whose models it converts.
        return importlib.import_module(_BRIDGE).load_h5(name)


def _load_by_keras_3(path: Path, name: str) -> keras.Model:
    """Loads a file of Keras 3, or one of Keras 2 that it can load; errors are those of `load`."""
    import keras

    import tfcompress.layers  # noqa: F401 - registers our layers' names

    try:
        read_config = (keras_zip if name.endswith(".keras") else hdf5).read_config
        classes.check(name, _parsed(name, read_config(path, name)))
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # zipfile, h5py, json and Keras each have their own
        why = first_line(error)
        if isinstance(error, OSError | zipfile.BadZipFile):  # What h5py and zipfile stumble over.
            raise InputError(
                f"{name} is cut short or damaged ({why}); get or save it again"
            ) from error
        raise InputError(f"{name} can't be loaded as a Keras 3 model: {why}") from error
    require(isinstance(model, keras.Model), f"{name} holds no Keras model")
    return model


def _may_be_of_keras_2(path: Path, name: str) -> bool:
    """Returns whether an `.h5` file doesn't say that Keras 3 saved it.

    Raises:
        InputError: it can't be read.
    """
    version = hdf5.read_config(path, name, attribute="keras_version")
    return version is None or not version.startswith("3.")


def compile_as_saved(model: keras.Model, name: str | os.PathLike[str]) -> str | None:
    """Compiles a model with the loss, metrics and optimizer that its file holds.

    Args:
        model: as `load` gives it.
        name: path of the file.

    Returns:
        Why it can't be compiled; None if it is, or the file says nothing of it.
    """
    name = os.fspath(name)
    if not name.endswith(".keras"):
        return _compile_as_in_h5(model, name)
    config = _parsed(name, keras_zip.read_text(Path(name), name))
    settings = config.get("compile_config") if isinstance(config, dict) else None
    if not settings:
        return None
    try:
        classes.check(name, settings)
        model.compile_from_config(settings)
    except Exception as error:  # What isn't known here has an error of its own for each kind.
        return first_line(error)
    return None


def _compile_as_in_h5(model: keras.Model, name: str) -> str | None:
    """Compiles a model as `compile_as_saved` does, by the settings of an `.h5` file."""
    import keras

    path = Path(name)
    text = hdf5.read_config(path, name, attribute="training_config")
    if text is None:
        return None
    if _may_be_of_keras_2(path, name):
        return "Keras 2 saved it, whose losses, metrics and optimizers Keras 3 doesn't read"
    try:
        classes.check(name, parse_json(text))
        with quiet():  # Of optimizers' states, which nobody asked for.
            compiled = keras.saving.load_model(path, compile=True, safe_mode=True)
        model.compile_from_config(compiled.get_compile_config())
    except Exception as error:  # As above.
        return first_line(error)
    return None


def _parsed(name: str, config: str | None) -> Any:
    """Returns a configuration as Keras will read it."""
    require(config is not None, f"{name} holds no model, perhaps weights alone: give a file of "
            "model.save")  # fmt: skip
    assert config is not None
    try:
        return parse_json(config)
    except ValueError as error:
        raise InputError(
            f"{name} is damaged: its configuration can't be read as JSON ({first_line(error)})"
        ) from error
