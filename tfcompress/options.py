"""Converts option texts, as in `--set rank=64`, to the types that their owner annotates.

Nothing here imports more than the standard library: a misspelled option is answered at once.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from tfcompress.errors import InputError, require, unknown_name

_SEARCHED = "searched"


@dataclasses.dataclass(frozen=True)
class Range:
    """Says which values of an option a search tries.

    Attributes:
        values: all of them; empty for numbers between two ends.
        low: the lowest of these numbers.
        high: the highest.
        step: between one and the next.
        grows: with which power of the value bytes and time grow, nearly; 0 where they don't follow
            it.
    """

    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    grows: float = 0.0

    def __str__(self) -> str:
        """Writes what `--list` prints.

        >>> print(Range((2, 4)), "-", Range(low=0.2, high=0.8, step=0.05))
        2, 4 - 0.2 to 0.8
        """
        return ", ".join(map(str, self.values)) or f"{self.low:g} to {self.high:g}"

    def at_most(self, limit: float) -> Any:
        """Returns the largest value that isn't above a limit, None if all numbers are.

        >>> Range((2, 4, 8)).at_most(5), Range(low=0.2, high=0.8, step=0.25).at_most(0.5)
        (4, 0.45)
        """
        if self.values:
            return max((each for each in self.values if each <= limit), default=None)
        # Some digits less: a sum of steps is off the number that it stands for by its rounding.
        steps = math.floor((min(limit, self.high) - self.low) / self.step + 1e-9)
        return None if steps < 0 else round(self.low + steps * self.step, 9)


def searched(default: Any, *values: Any, **ends: float) -> Any:
    """Returns a field of an options' dataclass whose values a search tries.

    Args:
        default: the option's.
        values: what is tried, or nothing for numbers.
        ends: `low`, `high` and `step` of numbers, `grows` as `Range` has it.
    """
    return dataclasses.field(default=default, metadata={_SEARCHED: Range(values, **ends)})


def ranges(target: Any) -> dict[str, Range]:
    """Returns the options of a dataclass that a search tries, by name."""
    fields = dataclasses.fields(target)
    return {each.name: each.metadata[_SEARCHED] for each in fields if _SEARCHED in each.metadata}


def parse_assignments(pairs: Iterable[str]) -> dict[str, str]:
    """Reads `["rank=64", "width=2"]` as `{"rank": "64", "width": "2"}`.

    Raises:
        InputError: a pair has no `=`, no key, or repeats a key.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        require(bool(equals and key), f"--set takes key=value, as in --set width=2; got '{pair}'")
        require(key not in values, f"--set {key} is given twice")
        values[key] = value.strip()
    return values


