"""Which files can have other ranges of activations or another rounding of weights than the usual.

Both take inputs and no training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tfcompress.config import RANGES, ROUNDINGS
from tfcompress.errors import one_of, require
from tfcompress.export import storages
from tfcompress.export.storage import Method


def check(methods: Iterable[Method], *, ranges: str, rounding: str) -> None:
    """Refuses ranges and roundings that none of some files can have, before they are built.

    Args:
        methods: how the files are written.
        ranges: of `RANGES`.
        rounding: of `ROUNDINGS`.

    Raises:
        InputError: an unknown word, or one that is for other storages, which it names.
    """
    one_of("ranges", ranges, RANGES)
    one_of("rounding", rounding, ROUNDINGS)
    methods = list(methods)
    require(
        any(_has_ranges(method, ranges) for method in methods),
        f"ranges={ranges} is for activations whose ranges are taken from inputs, as in storage "
        f"{_storages(lambda method: _has_ranges(method, ranges))} of a network without binary "
        "inputs or trained ranges: leave ranges out",
    )
    require(
        any(rounding in method.roundings for method in methods),
        f"rounding={rounding} is for weights that the export rounds to few bits, as in storage "
        f"{_storages(lambda method: rounding in method.roundings)}: leave rounding out",
    )


def taken(method: Method, *, ranges: str, rounding: str) -> dict[str, str]:
    """Returns which of these arguments of `export` a file can have, but for the usual ones.

    Args:
        method: how the file is written.
        ranges: of `RANGES`.
        rounding: of `ROUNDINGS`.
    """
    arguments = {}
    if ranges != RANGES[0] and _has_ranges(method, ranges):
        arguments["ranges"] = ranges
    if rounding != ROUNDINGS[0] and rounding in method.roundings:
        arguments["rounding"] = rounding
    return arguments


def _has_ranges(method: Method, ranges: str) -> bool:
    return ranges == RANGES[0] or method.needs_ranges


def _storages(fits: Callable[[Method], bool]) -> str:
    """Lists the storages whose usual files fit."""
    return " or ".join(name for name, value in storages.by_name().items() if fits(value.usual))
