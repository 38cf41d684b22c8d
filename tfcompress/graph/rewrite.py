"""Copies and rewrites functional Keras models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
from keras import tree

from tfcompress.errors import InputError
from tfcompress.graph.dtypes import float32_for_half, in_float32
from tfcompress.graph.names import free_name
from tfcompress.graph.nodes import (
    functional,
    input_structure,
    nodes,
    operations,
    producer,
    producers,
    run,
)
from tfcompress.plain_text import first_line

Apply = Callable[..., Any]


def fresh_inputs(model: keras.Model, *, full_precision: bool = False) -> Any:
    """Makes new inputs like the model's, in the same structure.

    Args:
        model: a functional or Sequential model.
        full_precision: whether those of 16-bit floats become float32.
    """

    def fresh(x: Any) -> Any:
        dtype = float32_for_half(x.dtype) if full_precision else x.dtype
        return keras.Input(batch_shape=x.shape, dtype=dtype, name=x.name)

    return tree.map_structure(fresh, input_structure(model))


def names_clash(model: keras.Model) -> bool:
    """Returns whether two operations of the model, nested ones included, have the same name."""
    names = {id(operation): operation.name for operation in operations(model)}
    every = [*names.values(), *(x.name for x in functional(model).inputs)]
    return len(set(every)) < len(every)


def clone(
    model: keras.Model, *, keep_weights: bool = True, full_precision: bool = False
) -> keras.Model:
    """Copies a model, with weights of its own, flat: nested models' layers become the copy's own.

    Layers shared in the model are shared in the copy. A layer keeps its name unless one before it
    has the same; then it gets a number.

    Args:
        model: a functional or Sequential model.
        keep_weights: whether the copy has the model's weights, or new ones.
        full_precision: whether layers of 16-bit policies, such as mixed_float16, compute in float32
            in the copy, and inputs of 16 bits become float32; else all keep their policies.

    Raises:
        InputError: the model has no graph, or a layer can't be made from its configuration.
    """
    copies: dict[int, Any] = {}
    names = {x.name for x in functional(model).inputs}

    def copy(operation: Any) -> Any:
        if id(operation) not in copies:
            name = free_name(operation.name, names)
            names.add(name)
            try:
                config = operation.get_config()
                if full_precision:
                    config = in_float32(config)
                copies[id(operation)] = type(operation).from_config({**config, "name": name})
            except Exception as error:
                if not isinstance(operation, keras.layers.Layer):
                    return operation  # Of keras.ops, with arguments that no configuration holds.
                raise _no_copy(operation, error) from error
        return copies[id(operation)]

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return copy(operation)(*args, **kwargs)

    inputs = fresh_inputs(model, full_precision=full_precision)
    result = keras.Model(inputs, run(model, inputs, apply), name=model.name)
    for operation in operations(model):
        if isinstance(operation, keras.layers.Layer) and keep_weights:
            copies[id(operation)].set_weights(operation.get_weights())
            if hasattr(operation, "finalize_state"):  # What adapted layers compute with.
                copies[id(operation)].finalize_state()
    return result


def with_output_names(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Returns a model whose outputs have these names, by which losses and targets find them.

    Args:
        model: flat, as `clone` returns it; its operations are renamed.
        names: of the operations that give the outputs; one that has such a name and gives none
            gets another.
    """
    last = [producer(x) for x in functional(model).outputs]
    if [each.name for each in last] == list(names) or len(set(map(id, last))) < len(last):
        return model
    every = list({id(each): each for each in operations(model)}.values())
    taken = {*names, *(each.name for each in every), *(x.name for x in functional(model).inputs)}
    for operation in every:
        if operation.name in names and not any(operation is each for each in last):
            kind = type(getattr(operation, "layer", operation)).__name__.lower()
            operation.name = free_name(f"{operation.name}_{kind}", taken)
            taken.add(operation.name)
    for operation, name in zip(last, names, strict=True):
        operation.name = name
    return clone(model)