def option_types(target: Callable[..., Any]) -> dict[str, Any]:
    """Returns the keyword-only options of a dataclass or function with their annotated types."""
    names = [
        name
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    if dataclasses.is_dataclass(target):
        # The annotations of a base in another module are of that module's names.
        hints = typing.get_type_hints(target)
    else:
        function = target.__init__ if inspect.isclass(target) else target
        # Of the options alone: to look up what a builder returns would load Keras.
        written = {name: function.__annotations__.get(name, str) for name in names}
        options = types.SimpleNamespace(__annotations__=written)
        hints = typing.get_type_hints(options, function.__globals__)
    return {name: hints[name] for name in names}


def typed_options(target: Callable[..., Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Converts option texts to the types that a dataclass or function annotates.

    Args:
        target: a dataclass or function whose keyword-only parameters are the options.
        texts: option name to text, as `parse_assignments` gives them.

    Returns:
        Option name to a value of the annotated type.

    Raises:
        InputError: an option that the target doesn't have, or a text that isn't of its type.
    """
    kinds = option_types(target)
    for key in texts:
        if key not in kinds:
            raise unknown_name("option", key, kinds)
    return {key: _typed(key, text, kinds[key]) for key, text in texts.items()}


def _typed(key: str, text: str, kind: Any) -> Any:
    """Converts one option's text to a value of its annotated type."""
    members = _members(kind)
    if type(None) in members and text.lower() == "none":
        return None
    for member in members:
        if member is bool:
            if text.lower() in ("true", "1", "yes"):
                return True
            if text.lower() in ("false", "0", "no"):
                return False
        elif member is str:
            return text
        elif typing.get_origin(member) is Literal:
            if text in typing.get_args(member):
                return text
        elif typing.get_origin(member) is tuple:
            parts = (part.strip() for part in text.split(",") if part.strip())
            return tuple(_typed(key, part, typing.get_args(member)[0]) for part in parts)
        elif member in (int, float):
            try:
                return member(text)
            except ValueError:
                continue
    raise InputError(f"option {key} takes {_wanted(members)}; got '{text}'")


def check_types(target: Callable[..., Any], values: Mapping[str, Any], what: str = "") -> None:
    """Refuses values that aren't of the types that a dataclass or function annotates.

    Numbers of NumPy are numbers, and a whole number is one where any number is taken. Where a
    tuple or mapping is among the types, its owner judges what is in it.

    Args:
        target: a dataclass or function with keyword-only parameters; names that it doesn't have
            are left to whoever refuses them.
        values: parameter name to value.
        what: stands before the name in the message.

    Raises:
        InputError: names the parameter, what was given and what is taken.
    """
    kinds = option_types(target)
    for name, value in values.items():
        if name in kinds:
            check_type(f"{what}{name}", value, kinds[name])


def check_names(target: Callable[..., Any], values: Iterable[str], what: str = "") -> None:
    """Refuses names that a dataclass or function has no keyword-only parameter of.

    Args:
        target: a dataclass or function.
        values: the names.
        what: stands before a name in the message.

    Raises:
        InputError: names what is unknown and what is known.
    """
    known = [f"{what}{name}" for name in option_types(target)]
    for name in values:
        if f"{what}{name}" not in known:
            raise unknown_name("option", f"{what}{name}", known)


def check_type(name: str, value: Any, kind: Any) -> None:
    """Refuses a value that isn't of an annotated type, as `check_types` does."""
    members = _members(kind)
    if not any(_is_of(value, member) for member in members):
        got = f"{value!r} ({type(value).__name__})"
        raise InputError(f"{name} takes {_wanted(members)}; got {got}")


def _is_of(value: Any, member: Any) -> bool:
    """Says whether a value is of one annotated type, as `check_types` takes it."""
    if member is bool:
        return isinstance(value, bool) or type(value).__name__ == "bool"  # NumPy's.
    if isinstance(value, bool):
        return False
    if member in (int, float):
        return isinstance(value, numbers.Integral if member is int else numbers.Real)
    if member is str or typing.get_origin(member) is Literal:
        return isinstance(value, str)  # The owner lists the words.
    if isinstance(member, type) and member is not Any:
        return isinstance(value, member)
    collection = {tuple: Iterable, Mapping: Mapping}.get(typing.get_origin(member))
    if collection is None:
        return True
    words = collection is Iterable and typing.get_args(member)[0] is str
    return (
        isinstance(value, collection)
        and not isinstance(value, str)
        and not (words and not all(isinstance(part, str) for part in value))
    )


def _members(kind: Any) -> list[Any]:
    """Returns the types of a union, or the one type."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return list(typing.get_args(kind))
    return [kind]


def _wanted(members: Iterable[Any]) -> str:
    """Says what values of these types look like."""
    described = (_described(member) for member in members if member is not type(None))
    return " or ".join(dict.fromkeys(described))


def _described(kind: Any) -> str:
    """Says what a value of this type looks like.

    >>> _described(float), _described(Literal["a", "b"])
    ('a number', 'one of a, b')
    """
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    if dataclasses.is_dataclass(kind):
        return f"a {kind.__name__}"  # type: ignore[union-attr]
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(kind, "values with commas between them")
