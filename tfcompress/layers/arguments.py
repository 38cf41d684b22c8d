"""Checks layers' arguments: each error says what was received and what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def positive(name: str, value: int) -> int:
    """Returns the value, if it is a whole number of 1 or more."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more. Received: {name}={value}")
    return value


def pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Returns two whole numbers of 1 or more, for height and width, of two or of one for both.

    >>> pair("strides", 2), pair("strides", [1, 3])
    ((2, 2), (1, 3))
    """
    both = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(both) != 2 or any(not isinstance(size, int) or size < 1 for size in both):
        raise ValueError(
            f"{name} must be a whole number, 1 or more, or two of them. Received: {name}={value}"
        )
    return both[0], both[1]


def whole_numbers(name: str, values: Sequence[int]) -> list[int]:
    """Returns the values as a list, if they are whole numbers of 0 or more, and there are any."""
    good = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
    if not good or any(not isinstance(value, int) or value < 0 for value in values):
        raise ValueError(
            f"{name} must be a list of whole numbers, 0 or more. Received: {name}={values!r}"
        )
    return list(values)


def sliding_window(
    strides: int | tuple[int, int],
    padding: str,
    dilation_rate: int | tuple[int, int],
    one_stride_for: str | None = None,
) -> tuple[tuple[int, int], str, tuple[int, int]]:
    """Returns strides, padding and dilation of a convolution, if one can have them together.

    >>> sliding_window(2, "SAME", 1)
    ((2, 2), 'same', (1, 1))

    Args:
        strides: one number, or one each for height and width.
        padding: `"same"` or `"valid"`, in any case.
        dilation_rate: as `strides`.
        one_stride_for: name of a layer that takes the same stride for both axes.

    Raises:
        ValueError: another padding, a number below 1, unequal strides for such a layer, or
            strides and dilation both above 1.
    """
    down_and_across = pair("strides", strides)
    dilation = pair("dilation_rate", dilation_rate)
    name = padding.lower() if isinstance(padding, str) else padding
    if name not in ("same", "valid"):
        raise ValueError(f"padding must be 'same' or 'valid'. Received: padding={padding!r}")
    if one_stride_for and down_and_across[0] != down_and_across[1]:
        raise ValueError(
            f"{one_stride_for} takes the same stride for both axes, equal strides as depthwise "
            f"convolutions have them. Received: strides={strides}"
        )
    if max(down_and_across) > 1 and max(dilation) > 1:
        raise ValueError(
            "strides above 1 and a dilation_rate above 1 exclude each other. Received: "
            f"strides={strides}, dilation_rate={dilation_rate}"
        )
    return down_and_across, name, dilation


def channels_last(layer: Any) -> None:
    """Refuses a convolution that takes its channels first; accepts every other layer."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ValueError(
            f"{type(layer).__name__} takes channels_last images. Received: "
            f"data_format={layer.data_format!r}"
        )


def positions(shape: tuple[int | None, ...]) -> int:
    """Returns height times width of (batch, height, width, channels); None counts as 1."""
    return (shape[1] or 1) * (shape[2] or 1)
