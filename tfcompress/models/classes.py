"""Tells which classes and functions a model's configuration names, before Keras looks them up.

Keras 3 refuses much of what could run code, but not all: a Lambda layer may call any function that
Keras exports, with arguments of the file's own, and some of these write files or load a
SavedModel. So what isn't known to compute and nothing else isn't loaded.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

from tfcompress.errors import InputError, UnsafeFileError

# Layers that call functions from a file, or load other files.
_UNSAFE_LAYERS = ("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper")
# What stands for plain values: tensors of the graph, arrays, slices.
_VALUES = ("TensorShape", "__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__",
           "__tensor__", "__tuple__")  # fmt: skip
# Where Keras looks for functions that a configuration names.
_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "regularizers")
_LOOKUPS = ("deserialize", "get", "serialize")
# Where classes are that a configuration names without a module, as the older files do.
_CLASSES = (*_FUNCTIONS, "dtype_policies", "layers", "models", "optimizers", "quantizers",
            "src.models.functional")  # fmt: skip


def entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yields everything in a configuration that names a class, however deep it lies."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def refuse_code(name: str, entry: dict[str, Any], packages: tuple[str, ...]) -> None:
    """Refuses code, what isn't of these packages, and what reads other files.

    Args:
        name: what errors call the file.
        entry: a part of a configuration that names a class.
        packages: those whose classes may be named.

    Raises:
        UnsafeFileError: the entry is a layer that holds code, or names another package or file.
    """
    kind, settings = entry.get("class_name"), entry.get("config")
    module = entry.get("module")
    if module is not None and str(module).split(".")[0] not in packages:
        raise UnsafeFileError(
            f"{name} holds '{kind}' of the module '{module}', which isn't imported: build the "
            "model of built-in layers and save it again"
        )
    if kind in _UNSAFE_LAYERS:
        which = settings.get("name") if isinstance(settings, dict) else None
        raise UnsafeFileError(
            f"{name} holds code (the {kind} layer '{which}'), which isn't run: build the model "
            "without it and save it again"
        )
    if isinstance(settings, dict) and isinstance(settings.get("vocabulary"), str):
        raise UnsafeFileError(
            f"{name} reads another file ('{kind}' has the vocabulary "
            f"'{settings['vocabulary'][:100]}'): give the layer its words and save it again"
        )


def check(name: str, config: Any) -> None:
    """Refuses a configuration for Keras 3 that names other things than layers and their parts.

    Known are Keras's own classes, its functions such as activations, and whatever this program has
    registered, such as the layers of tfcompress.

    Args:
        name: what errors call the file.
        config: as `json.loads` reads it.

    Raises:
        UnsafeFileError: it holds code, or names something of another package.
        InputError: it names something that isn't known.
    """
    if isinstance(config, dict):
        # The loss and the optimizer, which aren't loaded.
        config = {key: value for key, value in config.items() if key != "compile_config"}
    for entry in entries(config):
        if _is_registered(entry):
            continue
        # Classes of tf_keras aren't known here, but another loader knows them.
        refuse_code(name, entry, ("builtins", "keras", "tf_keras"))
        if not _is_known(entry):
            what = entry.get("config") if entry["class_name"] == "function" else entry["class_name"]
            raise InputError(
                f"{name} can't be loaded as a Keras 3 model: it holds '{str(what)[:100]}', which "
                "is neither a layer of Keras 3 or tfcompress nor a part of one; register your own "
                "classes by keras.saving.register_keras_serializable"
            )


def _is_registered(entry: dict[str, Any]) -> bool:
    """Returns whether this program has registered what an entry names, under that name."""
    import keras

    kind = entry["class_name"]
    name = entry.get("config") if kind == "function" else entry.get("registered_name") or kind
    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _is_known(entry: dict[str, Any]) -> bool:
    """Returns whether an entry is a plain value, or a class or function of Keras that computes."""
    kind, module = entry["class_name"], entry.get("module")
    if not isinstance(kind, str):
        return False
    if kind in _VALUES:
        return True
    if kind == "function":
        name = entry.get("config")
        places = [f"keras.{room}" for room in _FUNCTIONS]
        places = places if module == "builtins" else [module] if module in places else []
        return isinstance(name, str) and name not in _LOOKUPS and any(
            isinstance(found, types.FunctionType) for found in _found(places, name)
        )  # fmt: skip
    places = [f"keras.{room}" for room in _CLASSES] if module is None else [str(module)]
    found = _found(places, kind)
    return bool(found) and all(
        isinstance(each, type)
        and issubclass(each, _parts_of_layers())
        and not any(base.__name__ in _UNSAFE_LAYERS for base in each.__mro__)
        for each in found
    )


def _found(modules: list[str], name: str) -> list[Any]:
    """Returns what the modules, as far as they are imported, have under a name."""
    return [
        getattr(sys.modules[module], name)
        for module in modules
        if module in sys.modules and hasattr(sys.modules[module], name)
    ]


def _parts_of_layers() -> tuple[type, ...]:
    """Returns the base classes of layers and of all that they are made of."""
    import keras

    return (
        keras.Operation,  # Layers and models too.
        keras.Initializer,
        keras.Loss,
        keras.Metric,
        keras.Optimizer,
        keras.Quantizer,
        keras.Regularizer,
        keras.constraints.Constraint,
        keras.dtype_policies.DTypePolicy,
        keras.dtype_policies.DTypePolicyMap,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.random.SeedGenerator,
    )
