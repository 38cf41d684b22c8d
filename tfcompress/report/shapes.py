"""Checks that the values of a report.json have the types that its dataclasses say.

Whoever makes a report may write anything into it; what is read has only values that can be shown.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict

from tfcompress.errors import InputError
from tfcompress.plain_text import one_line


class _Named(TypedDict):
    name: str


class LayerCost(_Named, total=False):
    """A layer of a file, as `layer_costs.per_layer` lists it."""

    kind: str | None
    parameters: int | None
    macs: int | None
    bytes: int | None
    bits: int | None
    microseconds: float | None


class LayerAction(TypedDict, total=False):
    """What a technique did to a layer."""

    name: str
    kind: str
    action: str
    reason: str


class Milestone(_Named):
    """What a network on the way was worth."""

    value: float | None


class Teacher(_Named, total=False):
    """Who taught, and what the metric says of it."""

    accuracy: float | None


class Transfer(_Named, total=False):
    """What a network learned from in place of labels; of a stream the number isn't known."""

    examples: int | None


class PairedTest(TypedDict):
    """On how many examples one of two files alone is right, and how likely that is by chance."""

    gained: int
    lost: int
    p_value: float


class LayerWidth(_Named):
    """How many channels a layer had and has, and why all had to stay where they had to."""

    before: int
    after: int
    frozen: str


class Epoch(TypedDict, total=False):
    """A row of a training's history; other keys may have any value."""

    epoch: float
    loss: float | None
    train_error: float | None
    test_error: float | None


class Op(_Named):
    """An op and how long it takes."""

    ms: float


class Profile(TypedDict, total=False):
    """The ops of a file, or why they have no times."""

    ops: Sequence[Op] | None
    unavailable: str | None


class Benchmark(TypedDict, total=False):
    """A file on a backend, as far as a report shows it."""

    profile: Profile | None


class Machine(TypedDict, total=False):
    """The machine of the run, as far as its values are more than shown."""

    memory_bytes: int | None
    features: Sequence[str] | None


_WORDS = {str: "a text", int: "a whole number", float: "a finite number", bool: "true or false"}


def read_fields(
    kind: type, values: Mapping[str, Any], where: str = "", but: Collection[str] = ()
) -> dict[str, Any]:
    """Returns the values that a dataclass has fields for, once they have the fields' types.

    A field of the type `Annotated[..., Shape]` is checked against `Shape`.

    Args:
        kind: the dataclass.
        values: what JSON gave; keys without a field are passed over.
        where: what error messages put before a field's name.
        but: fields that are left out.

    Raises:
        InputError: a value has another type, or a field without a default is missing.
    """
    hints = _hints(kind)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in but:
            continue
        if field.name in values:
            check(values[field.name], hints[field.name], where + field.name)
            fields[field.name] = values[field.name]
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}{field.name} is missing")
    return fields


def check(value: Any, shape: Any, where: str) -> None:
    """Raises an error unless a JSON value has a shape.

    Args:
        value: the value.
        shape: a type of Python's annotations: None, str, int, float, bool, Any, unions, sequences,
            mappings from texts, tuples of a fixed length, and typed dictionaries. Numbers are
            finite, and true is none.
        where: what the error calls the value.

    Raises:
        InputError: it has another one.

    >>> check([1, 2.5, None], Sequence[float | None], "times")
    >>> check({"ms": "2"}, Mapping[str, float], "op")
    Traceback (most recent call last):
    tfcompress.errors.InputError: op.ms must be a finite number; got '2'
    """
    origin, inner = typing.get_origin(shape), typing.get_args(shape)
    if shape is Any:
        return
    if origin is typing.Annotated:
        check(value, inner[1], where)
    elif origin in (types.UnionType, typing.Union):
        # All our unions are one shape or None.
        if value is not None:
            check(value, next(one for one in inner if one is not type(None)), where)
    elif shape in _WORDS:
        _require(_is_scalar(value, shape), value, _WORDS[shape], where)
    elif typing.is_typeddict(shape):
        _require(isinstance(value, dict), value, "an object", where)
        for name, inner_shape in _hints(shape).items():
            if name in value:
                check(value[name], inner_shape, f"{where}.{name}")
            elif name in shape.__required_keys__:
                raise InputError(f"{where}.{name} is missing")
    elif origin is Mapping:
        _require(isinstance(value, dict), value, "an object", where)
        for name, item in value.items():
            check(item, inner[1], f"{where}.{name}")
    elif origin is tuple:
        _require(isinstance(value, list), value, "a list", where)
        _require(len(value) == len(inner), value, f"a list of {len(inner)}", where)
        for number, item in enumerate(value):
            check(item, inner[number], f"{where}[{number}]")
    elif origin is Sequence:
        _require(isinstance(value, list), value, "a list", where)
        for number, item in enumerate(value):
            check(item, inner[0], f"{where}[{number}]")
    else:
        raise TypeError(f"no rule for {shape}")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Returns the types of a class's fields, as they are and not as texts."""
    return typing.get_type_hints(kind, include_extras=True)


def _is_scalar(value: Any, shape: type) -> bool:
    """Returns whether a value is a text, a number or a truth value as a shape wants it."""
    if isinstance(value, bool) or shape is bool:
        return isinstance(value, bool) and shape is bool
    if shape in (int, float):
        kinds = int if shape is int else (int, float)
        return isinstance(value, kinds) and abs(value) <= sys.float_info.max
    return isinstance(value, shape)


def _require(condition: bool, value: Any, wanted: str, where: str) -> None:
    """Raises the error for a value of another type."""
    if not condition:
        names = {dict: "an object", list: "a list", type(None): "null"}
        shown = names.get(type(value)) or one_line(repr(value), 60)
        raise InputError(f"{one_line(where, 100)} must be {wanted}; got {shown}")
