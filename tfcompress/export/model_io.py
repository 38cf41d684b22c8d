"""Says what a model takes and gives: names, shapes, types, and which outputs are classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras

from tfcompress.errors import require
from tfcompress.graph.names import free_name
from tfcompress.graph.nodes import (
    functional,
    input_structure,
    is_nested,
    nodes,
    operations,
    output_keys,
    producer,
)
from tfcompress.tflite.io_order import write_names

# Layers that an output's classes pass through as they are.
_UNCHANGED = ("ActivityRegularization", "Dropout", "FakeQuantize", "Flatten", "Identity", "Reshape")
# Layers of TensorFlow's own ops.
_LOOKUPS = ("HashedCrossing", "Hashing", "IntegerLookup", "StringLookup", "TextVectorization")
# Losses by which Keras's outputs are numbers, and no scores of classes that exclude one another.
_NUMBERS = (
    "binary",
    "cosine",
    "huber",
    "logcosh",
    "mae",
    "mape",
    "meanabsolute",
    "meansquared",
    "mse",
    "msle",
    "poisson",
)


@dataclasses.dataclass(frozen=True)
class ModelInput:
    """An input of a model.

    Attributes:
        name: the key in the dictionary of inputs that the model takes, else that of the
            `keras.Input`.
        shape: of a batch; None for a size that isn't fixed.
        dtype: such as `float32`.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def shown(self) -> str:
        """The shape as errors show it: `(n, 8, 8, 3)`."""
        return f"({', '.join(['n', *map(str, self.shape[1:])])})"


@dataclasses.dataclass(frozen=True)
class ModelOutput:
    """An output of a model.

    Attributes:
        name: the key in the dictionary of outputs that the model gives, else the last layer's,
            with a number behind it where that is taken.
        classes: how many scores of classes stand on its last axis; None if they aren't classes.
    """

    name: str
    classes: int | None


def model_inputs(model: keras.Model) -> list[ModelInput]:
    """Returns a model's inputs in Keras's order: that of `model.inputs`."""
    structure = input_structure(model)
    names = [producer(x).name for x in functional(model).inputs]
    if isinstance(structure, dict) and not any(map(keras.tree.is_nested, structure.values())):
        names = [str(key) for key in sorted(structure)]
    return [
        ModelInput(name, tuple(x.shape), str(x.dtype))
        for name, x in zip(names, functional(model).inputs, strict=True)
    ]


def model_outputs(model: keras.Model) -> list[ModelOutput]:
    """Returns a model's outputs in Keras's order: that of `model.outputs`."""
    tensors = functional(model).outputs
    names: list[str] = []
    for key in output_keys(model):
        names.append(free_name(str(key), set(names)))
    numbers = len(tensors) == 1 and _is_of_numbers(getattr(model, "loss", None))
    return [
        ModelOutput(name, None if numbers else _classes(model, tensor, len(tensors) == 1))
        for name, tensor in zip(names, tensors, strict=True)
    ]


def _is_of_numbers(loss: Any) -> bool:
    """Returns whether a compiled model's loss compares numbers, not classes."""
    if loss is None:
        return False
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    plain = name.lower().replace("_", "")
    return plain.startswith(_NUMBERS)


def _classes(model: keras.Model, tensor: Any, alone: bool) -> int | None:
    """Returns how many classes an output scores; None if it isn't known to.

    A softmax does. Plain numbers in one row are taken for scores before it if the model gives
    nothing else.
    """
    classes = tensor.shape[-1] if len(tensor.shape) > 1 else None
    if classes is None or classes < 2:
        return None
    activation = _last_activation(model, tensor)
    if activation == "softmax" or (alone and len(tensor.shape) == 2 and activation == "linear"):
        return int(classes)
    return None


def _last_activation(model: keras.Model, tensor: Any) -> str:
    """Returns the activation that an output comes out of: `linear` if its layer has none."""
    made_by = {id(out): (node, out) for node in nodes(model) for out in node.outputs}
    while id(tensor) in made_by:
        node, _ = made_by[id(tensor)]
        operation = node.operation
        if is_nested(operation):
            inside = functional(operation)
            place = [id(out) for out in node.outputs].index(id(tensor))
            return _last_activation(inside, inside.outputs[place])
        kind = type(operation).__name__
        activation = getattr(operation, "activation", None)
        if activation is not None and activation is not keras.activations.linear:
            return str(getattr(activation, "__name__", kind)).lower()
        if kind in ("Softmax", "Sigmoid", "ReLU", "LeakyReLU", "PReLU", "ELU", "Tanh", "Relu"):
            return kind.lower()
        if kind not in _UNCHANGED and kind != "Activation":
            return "linear"
        tensor = node.input_tensors[0]
    return "linear"


def write_model_names(model: keras.Model, path: Path) -> None:
    """Names the inputs and outputs of a converted file as its model does.

    A file with one input and one output has no need of names, and stays as it is.
    """
    inputs, outputs = model_inputs(model), model_outputs(model)
    if len(inputs) > 1 or len(outputs) > 1:
        write_names(path, [x.name for x in inputs], [y.name for y in outputs])


def check_layers(model: keras.Model) -> None:
    """Refuses what no file can hold.

    Raises:
        InputError: an input of text, a layer that looks words up, or a recurrent layer that keeps
            its state from one call to the next.
    """
    for given in model_inputs(model):
        require(
            given.dtype != "string",
            f"the input '{given.name}' of model '{model.name}' takes text, and a .tflite takes "
            "numbers: keep the layers that read text (TextVectorization, StringLookup, Hashing) "
            "outside, and export the model from their integers on, keras.Model(integers, outputs)",
        )
    for layer in operations(model):
        kind = type(layer).__name__
        require(
            kind not in _LOOKUPS,
            f"layer '{layer.name}' ({kind}) needs ops that no .tflite runtime has: keep it "
            "outside, and export the model from its integers on, keras.Model(integers, outputs)",
        )
        require(
            not getattr(layer, "stateful", False) or not hasattr(layer, "return_state"),
            f"layer '{layer.name}' ({kind}) keeps its state between calls (stateful=True), which a "
            "file would mix between its users: make it with return_state=True and feed the states "
            "as inputs",
        )
