"""Gives what layers take when real examples run through a model."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tfcompress.deferred import keras
from tfcompress.ops import reconstruct

Array = np.ndarray

_BATCH = 64
# Rows that a regression sees: some for each weight of a filter, within bounds for its memory.
_ROWS_PER_INPUT = 4
_ROWS = (4_096, 16_384)
_VALUES = 2**16
_SEED = 0


class _Reached(Exception):  # noqa: N818 - it is no error, but ends a run that has what it needs.
    """Says that the last operation that is looked at has been called."""


def rows(
    model: keras.Model, names: set[str], samples: Any, width: int | None = None
) -> Iterator[tuple[str, Array]]:
    """Yields what some outputs of the named layers see, batch by batch, at places drawn by a seed.

    A smaller model's layers are seen at the same places as the whole one's.

    Args:
        model: flat, with unique names.
        names: of layers that `can_be_fitted` and are called once.
        samples: examples in the structure of the model's inputs.
        width: what one output of the layer of the whole model sees; None to take the layer's own.
    """
    total = len(keras.tree.flatten(samples)[0])
    seen: list[tuple[str, Any]] = []

    def look(operation: Any, call: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        seen.append((operation.name, args[0] if args else kwargs["inputs"]))
        if len(seen) == len(names):
            raise _Reached
        return call()

    for number, batch in enumerate(_batches(samples)):
        seen.clear()
        _run(model, batch, names, look)
        for name, x in seen:
            layer = model.get_layer(name)
            inputs = width or len(as_matrix(layer.kernel))
            wanted = min(max(_ROWS_PER_INPUT * inputs, _ROWS[0]), _ROWS[1])
            rng = np.random.default_rng((_SEED, number))
            yield name, _drawn(layer, as_numpy(x), -(-wanted // total), rng)


def inputs(model: keras.Model, names: set[str], samples: Any) -> dict[str, Array]:
    """Returns values that the named layers take of the first batch of samples, in all their calls.

    Of each input some tens of thousands, evenly spread, and the least and the largest one.

    Args:
        model: flat, with unique names.
        names: of layers that take one tensor.
        samples: examples in the structure of the model's inputs.
    """
    taken: dict[str, list[Array]] = {name: [] for name in names}

    def look(operation: Any, call: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        x = as_numpy(args[0] if args else kwargs["inputs"]).ravel()
        taken[operation.name] += [x[:: -(-len(x) // _VALUES)], np.array([x.min(), x.max()])]
        return call()

    _run(model, next(_batches(samples)), names, look)
    return {name: np.concatenate(arrays) for name, arrays in taken.items()}


def outputs(model: keras.Model, names: set[str], samples: Any) -> Iterator[tuple[str, Array]]:
    """Yields what the named operations give, batch by batch.

    Args:
        model: flat, with unique names.
        names: of operations that are called once and give one tensor.
        samples: examples in the structure of the model's inputs.
    """
    seen: list[tuple[str, Any]] = []

    def look(operation: Any, call: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        seen.append((operation.name, call()))
        if len(seen) == len(names):
            raise _Reached
        return seen[-1][1]

    for batch in _batches(samples):
        seen.clear()
        _run(model, batch, names, look)
        for name, x in seen:
            yield name, as_numpy(x)


def _run(model: keras.Model, batch: Any, names: set[str], look: Callable[..., Any]) -> None:
    """Calls the model's operations; those named by `look`, until it has seen what it wants."""
    from tfcompress.graph.nodes import run

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        call = functools.partial(operation, *args, **kwargs)
        return look(operation, call, *args, **kwargs) if operation.name in names else call()

    with contextlib.suppress(_Reached):
        run(model, batch, apply)


def can_be_fitted(layer: Any) -> bool:
    """Returns whether a layer is a plain convolution over images or a dense layer."""
    kind = type(layer)
    return kind is keras.layers.Dense or (kind is keras.layers.Conv2D and layer.groups == 1)


def as_matrix(kernel: Any) -> Array:
    """Returns a kernel as (inputs, outputs)."""
    return as_numpy(kernel).reshape(-1, kernel.shape[-1])


def as_numpy(x: Any) -> Array:
    """Returns a tensor's values as 32-bit floats."""
    return np.asarray(keras.ops.convert_to_numpy(x), np.float32)


def _drawn(layer: Any, x: Array, count: int, rng: np.random.Generator) -> Array:
    """Returns the inputs of so many output positions of each example of a batch."""
    settings: dict[str, Any] = {}
    kernel_size = (1, 1)
    if isinstance(layer, keras.layers.Dense):
        x = x.reshape(len(x), -1, 1, x.shape[-1])
    else:
        kernel_size = layer.kernel_size
        settings = {key: getattr(layer, key) for key in ("strides", "padding", "dilation_rate")}
    size = reconstruct.output_size(x.shape[1:3], kernel_size, **settings)
    places = np.argsort(rng.random((len(x), size[0] * size[1])), axis=1)[:, :count]
    return reconstruct.patches(x, places, kernel_size, **settings)


def _batches(samples: Any) -> Iterator[Any]:
    """Yields the samples in batches, as tensors."""
    total = len(keras.tree.flatten(samples)[0])

    def cut(x: Array, start: int) -> Any:
        return keras.ops.convert_to_tensor(x[start : start + _BATCH])

    for start in range(0, total, _BATCH):
        yield keras.tree.map_structure(functools.partial(cut, start=start), samples)
