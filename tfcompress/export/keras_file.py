"""Writes a Keras model as a `.keras` file of built-in layers, which opens without tfcompress."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress import files
from tfcompress.bridge.compare import fits, index_limits, keras_outputs, samples
from tfcompress.errors import ExportError, InputError, require
from tfcompress.export.representative import as_rows
from tfcompress.graph import lower, rewrite
from tfcompress.graph.dtypes import half_precision
from tfcompress.graph.nodes import functional, input_structure, operations
from tfcompress.models.classes import entries
from tfcompress.ops.differences import relative_rms
from tfcompress.plain_text import first_line

# How far the file's outputs may lie from the model's, as a share of their rms. Built-in layers add
# in another order, which may turn a sign or a rounding behind it; other weights or another layer
# make a difference of about 1.
_MOST = 0.01
_MOST_IN_HALF_PRECISION = 0.1
# Rows that the model and the file are compared on.
_ROWS = 16


@dataclasses.dataclass(frozen=True)
class KerasFile:
    """Says what `export_keras` wrote.

    Attributes:
        path: the file.
        lowered: name to class of the layers that are written as built-in ones.
        custom_layers: name to class of the layers that are neither Keras's nor tfcompress's; who
            loads the file needs their classes.
        relative_rms: the rms of the differences between the file's outputs and the model's, as a
            share of the outputs' rms; of several outputs the largest.
    """

    path: str
    lowered: dict[str, str]
    custom_layers: dict[str, str]
    relative_rms: float

    def __str__(self) -> str:
        """Returns one line, and one more where the file needs classes of the user's."""
        text = (
            f"{self.path}: {len(self.lowered)} layers written as built-in ones; outputs differ "
            f"from the model's by {self.relative_rms:.2g} of their rms"
        )
        if not self.custom_layers:
            return text
        named = ", ".join(f"'{name}' ({kind})" for name, kind in self.custom_layers.items())
        return f"{text}\nneeds the classes of your own layers: {named}"


def export_keras(
    model: keras.Model, path: str | os.PathLike[str], *, representative: Any = None
) -> KerasFile:
    """Writes a model as a `.keras` file of built-in layers, for programs without tfcompress.

    Every layer of tfcompress becomes the built-in layers that compute the same; models inside the
    model become its layers. The file is for prediction: signs and rounded activations pass no
    gradient in it, hashed weights are written out, `ClipWeights` is left out, and so is what the
    model was compiled with. `model.save` keeps all of that, and its files need
    `import tfcompress`.

    Args:
        model: functional or Sequential; it stays as it is.
        path: the file to write, which ends in `.keras`; it appears whole or not at all.
        representative: inputs to compare the file with the model on, as `tfcompress.export` takes
            them; the first 16 are used. Without them random ones are.

    Returns:
        What was written, and how well it agrees with the model.

    Raises:
        InputError: the path doesn't end in `.keras` or can't be written, the model has no graph,
            one of its layers holds one of tfcompress inside, or Keras can't load what it saves.
        ExportError: the file gives other outputs than the model; nothing is written.

    Example:
        ```python
        small = tfcompress.compress(model, "xnor", data)
        tfcompress.export_keras(small, "small.keras")
        # Anywhere:
        model = keras.saving.load_model("small.keras")
        ```
    """
    functional(model)  # Refuses one that has no graph.
    target = _keras_path(path)
    lowered = _without_our_constraints(lower(model))
    _check_layers(lowered)
    inputs = _inputs(model, representative)
    expected = _outputs(model, inputs)
    custom = {op.name: type(op) for op in operations(lowered) if not _is_of_keras(op)}
    with files.whole(target) as beside:
        lowered.save(beside)
        written = _loaded(beside, {kind.__name__: kind for kind in custom.values()})
        difference = max(map(relative_rms, expected, _outputs(written, inputs)))
        most = _MOST if half_precision(model) is None else _MOST_IN_HALF_PRECISION
        if not difference <= most:
            raise ExportError(
                f"the file gives other outputs than model '{model.name}': they differ by "
                f"{difference:.2g} of their rms; allowed are {most}"
            )
    return KerasFile(
        path=str(target),
        lowered={op.name: type(op).__name__ for op in operations(model) if hasattr(op, "lower")},
        custom_layers={name: kind.__name__ for name, kind in custom.items()},
        relative_rms=difference,
    )