def _no_copy(layer: keras.layers.Layer, error: Exception) -> InputError:
    """Returns the error for a layer that its configuration doesn't make again."""
    # Keras says so in ten lines where there is no `get_config`.
    cause = "" if isinstance(error, NotImplementedError) else f" ({first_line(error)})"
    return InputError(
        f"layer '{layer.name}' ({type(layer).__name__}) can't be copied from its configuration"
        f"{cause}: give its class a get_config or, if it is made of layers, write "
        f"{layer.name}.call(x) for {layer.name}(x), which puts these into the model"
    )


def rewrite(model: keras.Model, replace: Mapping[str, Apply]) -> keras.Model:
    """Replaces some operations of a model; the result shares all others with it.

    Args:
        model: a functional or Sequential model; nested models are flattened.
        replace: operation name to a function that is called in its place, with its arguments.

    Raises:
        InputError: the model has no graph, or operations of it share a name.
    """
    if names_clash(model):
        raise InputError(f"the model '{model.name}' has layers of the same name: clone it first")

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return replace.get(operation.name, operation)(*args, **kwargs)

    inputs = fresh_inputs(model)
    outputs = run(model, inputs, apply)
    _rename_new(model, outputs)
    return keras.Model(inputs, outputs, name=model.name)


def _rename_new(model: keras.Model, outputs: Any) -> None:
    """Numbers new operations whose names the model has already.

    Keras counts its automatic names from 0 in each process, also beside those of a loaded model;
    and a layer `conv` may be lowered to `conv_in` where the model has another one of that name. A
    new layer may have the name of one that it replaces.
    """
    old = {id(operation) for operation in operations(model)}
    every = list({id(operation): operation for operation in producers(outputs)}.values())
    fixed = [each for each in every if id(each) in old or isinstance(each, keras.layers.InputLayer)]
    names = {operation.name for operation in fixed}
    new = [operation for operation in every if operation not in fixed]
    # From the model's inputs on, so that of two new ones the first keeps its name.
    for layer in reversed([each for each in new if isinstance(each, keras.layers.Layer)]):
        layer.name = free_name(layer.name, names)
        names.add(layer.name)
    names |= {operation.name for operation in operations(model)}
    for operation in new:
        if not isinstance(operation, keras.layers.Layer):
            operation.name = free_name(operation.name, names)
            names.add(operation.name)


def lower(model: keras.Model, *, keep: Collection[str] = (), **options: Any) -> keras.Model:
    """Returns the same function in built-in Keras layers: every layer of ours has a `lower()`.

    Args:
        model: a functional or Sequential model.
        keep: names of layers of ours that stay as they are; the model's names must be unique then.
        options: for the layers' `lower`, such as `activations="unit"`.
    """
    if names_clash(model):
        model = clone(model)
    layers = {op.name: op for op in operations(model) if hasattr(op, "lower")}
    layers = {name: layer for name, layer in layers.items() if name not in keep}
    return rewrite(model, {name: layer.lower(**options) for name, layer in layers.items()})


@dataclasses.dataclass(frozen=True)
class Graph:
    """Says which operations feed which in a flat functional model, by name.

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
        last = (made_by.get(id(tensor)) for tensor in functional(model).outputs)
        graph.outputs.update(name for name in last if name is not None)
        return graph

    def only_consumer(self, name: str) -> str | None:
        """Returns the one consumer of an operation; None if it has more, or is an output."""
        consumers = self.consumers[name]
        return consumers[0] if len(consumers) == 1 and name not in self.outputs else None

    def reaches(self, names: set[str], *, forward: bool) -> set[str]:
        """Returns all operations strictly after (`forward`) or before the named ones."""
        links = self.consumers if forward else self.producers
        reached: set[str] = set()
        front = list(names)
        while front:
            for name in links[front.pop()]:
                if name not in reached:
                    reached.add(name)
                    front.append(name)
        return reached
