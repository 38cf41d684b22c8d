"""Walks, copies and rewrites functional Keras models.

The only place that touches Keras's private graph (`_nodes_by_depth`, `arguments.fill_in`): Keras
has no public way to visit a model's nodes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import tree

from tfcompress.errors import InputError

Apply = Callable[..., Any]


def functional(model: keras.Model) -> keras.Model:
    """The model as a functional one, with the same layers.

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
    if not hasattr(model, "_nodes_by_depth"):
        raise InputError(
            f"the model '{model.name}' is subclassed and has no graph to rewrite: give a "
            "functional or Sequential model"
        )
    return model


def _nested(operation: Any) -> bool:
    return isinstance(operation, keras.Sequential) or hasattr(operation, "_nodes_by_depth")


def nodes(model: keras.Model) -> Iterator[Any]:
    """Keras's nodes of one functional model in topological order, inputs left out."""
    by_depth = functional(model)._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if node.operation is not None and not node.is_input:
                yield node


def run(model: keras.Model, inputs: Any, apply: Callable[..., Any]) -> Any:
    """Calls `apply(operation, *args, **kwargs)` for each node, nested models' nodes included."""
    model = functional(model)
    if isinstance(inputs, dict) and not isinstance(model._inputs_struct, dict):
        inputs = [inputs[x.name] for x in model.inputs]
    values = dict(zip(map(id, model.inputs), tree.flatten(inputs), strict=True))
    for node in nodes(model):
        if any(id(tensor) not in values for tensor in node.input_tensors):
            continue  # A node that these inputs don't reach.
        args, kwargs = node.arguments.fill_in(values)
        if _nested(node.operation):
            outputs = run(node.operation, args[0] if args else kwargs["inputs"], apply)
        else:
            outputs = apply(node.operation, *args, **kwargs)
        values.update(zip(map(id, node.outputs), tree.flatten(outputs), strict=True))
    return tree.pack_sequence_as(
        model._outputs_struct, [values[id(tensor)] for tensor in model.outputs]
    )


def fresh_inputs(model: keras.Model) -> Any:
    """New inputs like the model's, in the same structure."""
    return tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
        functional(model)._inputs_struct,
    )


def _names_clash(model: keras.Model) -> bool:
    """Whether two operations of the model, nested ones included, have the same name."""
    names = {id(operation): operation.name for operation in operations(model)}
    every = [*names.values(), *(x.name for x in functional(model).inputs)]
    return len(set(every)) < len(every)


def clone(model: keras.Model, *, keep_weights: bool = True) -> keras.Model:
    """A copy with weights of its own, flat: nested models' layers stand in the copy itself.

    Layers shared in the model are shared in the copy. A layer keeps its name unless one before it
    has the same; then it gets a number.

    Args:
        model: a functional or Sequential model.
        keep_weights: whether the copy has the model's weights, or new ones.

    Raises:
        InputError: the model has no graph, or a layer can't be made from its configuration.
    """
    copies: dict[int, Any] = {}
    names = {x.name for x in functional(model).inputs}

    def copy(operation: Any) -> Any:
        if id(operation) not in copies:
            name = _free_name(operation.name, names)
            names.add(name)
            try:
                config = operation.get_config()
                copies[id(operation)] = type(operation).from_config({**config, "name": name})
            except Exception as error:
                if not isinstance(operation, keras.layers.Layer):
                    return operation  # Of keras.ops, with arguments that no configuration holds.
                raise InputError(
                    f"layer '{operation.name}' ({type(operation).__name__}) can't be copied from "
                    f"its configuration: {error}"
                ) from error
        return copies[id(operation)]

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return copy(operation)(*args, **kwargs)

    inputs = fresh_inputs(model)
    result = keras.Model(inputs, run(model, inputs, apply), name=model.name)
    for operation in operations(model):
        if isinstance(operation, keras.layers.Layer) and keep_weights:
            copies[id(operation)].set_weights(operation.get_weights())
            if hasattr(operation, "finalize_state"):  # What adapted layers compute with.
                copies[id(operation)].finalize_state()
    return result


