"""Converts Keras 3 models to tf_keras and checks that they compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import tree

from tfcompress.bridge import compare, legacy
from tfcompress.bridge.activations import TO_TF_KERAS
from tfcompress.bridge.built_in import valid_name
from tfcompress.bridge.compare import Step, fits, index_limits, keras_outputs
from tfcompress.bridge.convert import Converter
from tfcompress.bridge.errors import BridgeError, NoBuiltInLayerError, refusal
from tfcompress.bridge.operands import Rows
from tfcompress.bridge.operations import stand_in
from tfcompress.graph.names import free_name
from tfcompress.graph.nodes import functional, input_structure, operations, producer, run
from tfcompress.graph.rewrite import clone

_MASK = object()  # Stands for masks that Keras 3 computes in its graph, tf_keras inside its layers.


def to_tf_keras(
    model: keras.Model,
    *,
    tolerance: float = 1e-5,
    replace: Mapping[str, Callable[..., Any]] | None = None,
) -> Any:
    """Returns the same model in tf_keras, of built-in layers, flat, with weights of its own.

    Layers keep their names; those shared in the model are shared in the copy. Layers of ours become
    the built-in layers that they are lowered to. An activation that tf_keras lacks becomes layers
    behind the one that had it, and an operation of `keras.ops` becomes a built-in layer.

    Args:
        model: a functional or Sequential model of Keras 3.
        tolerance: by how much the outputs on random inputs may differ, relative to the larger of 1
            and their largest absolute value.
        replace: by operation name, a function of tf_keras tensors that is called in its place.

    Raises:
        InputError: the model has no graph.
        BridgeError: something in it has no equal in tf_keras, or the outputs differ; names the
            layer.
    """
    builder = _Builder(unique(model), replace or {})
    result = builder.build(model.name)
    check(builder.model, result, builder.steps, tolerance)
    return result


def unique(model: keras.Model) -> keras.Model:
    """Returns the model itself, or a copy in which no two operations have the same name."""
    model = functional(model)
    names = {id(operation): operation.name for operation in operations(model)}
    every = [*names.values(), *(x.name for x in model.inputs)]
    return model if len(set(every)) == len(every) else clone(model)


def tf_names(model: keras.Model) -> dict[str, str]:
    """Returns the names that tf_keras can't have, each with the one that replaces it.

    A layer's weights are found again by them, so they depend on nothing but the model.
    """
    names = [*(x.name for x in model.inputs), *(each.name for each in operations(model))]
    taken = set(names)
    changed = {}
    for name in dict.fromkeys(names):
        if valid_name(name) != name:
            changed[name] = free_name(valid_name(name), taken)
            taken.add(changed[name])
    return changed


class _Builder:
    """Builds the tf_keras copy of one model."""

    def __init__(self, model: keras.Model, replace: Mapping[str, Callable[..., Any]]) -> None:
        self.model = model
        self.replace = replace
        self.tf_keras = legacy.tf_keras()
        known = {operation.name for operation in operations(model)}
        for name in replace:
            if name not in known:
                raise BridgeError(f"replace names '{name}', which the model doesn't have")
        taken = {*known, *(x.name for x in model.inputs)}
        self.names = tf_names(model)
        by_id = {id(op): self.names[op.name] for op in operations(model) if op.name in self.names}
        self.converter = Converter(self.tf_keras.layers, TO_TF_KERAS, taken, by_id)
        self.steps: list[Step] = []
        self._lowered: dict[int, Callable[..., Any]] = {}
        self._alive: list[Any] = []  # What is known by its id.

    def build(self, name: str) -> Any:
        """Returns the copy under this name, with the model's weights."""
        inputs = tree.map_structure(self._input, input_structure(self.model))
        outputs = run(self.model, inputs, self._apply)
        for output in tree.flatten(outputs):
            if output is _MASK or isinstance(output, Rows):
                raise BridgeError(
                    f"an output of '{self.model.name}' is a mask or has another number of examples "
                    "than the inputs: leave it out"
                )
        result = self.tf_keras.Model(inputs, outputs, name=valid_name(name))
        self.converter.copy_weights()
        return result

    def _input(self, x: Any) -> Any:
        """Returns a tf_keras input like one of the model's."""
        origin = producer(x)
        if getattr(origin, "optional", False) or getattr(x, "sparse", False):
            raise refusal(origin, "is optional or sparse: tf_keras needs ordinary inputs")
        return self.tf_keras.Input(
            batch_shape=x.shape, dtype=x.dtype, name=self.names.get(x.name, x.name)
        )

    def _apply(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls what stands for an operation, and keeps what it gives for the comparison."""
        if operation.name in self.replace:
            outputs = self.replace[operation.name](*args, **kwargs)
        else:
            outputs = self._call(operation, None, args, kwargs)
        self.steps.append(Step(operation.name, type(operation).__name__, outputs))
        return outputs

    def _call(self, operation: Any, owner: Any, args: Any, kwargs: Any) -> Any:
        """Calls what stands for an operation of the model, or of a layer of ours (`owner`)."""
        if not isinstance(operation, keras.layers.Layer):
            return self._call_operation(operation, owner, args, kwargs)
        if hasattr(operation, "lower") and owner is None:
            return self._call_lowered(operation, args, kwargs)
        return self._call_built_in(operation, args, kwargs)

    def _call_lowered(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Calls the built-in layers that a layer of ours is lowered to."""
        if id(layer) not in self._lowered:
            self._lowered[id(layer)] = layer.lower()
        specs = tree.map_structure(
            lambda x: keras.Input(batch_shape=tuple(x.shape), dtype=x.dtype.name), args[0]
        )
        try:
            inner = keras.Model(specs, self._lowered[id(layer)](specs))
            self._alive.append(inner)
            return run(inner, args[0], lambda part, *a, **k: self._call(part, layer, a, k))
        except NoBuiltInLayerError as error:
            raise refusal(
                layer,
                f"is lowered to {error.what}, which tf_keras has no built-in layer for: leave it "
                f"out, or give a function of tf_keras tensors as replace={{'{layer.name}': ...}}",
            ) from error
        except BridgeError:
            raise
        except ValueError as error:
            raise refusal(layer, f"can't be lowered to built-in layers: {error}") from error

    def _call_operation(self, operation: Any, owner: Any, args: Any, kwargs: Any) -> Any:
        """Calls the built-in layers for an operation of `keras.ops`."""
        if _has_mask((args, kwargs)) or _makes_mask(operation):
            return _MASK
        name = self.converter.name(owner) if owner else None
        return self.converter.program_for(operation, stand_in(operation), name)(*args, **kwargs)

    def _call_built_in(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Calls the tf_keras layer for a built-in layer."""
        new = self.converter.layer_for(layer)
        # Keras 3 lets the model's own call decide about `training`, whatever a layer was told.
        kwargs = {k: v for k, v in kwargs.items() if v is not None and k != "training"}
        tensors = [x for x in tree.flatten(args) if not isinstance(x, Rows)]
        masks = [key for key, value in kwargs.items() if _has_mask(value)]
        if _has_mask(args):
            raise refusal(layer, "takes a mask as its input: only layers that compute one can")
        if masks and all(getattr(x, "_keras_mask", None) is None for x in tensors):
            raise refusal(
                layer,
                f"is given {masks[0]}= that the graph computes: only masks of Embedding and "
                "Masking layers can be converted",
            )
        kwargs = {key: value for key, value in kwargs.items() if key not in masks}
        rows = [x for x in tree.flatten(args) if isinstance(x, Rows)]
        if not rows:
            return new(*args, **kwargs)
        if type(layer).__name__ != "Dense" or len(args) != 1:
            raise refusal(layer, "comes behind a reshape across the batch: keep the batch's axis")
        return Rows(new(rows[0].tensor))


def _makes_mask(operation: Any) -> bool:
    """Returns whether an operation computes a mask, as Keras 3 does behind an Embedding."""
    kind = type(operation).__name__
    filled = kind in ("OnesLike", "ZerosLike") and "bool" in str(getattr(operation, "dtype", None))
    return filled or kind == "NotEqual"


def _has_mask(value: Any) -> bool:
    return any(x is _MASK for x in tree.flatten(value))


def check(model: keras.Model, copy: Any, copy_steps: list[Step], tolerance: float) -> float:
    """Compares a Keras 3 model with its tf_keras copy; see `compare.check`."""

    def packed(inputs: Any) -> Any:
        return tree.pack_sequence_as(input_structure(model), inputs)

    def steps(inputs: Any) -> list[Step]:
        taken: list[Step] = []

        def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if "training" in kwargs:
                kwargs["training"] = False
            return compare.call_and_record(taken, operation, *args, **kwargs)

        run(model, tree.map_structure(keras.ops.convert_to_tensor, packed(inputs)), apply)
        return [step for step, copied in zip(taken, copy_steps, strict=True) if _real(copied)]

    def steps_of_copy(inputs: Any) -> list[Step]:
        real = [step for step in copy_steps if _real(step)]
        outputs = [tree.flatten(step.outputs) for step in real]
        values = legacy.tf_keras().Model(copy.inputs, outputs)(inputs, training=False)
        return [Step(s.name, s.kind, v) for s, v in zip(real, values, strict=True)]

    return compare.check(
        model.name,
        "tf_keras",
        compare.samples(model.inputs, index_limits(model), lambda x: fits(model, packed(x))),
        (
            lambda inputs: keras_outputs(model, packed(inputs)),
            lambda inputs: copy(packed(inputs), training=False),
        ),
        (steps, steps_of_copy),
        tolerance,
    )


def _real(step: Step) -> bool:
    """Returns whether a step gave ordinary tensors, which can be compared."""
    return all(x is not _MASK and not isinstance(x, Rows) for x in tree.flatten(step.outputs))
