"""Checks of layers' arguments: each error says what was received and what is expected."""

from __future__ import annotations

from typing import Any


def positive(name: str, value: int) -> int:
    """The value, if it is a whole number of 1 or more."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more. Received: {name}={value}")
    return value


def pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """For height and width: two whole numbers of 1 or more, or one for both.

    >>> pair("strides", 2), pair("strides", [1, 3])
    ((2, 2), (1, 3))
    """
    both = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(both) != 2 or any(not isinstance(size, int) or size < 1 for size in both):
        raise ValueError(
            f"{name} must be a whole number, 1 or more, or two of them. Received: {name}={value}"
        )
    return both[0], both[1]


def channels_last(layer: Any) -> None:
    """Refuses a convolution that takes its channels first; of other layers it says nothing."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ValueError(
            f"{type(layer).__name__} takes channels_last images. Received: "
            f"data_format={layer.data_format!r}"
        )


def positions(shape: tuple[int | None, ...]) -> int:
    """Height times width of (batch, height, width, channels); an unknown size counts as 1."""
    return (shape[1] or 1) * (shape[2] or 1)
