"""Converts tf_keras models to Keras 3 and checks that they compute the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.bridge import compare, configs, tf_graph
from tfcompress.bridge.activations import TO_KERAS
from tfcompress.bridge.built_in import valid_name
from tfcompress.bridge.compare import Step, fits, index_limits, keras_outputs
from tfcompress.bridge.convert import Converter, copy_weights
from tfcompress.bridge.errors import BridgeError, refusal
from tfcompress.bridge.operations import stand_in
from tfcompress.bridge.to_tf_keras import tf_names, unique
from tfcompress.graph.names import free_name
from tfcompress.graph.nodes import operations
from tfcompress.graph.rewrite import clone, lower

# Operations on tensors in a tf_keras model, by TensorFlow's name, with Keras 3's. These and no
# others: a file could name any function of TensorFlow, and some of them write files.
TENSOR_OPERATIONS = {
    "__operators__.add": "Add",
    "math.abs": "Abs",
    "math.add": "Add",
    "math.divide": "Divide",
    "math.maximum": "Maximum",
    "math.minimum": "Minimum",
    "math.multiply": "Multiply",
    "math.negative": "Negative",
    "math.sigmoid": "Sigmoid",
    "math.square": "Square",
    "math.subtract": "Subtract",
    "math.tanh": "Tanh",
    "math.truediv": "TrueDivide",
    "nn.relu": "Relu",
    "nn.relu6": "Relu6",
    "nn.silu": "Silu",
}


def to_keras(model: Any, *, tolerance: float = 1e-5) -> keras.Model:
    """Returns the same model in Keras 3, of built-in layers, flat, with weights of its own.

    Layers keep their names, unless nested models have some twice.

    Args:
        model: a functional or Sequential model of tf_keras.
        tolerance: by how much the outputs on random inputs may differ, relative to the larger of 1
            and their largest absolute value.

    Raises:
        BridgeError: something in it has no equal in Keras 3, or the outputs differ; names the
            layer.
    """
    flat = tf_graph.functional(model)
    layers = {id(layer): layer for layer in tf_graph.called_layers(flat)}
    taken = {x.name for x in flat.inputs}
    names: dict[int, str] = {}
    for key, layer in layers.items():
        names[key] = free_name(valid_name(layer.name), taken)
        taken.add(names[key])
    converter = Converter(keras.layers, TO_KERAS, taken, names)
    steps: list[Step] = []

    def apply(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("training"):
            raise refusal(layer, "is called with training=True: call it without")
        if steps_of := _steps(layer):
            new = converter.program_for(layer, steps_of)
            outputs = new(*args, *_set_arguments(kwargs).values())
        else:
            args, kwargs = _with_states(layer, args, _set_arguments(kwargs))
            outputs = converter.layer_for(layer)(*args, **kwargs)
        steps.append(Step(layer.name, type(layer).__name__, outputs))
        return outputs

    inputs = tf_graph.structured(flat, [_input(x) for x in flat.inputs])
    result = keras.Model(inputs, tf_graph.run(flat, inputs, apply), name=model.name)
    converter.copy_weights()
    _check(flat, result, steps, tolerance)
    return result


def copy_back(tf_model: Any, like: keras.Model, *, tolerance: float = 1e-5) -> keras.Model:
    """Returns a Keras 3 model with the weights that a tf_keras copy has, perhaps after training.

    Args:
        tf_model: made by `to_tf_keras` from `like`, or by TFMOT from that, with the same layer
            names.
        like: the Keras 3 model, which isn't changed. Layers of ours come back as the built-in
            layers that they are lowered to: others couldn't hold every trained weight.
        tolerance: as in `to_keras`.

    Raises:
        BridgeError: a layer is missing or has weights of other shapes, or the outputs differ.
    """
    source = unique(like)
    if any(hasattr(operation, "lower") for operation in operations(source)):
        source = lower(source)
    names = tf_names(unique(like))
    result = clone(source, keep_weights=False)
    originals = {layer.name: layer for layer in tf_model.layers}
    seen: set[int] = set()
    for layer in operations(result):
        if id(layer) in seen or not isinstance(layer, keras.layers.Layer) or not layer.weights:
            continue
        seen.add(id(layer))
        name = names.get(layer.name) or valid_name(layer.name)
        if name not in originals:
            raise refusal(
                layer,
                f"isn't in the tf_keras model '{tf_model.name}': give what to_tf_keras made from "
                f"'{like.name}', with TFMOT's wrappers stripped",
            )
        copy_weights(originals[name], layer)
    inputs = {names.get(x.name, x.name): x.name for x in result.inputs}
    _check(tf_graph.functional(tf_model), result, None, tolerance, inputs)
    return result


def _set_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call that are set; tf_keras adds `training=None` and a name."""
    return {key: value for key, value in kwargs.items() if value is not None and key != "name"}


