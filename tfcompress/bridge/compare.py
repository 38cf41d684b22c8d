"""Runs a model and its copy on the same random inputs, and finds the first layer that differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.bridge.errors import BridgeError
from tfcompress.graph.nodes import input_structure, run
from tfcompress.ops.differences import nudged
from tfcompress.plain_text import first_line

# For sizes that the model leaves open; the first that it can take is used.
_SIZES = (16, 32, 75, 128, 224, 331)


@dataclasses.dataclass(frozen=True)
class Step:
    """Holds the outputs of one call of a layer or operation.

    Attributes:
        name: the operation's.
        kind: its class name.
        outputs: tensors or arrays.
    """

    name: str
    kind: str
    outputs: Any


def call_and_record(steps: list[Step], layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns what a layer or operation gives, and appends that to the steps."""
    outputs = layer(*args, **kwargs)
    steps.append(Step(layer.name, type(layer).__name__, outputs))
    return outputs


def samples(
    inputs: Sequence[Any],
    limits: Sequence[int | None],
    is_large_enough: Callable[[list[np.ndarray]], bool],
) -> Iterable[list[np.ndarray]]:
    """Yields seeded random inputs, for one size of the open dimensions after the other.

    Args:
        inputs: symbolic tensors with shape and dtype.
        limits: for each, how many values it may take if they are indices, else None.
        is_large_enough: returns whether every layer has something to work on for such inputs.

    Raises:
        BridgeError: an input of strings, for which nothing can be drawn.
    """
    open_sizes = any(size is None for x in inputs for size in tuple(x.shape)[1:])
    for size in _SIZES if open_sizes else _SIZES[:1]:
        rng = np.random.default_rng(0)
        drawn = [
            _draw(rng, x, tuple(x.shape), limit, size)
            for x, limit in zip(inputs, limits, strict=True)
        ]
        if not open_sizes or is_large_enough(drawn):
            yield drawn


def _draw(rng: Any, x: Any, shape: Any, limit: int | None, size: int) -> np.ndarray:
    """Draws one input: integers below the limit, bytes, truth values or normal floats."""
    shape = (shape[0] or 2, *(size if each is None else each for each in shape[1:]))
    kind = np.dtype(getattr(x.dtype, "name", x.dtype)) if "string" not in str(x.dtype) else None
    if kind is None:
        raise BridgeError(
            f"input '{x.name}' takes strings: put what turns them into numbers before the model"
        )
    if limit is not None:
        return rng.integers(0, limit, shape).astype(kind)
    if kind == np.bool_:
        return rng.random(shape) < 0.5
    if np.issubdtype(kind, np.integer):
        return rng.integers(0, min(255, np.iinfo(kind).max) + 1, shape).astype(kind)
    return rng.standard_normal(shape).astype(kind)


def index_limits(model: keras.Model) -> list[int | None]:
    """Returns for each input how many values it may take if they are indices, else None."""
    inputs = {id(x) for x in model.inputs}
    direct: dict[int, int] = {}
    every: list[int] = []

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        size = {"CategoryEncoding": "num_tokens", "Embedding": "input_dim"}.get(
            type(operation).__name__
        )
        if size:
            every.append(getattr(operation, size))
            for x in tree.flatten(args):
                if id(x) in inputs:
                    direct[id(x)] = min(every[-1], direct.get(id(x), every[-1]))
        return operation.compute_output_spec(*args, **kwargs)

    run(model, input_structure(model), apply)
    # Whole numbers may also reach an embedding by way of other layers.
    others = [min(every) if every and "int" in x.dtype else None for x in model.inputs]
    return [direct.get(id(x), other) for x, other in zip(model.inputs, others, strict=True)]


def fits(model: keras.Model, inputs: Any) -> bool:
    """Returns whether every layer has something to work on, for arrays in the model's structure.

    Given fewer pixels than its kernel has, TensorFlow's convolution reads foreign memory on a CPU.
    """
    empty = False

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal empty
        outputs = operation.compute_output_spec(*args, **kwargs)
        empty = empty or any(0 in x.shape for x in tree.flatten(outputs))
        return outputs

    try:
        run(
            model,
            tree.map_structure(lambda x: keras.KerasTensor(x.shape, str(x.dtype)), inputs),
            apply,
        )
    except Exception:  # Each layer has its own for sizes below 0.
        return False
    return not empty


