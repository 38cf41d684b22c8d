"""Reads the graph of a functional Keras model: its nodes, tensors and their structure.

The only module that touches Keras's private graph (`_nodes_by_depth`, `arguments.fill_in`,
`_keras_history`, ...): Keras has no public way to visit a model's nodes. What both Keras 3 and
tf_keras (Keras 2) have under the same private name is read here for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import tree

from tfcompress.errors import InputError


def functional(model: keras.Model) -> keras.Model:
    """Returns the model as a functional one, with the same layers.

    Raises:
        InputError: the model is subclassed, or was never built, so that it has no graph.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"expected a Keras model; got {type(model).__name__}")
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise InputError(
                f"the Sequential model '{model.name}' has no input shape: build it, or begin with "
                "keras.Input"
            )
        return model._functional
    if not has_nodes(model):
        raise InputError(
            f"the model '{model.name}' is subclassed and has no graph: give one that is made of "
            "its layers and shares its weights, inputs = keras.Input(shape); functional = "
            f"keras.Model(inputs, {_variable(model)}.call(inputs))"
        )
    return model


def _variable(model: keras.Model) -> str:
    """Returns what a program may call a model."""
    return model.name if model.name.isidentifier() else "model"


def has_nodes(operation: Any) -> bool:
    """Returns whether an operation is a model with nodes of its own, of Keras 3 or of tf_keras.

    A Sequential model of Keras 3 isn't: the functional model inside it has them.
    """
    return bool(getattr(operation, "_nodes_by_depth", None))


def is_nested(operation: Any) -> bool:
    """Returns whether an operation of a Keras 3 model is itself a model with a graph."""
    return isinstance(operation, keras.Sequential) or has_nodes(operation)


def is_symbolic(value: Any) -> bool:
    """Returns whether a value is a tensor of a model's graph, of Keras 3 or of tf_keras."""
    return hasattr(value, "_keras_history")


def nodes(model: keras.Model) -> Iterator[Any]:
    """Yields Keras's nodes of one functional model in topological order, inputs left out."""
    for node in every_node(functional(model)):
        if node.operation is not None and not node.is_input:
            yield node


def every_node(model: Any) -> Iterator[Any]:
    """Yields all nodes, those of inputs with them, of a model that `has_nodes`, of either Keras."""
    by_depth = model._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def operations(model: keras.Model) -> Iterator[Any]:
    """Yields the operation of every node, nested models' included; a shared layer repeatedly."""
    for node in nodes(model):
        if is_nested(node.operation):
            yield from operations(node.operation)
        else:
            yield node.operation


def input_structure(model: keras.Model) -> Any:
    """Returns the model's input tensors in the structure (list, dictionary) that it takes."""
    return functional(model)._inputs_struct


def output_structure(model: keras.Model) -> Any:
    """Returns the model's symbolic outputs in the structure in which it gives them."""
    return functional(model)._outputs_struct


def output_keys(model: keras.Model) -> list[str]:
    """Returns the names by which targets belong to the outputs, in the outputs' order.

    They are the keys of outputs in a dictionary, and else the names of the layers that give them.
    """
    structure = output_structure(model)
    if isinstance(structure, dict) and not any(map(tree.is_nested, structure.values())):
        return sorted(structure)
    return list(functional(model).output_names)


def producer(tensor: Any) -> Any:
    """Returns the operation that made a symbolic tensor."""
    return tensor._keras_history.operation


def place_of_output(tensor: Any) -> int:
    """Returns which of its operation's outputs a symbolic tensor is, from 0."""
    return int(tensor._keras_history.tensor_index)


def inputs_of(tensor: Any) -> list[Any]:
    """Returns the symbolic tensors that the operation took that made a symbolic tensor."""
    operation, call, _ = tensor._keras_history
    return list(operation._inbound_nodes[call].input_tensors)


def producers(tensors: Any) -> Iterator[Any]:
    """Yields every operation that symbolic tensors depend on, once for each of its calls.

    Args:
        tensors: any structure of symbolic tensors of Keras 3.
    """
    seen: set[tuple[int, int]] = set()
    front = tree.flatten(tensors)
    while front:
        tensor = front.pop()
        operation, call, _ = tensor._keras_history
        if (id(operation), call) not in seen:
            seen.add((id(operation), call))
            front.extend(inputs_of(tensor))
            yield operation


def call_arguments(node: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns what one node's operation was called with, symbolic tensors in their places."""
    return node.arguments.args, node.arguments.kwargs


def run(model: keras.Model, inputs: Any, apply: Callable[..., Any]) -> Any:
    """Calls `apply(operation, *args, **kwargs)` for each node, nested models' nodes included.

    Args:
        model: a functional or Sequential model.
        inputs: in the model's structure, or a dictionary by the names of its inputs.
        apply: makes an operation's outputs of its arguments.

    Returns:
        The outputs in the model's structure.
    """
    model = functional(model)
    if isinstance(inputs, dict) and not isinstance(model._inputs_struct, dict):
        inputs = [inputs[x.name] for x in model.inputs]
    values = dict(zip(map(id, model.inputs), tree.flatten(inputs), strict=True))
    for node in nodes(model):
        if any(id(tensor) not in values for tensor in node.input_tensors):
            continue  # A node that these inputs don't reach.
        args, kwargs = node.arguments.fill_in(values)
        if is_nested(node.operation):
            outputs = run(node.operation, args[0] if args else kwargs["inputs"], apply)
        else:
            outputs = apply(node.operation, *args, **kwargs)
        values.update(zip(map(id, node.outputs), tree.flatten(outputs), strict=True))
    return tree.pack_sequence_as(
        model._outputs_struct, [values[id(tensor)] for tensor in model.outputs]
    )
