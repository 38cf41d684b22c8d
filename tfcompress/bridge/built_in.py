"""Makes built-in layers of either Keras, for steps that stand in for what the other one lacks.

Steps are functions of a `BuiltIns` and tensors. Each is written once and works on both sides: it
asks the `BuiltIns` for layers by class name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tfcompress.graph.names import free_name


def valid_name(name: str) -> str:
    """Returns the name with what TensorFlow doesn't allow in names replaced.

    >>> valid_name("conv 1"), valid_name("_start"), valid_name("block1.conv-2")
    ('conv_1', 'layer_start', 'block1.conv-2')
    """
    valid = re.sub(r"[^A-Za-z0-9_.\\>-]", "_", name)
    return valid if re.match(r"[A-Za-z0-9.]", valid) else f"layer{valid}"


class BuiltIns:
    """Makes built-in layers, and returns the same ones again when the steps run again.

    So a layer that is called twice in a model keeps calling the same layers in the copy.

    Args:
        layers: `keras.layers` or `tf_keras.layers`.
        base: what the names of the made layers begin with.
        taken: names that layers have already; those of the made ones are added to it.
        first: what the first one made is called, even if that is taken.
    """

    def __init__(self, layers: Any, base: str, taken: set[str], first: str | None = None) -> None:
        self.layers = layers
        self._base = base
        self._taken = taken
        self._first = first
        self._made: list[Any] = []
        self._next = 0

    def rewind(self) -> None:
        """Begins the steps anew."""
        self._next = 0

    def __call__(self, kind: str, **config: Any) -> Any:
        """Returns a layer of this class, made with these arguments at the first run."""
        if self._next == len(self._made):
            name = None if self._made else self._first
            name = name or free_name(f"{self._base}_{kind.lower()}", self._taken)
            self._taken.add(name)
            self._made.append(getattr(self.layers, kind)(name=name, **config))
        self._next += 1
        return self._made[self._next - 1]


class Program:
    """Runs steps on tensors; layers are made at the first call and shared by later ones."""

    def __init__(self, built_in: BuiltIns, steps: Callable[..., Any]) -> None:
        self._built_in = built_in
        self._steps = steps

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the steps make of the tensors."""
        self._built_in.rewind()
        return self._steps(self._built_in, *args, **kwargs)


def affine(built_in: BuiltIns, x: Any, scale: Any = 1.0, offset: Any = 0.0) -> Any:
    """Returns `scale * x + offset`."""
    return built_in("Rescaling", scale=scale, offset=offset)(x)


def clip(built_in: BuiltIns, x: Any, low: float, high: float) -> Any:
    """Returns `x`, bounded by two numbers."""
    x = affine(built_in, x, offset=-low) if low else x
    x = built_in("ReLU", max_value=high - low)(x)
    return affine(built_in, x, offset=low) if low else x


def activation(built_in: BuiltIns, x: Any, name: str) -> Any:
    """Returns an activation of `x` that both Keras versions have."""
    return built_in("Activation", activation=name)(x)