def keras_outputs(model: keras.Model, inputs: Any) -> Any:
    """Returns the outputs of a Keras 3 model for arrays, as arrays, on any backend."""
    inputs = tree.map_structure(keras.ops.convert_to_tensor, inputs)
    if not isinstance(inputs, dict):  # One input may stand in a list of one.
        inputs = tree.pack_sequence_as(input_structure(model), tree.flatten(inputs))
    return tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))


def arrays(values: Any) -> list[np.ndarray]:
    """Returns all tensors of a structure as arrays."""
    return [np.asarray(value) for value in tree.flatten(values)]


def difference(reference: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Returns the largest absolute difference over the larger of 1 and the largest value.

    Infinite if shapes differ, or one has a value that isn't a number where the other has.
    """
    worst = 0.0
    if len(reference) != len(other):
        return float("inf")
    for a, b in zip(reference, other, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if not a.size:
            continue
        a, b = a.astype("float64"), b.astype("float64")
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            gap = np.where(same, 0.0, np.abs(a - b)).max()
        if np.isnan(gap):
            return float("inf")
        finite = np.abs(a[np.isfinite(a)])
        worst = max(worst, float(gap) / max(1.0, float(finite.max()) if finite.size else 1.0))
    return worst


def check(
    name: str,
    side: str,
    drawn: Iterable[list[np.ndarray]],
    models: tuple[Callable[..., Any], Callable[..., Any]],
    traces: tuple[Callable[..., list[Step]], Callable[..., list[Step]]],
    tolerance: float,
) -> float:
    """Compares a model with its copy.

    Args:
        name: the model's.
        side: the Keras that the copy is of, for the message.
        drawn: inputs to try; the first that the model can take are compared.
        models: the model and its copy, each a function of a list of arrays.
        traces: for both, a function of a list of arrays that returns what each layer gives, in the
            same order.
        tolerance: the largest `difference` allowed; or as large a one as the model itself shows
            when its inputs change by a tenth of the tolerance: the rounding of large scores before
            a softmax is that much in its probabilities.

    Returns:
        The difference.

    Raises:
        BridgeError: it is larger; names the first layer where it is. Or the model gives numbers
            that aren't finite, or takes none of the inputs.
    """
    refused: Exception | None = None
    for inputs in drawn:
        try:
            expected = arrays(models[0](inputs))
        except Exception as error:  # Too small for the model's strides; each layer has its own.
            refused = error if str(error) else RuntimeError(type(error).__name__)
            continue
        if not all(np.isfinite(value).all() for value in expected):
            raise BridgeError(
                f"the outputs of '{name}' on random inputs aren't all finite, so its {side} copy "
                "can't be checked: give a model with sound weights"
            )
        gap = difference(expected, arrays(models[1](inputs)))
        if gap <= tolerance or gap <= _sensitivity(models[0], inputs, expected, tolerance / 10):
            return gap
        steps = [trace(inputs) for trace in traces]
        raise BridgeError(_where(name, side, gap, tolerance, *steps))
    why = first_line(refused or "it is too deep for all sizes tried", 200)
    raise BridgeError(f"'{name}' can't be run on random inputs to check it: {why}")


def _sensitivity(
    model: Callable[..., Any], inputs: list[np.ndarray], outputs: list[np.ndarray], share: float
) -> float:
    """Returns by how much a model's outputs differ for inputs that are changed by a small share.

    Args:
        model: a function of a list of arrays.
        inputs: of which floats are changed, each up or down, and nothing else.
        outputs: the model's for these inputs.
        share: of each value; 0 or less changes nothing.

    Returns:
        The `difference`; 0 where there is none, or it isn't finite.
    """
    changed = [nudged(x, share) for x in inputs]
    gap = difference(outputs, arrays(model(changed))) if share > 0 else 0.0
    return gap if np.isfinite(gap) else 0.0


def _where(
    name: str, side: str, gap: float, tolerance: float, steps: list[Step], copies: list[Step]
) -> str:
    """Returns the message of a difference, with the first layer that differs."""
    begin = f"the {side} copy of '{name}' differs by {gap:.3g} of its outputs' scale"
    for step, copy in zip(steps, copies, strict=True):
        gap = difference(arrays(step.outputs), arrays(copy.outputs))
        if gap > tolerance:
            return (
                f"{begin} (allowed: {tolerance:.3g}), first at layer '{step.name}' ({step.kind}) "
                f"by {gap:.3g}: replace that layer by one that both Keras versions share"
            )
    return f"{begin} (allowed: {tolerance:.3g}), though no layer does alone: raise the tolerance"