def _keras_path(path: Any) -> Path:
    """Returns the path of a `.keras` file.

    Raises:
        InputError: it is none.
    """
    require(
        isinstance(path, str | os.PathLike) and os.fspath(path).endswith(".keras"),
        f"path takes the name of a file that ends in .keras; got {path!r}",
    )
    return Path(path)


def _is_of_keras(operation: Any) -> bool:
    """Returns whether a layer or operation is one of Keras's own."""
    return type(operation).__module__.split(".")[0] == "keras"


def _is_ours(entry: dict[str, Any]) -> bool:
    """Returns whether a part of a configuration names a class of tfcompress."""
    module, name = str(entry.get("module")), str(entry.get("registered_name"))
    return module.split(".")[0] == "tfcompress" or name.startswith("tfcompress>")


def _without_our_constraints(model: keras.Model) -> keras.Model:
    """Returns the model with copies of the layers that have a constraint of ours, without it."""
    copies = {}
    for layer in operations(model):
        config = layer.get_config() if isinstance(layer, keras.layers.Layer) else {}
        dropped = {
            key: None
            for key, value in config.items()
            if key.endswith("_constraint") and any(map(_is_ours, entries(value)))
        }
        if dropped:
            copies[layer.name] = type(layer).from_config({**config, **dropped})
            copies[layer.name].build_from_config(layer.get_build_config())
            copies[layer.name].set_weights(layer.get_weights())
    return rewrite(model, copies) if copies else model


def _check_layers(model: keras.Model) -> None:
    """Refuses a lowered model in which something of ours is left, inside another layer.

    Raises:
        InputError: names the layer.
    """
    for layer in json.loads(model.to_json())["config"]["layers"]:
        ours = next((entry["class_name"] for entry in entries(layer) if _is_ours(entry)), None)
        require(
            ours is None,
            f"layer '{layer.get('name')}' ({layer['class_name']}) holds {ours} of tfcompress, "
            "which is written as built-in layers only where the model itself calls it: put it "
            "into the model, or use model.save",
        )


def _inputs(model: keras.Model, representative: Any) -> Any:
    """Returns a few inputs in the model's structure: the user's, or random ones."""
    symbolic = functional(model).inputs
    structure = input_structure(model)
    if representative is not None:
        arrays = as_rows(model, representative, "representative")[:_ROWS].arrays
        return tree.pack_sequence_as(structure, list(arrays))

    def is_large_enough(drawn: list[np.ndarray]) -> bool:
        return fits(model, tree.pack_sequence_as(structure, drawn))

    limits = index_limits(functional(model))
    for drawn in samples(symbolic, limits, is_large_enough):
        return tree.pack_sequence_as(structure, drawn)
    raise InputError(
        f"model '{model.name}' leaves sizes of its inputs open, and takes none that were tried: "
        "give representative="
    )


def _outputs(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    """Returns a model's outputs, as a flat list of float64 arrays."""
    outputs = tree.flatten(keras_outputs(model, inputs))
    return [np.asarray(output).astype(np.float64) for output in outputs]


def _loaded(path: Path, custom_objects: dict[str, Any]) -> keras.Model:
    """Loads the file that was written.

    None of its entries names a class of ours, so Keras looks none up.

    Raises:
        InputError: Keras can't.
    """
    try:
        return keras.saving.load_model(path, custom_objects=custom_objects, compile=False)
    except Exception as error:  # Each layer's own.
        raise InputError(
            f"Keras can't load what it saves of this model: {first_line(error)}; register your own "
            "classes and functions by keras.saving.register_keras_serializable"
        ) from error