def _with_states(layer: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Returns the arguments of a call; tf_keras lists a recurrent layer's states with its input."""
    recurrent = type(layer).__name__ in ("Bidirectional", *configs.RECURRENT)
    if recurrent and args and isinstance(args[0], list | tuple):
        return (args[0][0],), {**kwargs, "initial_state": list(args[0][1:])}
    return args, kwargs


def _input(x: Any) -> Any:
    """Returns an input of Keras 3 like one of tf_keras."""
    if any(word in type(x).__name__ for word in ("Ragged", "Sparse")):
        raise BridgeError(f"input '{x.name}' is ragged or sparse: Keras 3 needs ordinary inputs")
    return keras.Input(batch_shape=tuple(x.shape), dtype=x.dtype.name, name=x.name)


def _steps(layer: Any) -> Callable[..., Any] | None:
    """Returns what stands for a layer of which Keras 3 has no class; None for others."""
    kind = type(layer).__name__
    if kind == "ThresholdedReLU":
        return lambda built_in, x: built_in("ReLU", threshold=float(layer.theta))(x)
    if kind != "TFOpLambda":
        return None
    if layer.symbol not in TENSOR_OPERATIONS:
        raise refusal(
            layer,
            f"calls TensorFlow's {layer.symbol}: only {', '.join(sorted(TENSOR_OPERATIONS))} can "
            "be converted",
        )
    return stand_in(layer, TENSOR_OPERATIONS[layer.symbol])


def _check(
    model: Any,
    copy: keras.Model,
    copied: list[Step] | None,
    tolerance: float,
    names: Mapping[str, str] | None = None,
) -> None:
    """Compares a tf_keras model with its Keras 3 copy; see `compare.check`.

    Args:
        model: of tf_keras.
        copy: of Keras 3.
        copied: what each layer of the copy gives; None if they aren't known one by one.
        tolerance: as in `compare.check`.
        names: by the name of an input of the model, that of the copy's, where they differ.
    """

    def packed(inputs: Any) -> Any:
        return tf_graph.structured(model, inputs)

    def steps(inputs: Any) -> list[Step]:
        taken: list[Step] = []
        if copied is not None:
            record = functools.partial(compare.call_and_record, taken)
            tf_graph.run(model, packed([_tensor(x) for x in inputs]), record)
        return taken

    def steps_of_copy(inputs: Any) -> list[Step]:
        if copied is None:
            return []
        with_every_output = keras.Model(copy.inputs, [tree.flatten(s.outputs) for s in copied])
        values = keras_outputs(with_every_output, inputs)
        return [Step(s.name, s.kind, v) for s, v in zip(copied, values, strict=True)]

    # The two may list their inputs in different orders.
    by_name = dict(zip((x.name for x in copy.inputs), index_limits(copy), strict=True))
    limits = [by_name[(names or {}).get(x.name, x.name)] for x in model.inputs]
    compare.check(
        model.name,
        "Keras 3",
        compare.samples(model.inputs, limits, lambda x: fits(copy, packed(x))),
        (
            lambda inputs: model(packed(inputs), training=False),
            lambda inputs: keras_outputs(copy, packed(inputs)),
        ),
        (steps, steps_of_copy),
        tolerance,
    )


def _tensor(x: np.ndarray) -> Any:
    import tensorflow

    return tensorflow.convert_to_tensor(x)
