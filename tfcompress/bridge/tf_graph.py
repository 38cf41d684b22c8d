"""Walks the graph of tf_keras models.

The only module of the bridge that touches what tf_keras keeps private; what Keras 3 has under the
same name is read in `graph.nodes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from keras import tree

from tfcompress.bridge.errors import BridgeError
from tfcompress.graph.nodes import every_node, has_nodes


def functional(model: Any) -> Any:
    """Returns a tf_keras model that has a graph.

    Raises:
        BridgeError: it has none, or it isn't a model of tf_keras.
    """
    name = type(model).__name__
    if not any(base.__module__.startswith("tf_keras.") for base in type(model).__mro__):
        raise BridgeError(f"expected a model of tf_keras; got {type(model).__module__}.{name}")
    if not has_nodes(model) or not getattr(model, "inputs", None):
        raise BridgeError(
            f"the tf_keras model '{model.name}' is subclassed or was never built, so it has no "
            "graph: give a functional or Sequential model"
        )
    return model


def called_layers(model: Any) -> Iterator[Any]:
    """Yields the layer of every node in topological order, those of nested models included.

    A layer that is called twice comes twice.
    """
    for node in _nodes(model):
        if has_nodes(node.layer):
            yield from called_layers(functional(node.layer))
        else:
            yield node.layer


def all_layers(model: Any) -> list[Any]:
    """Returns a model's layers, with those inside wrappers and nested models."""
    return list(model._flatten_layers(include_self=False))


def outputs_of(model: Any, name: str) -> list[Any]:
    """Returns what a layer of the model gives, symbolically, for each of its calls."""
    return [node.outputs for node in every_node(model) if node.layer.name == name]


def run(model: Any, inputs: Any, apply: Callable[..., Any]) -> Any:
    """Calls `apply(layer, *args, **kwargs)` for each node, nested models' nodes included.

    Args:
        model: functional, of tf_keras.
        inputs: in the model's structure, or in that of its list of inputs.
        apply: makes a layer's outputs of its arguments.

    Returns:
        The outputs in the model's structure.
    """
    values = dict(zip(map(id, model.inputs), _in_order(model, inputs), strict=True))

    def filled(value: Any) -> Any:
        return values.get(id(value), value)

    for node in _nodes(model):
        args, kwargs = tree.map_structure(filled, (node.call_args, node.call_kwargs))
        if has_nodes(node.layer):
            outputs = run(node.layer, args[0] if args else kwargs["inputs"], apply)
        else:
            outputs = apply(node.layer, *args, **kwargs)
        values.update(zip(map(id, tree.flatten(node.outputs)), tree.flatten(outputs), strict=True))
    return tree.map_structure(filled, _plain(model._nested_outputs))


def structured(model: Any, values: list[Any]) -> Any:
    """Returns values, one for each of the model's inputs, in the structure that it takes."""
    by_input = dict(zip(map(id, model.inputs), values, strict=True))
    return tree.map_structure(lambda x: by_input[id(x)], _plain(model._nested_inputs))


def _nodes(model: Any) -> Iterator[Any]:
    """Yields the nodes of a tf_keras model in topological order, inputs left out."""
    return (node for node in every_node(model) if not node.is_input)


def _in_order(model: Any, inputs: Any) -> list[Any]:
    """Returns the inputs in the order of the model's own list."""
    if not isinstance(inputs, dict):
        return tree.flatten(inputs)
    # By the names of its inputs, whatever their order.
    structure = model._nested_inputs
    keys = {id(x): key for key, x in structure.items()} if isinstance(structure, dict) else {}
    return [inputs[keys.get(id(x), x.name)] for x in model.inputs]


def _plain(structure: Any) -> Any:
    """Returns the structure in ordinary lists and dictionaries, not tf_keras's own kinds."""
    if isinstance(structure, dict):
        return {key: _plain(value) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return [_plain(value) for value in structure]
    return structure