def _free_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken."""
    free, number = name, 1
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def operations(model: keras.Model) -> Iterator[Any]:
    """The operation of every node, nested models' included; a shared layer comes repeatedly."""
    for node in nodes(model):
        if _nested(node.operation):
            yield from operations(node.operation)
        else:
            yield node.operation


def rewrite(model: keras.Model, replace: Mapping[str, Apply]) -> keras.Model:
    """The model with some operations replaced; all others are shared with it, not copied.

    Args:
        model: a functional or Sequential model; nested models are flattened.
        replace: operation name to a function that is called in its place, with its arguments.

    Raises:
        InputError: the model has no graph, or operations of it share a name.
    """
    if _names_clash(model):
        raise InputError(f"the model '{model.name}' has layers of the same name: clone it first")

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return replace.get(operation.name, operation)(*args, **kwargs)

    inputs = fresh_inputs(model)
    outputs = run(model, inputs, apply)
    _rename_new(model, outputs)
    return keras.Model(inputs, outputs, name=model.name)


def _rename_new(model: keras.Model, outputs: Any) -> None:
    """Numbers new operations of keras.ops whose automatic names the model has already.

    Keras counts its automatic names from 0 in each process, also beside those of a loaded model.
    """
    old = {id(operation) for operation in operations(model)}
    names = {operation.name for operation in operations(model)}
    seen: set[tuple[int, int]] = set()
    front = tree.flatten(outputs)
    while front:
        operation, index, _ = front.pop()._keras_history
        if (id(operation), index) in seen:
            continue
        seen.add((id(operation), index))
        front.extend(operation._inbound_nodes[index].input_tensors)
        if id(operation) not in old and not isinstance(operation, keras.layers.Layer):
            operation.name = _free_name(operation.name, names)
            names.add(operation.name)


def lower(model: keras.Model, **options: Any) -> keras.Model:
    """The same function in stock Keras layers: every layer of ours answers `lower()`.

    Args:
        model: a functional or Sequential model.
        options: for the layers' `lower`, such as `activations="unit"`.
    """
    if _names_clash(model):
        model = clone(model)
    layers = {op.name: op for op in operations(model) if hasattr(op, "lower")}
    return rewrite(model, {name: layer.lower(**options) for name, layer in layers.items()})


@dataclasses.dataclass(frozen=True)
class Graph:
    """Who feeds whom in a flat functional model, by operation name.

    Attributes:
        operations: name to operation, in topological order.
        producers: name to the names of the operations whose outputs it takes, one for each call
            and tensor.
        consumers: name to the names of the operations that take its outputs.
        calls: name to how often the operation is called; above 1 for shared layers.
        outputs: names of the operations whose outputs are the model's.
    """

    operations: dict[str, Any]
    producers: dict[str, list[str]]
    consumers: dict[str, list[str]]
    calls: dict[str, int]
    outputs: set[str]

    @classmethod
    def of(cls, model: keras.Model) -> Graph:
        """Reads a flat model, as `clone` gives it."""
        graph = cls({}, {}, {}, {}, set())
        made_by: dict[int, str] = {}
        for node in nodes(model):
            name = node.operation.name
            graph.operations[name] = node.operation
            graph.calls[name] = graph.calls.get(name, 0) + 1
            graph.consumers.setdefault(name, [])
            for tensor in node.input_tensors:
                producer = made_by.get(id(tensor))
                if producer is not None:
                    graph.producers.setdefault(name, []).append(producer)
                    graph.consumers[producer].append(name)
            graph.producers.setdefault(name, [])
            made_by.update((id(tensor), name) for tensor in node.outputs)
        made = (made_by.get(id(tensor)) for tensor in functional(model).outputs)
        graph.outputs.update(name for name in made if name is not None)
        return graph

    def only_consumer(self, name: str) -> str | None:
        """What alone takes this operation's output; None if there are more, or the model's user."""
        consumers = self.consumers[name]
        return consumers[0] if len(consumers) == 1 and name not in self.outputs else None

    def reaches(self, names: set[str], *, forward: bool) -> set[str]:
        """All operations strictly after (`forward`) or before the named ones."""
        links = self.consumers if forward else self.producers
        reached: set[str] = set()
        front = list(names)
        while front:
            for name in links[front.pop()]:
                if name not in reached:
                    reached.add(name)
                    front.append(name)
        return reached
