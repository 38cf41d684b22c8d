"""Lets techniques that know Conv2D and Dense take the layers that can be written as these.

A model's separable convolutions, convolutions over one axis and `EinsumDense` layers are written as
equivalent layers before a technique sees them. Those that it leaves alone are put back.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tfcompress.techniques.base import Candidate, LayerLine, Technique

if TYPE_CHECKING:
    from tfcompress.graph.equivalents import Equivalent

# Not DepthwiseConv1D: no technique takes depthwise convolutions.
KINDS = ("Conv1D", "EinsumDense", "SeparableConv1D", "SeparableConv2D")

Function = Callable[..., Any]


def taking_equivalents(technique: Technique) -> Technique:
    """Returns a technique that takes the layers of `KINDS`, too, by the layers that equal them."""
    return dataclasses.replace(
        technique,
        transform=_and_back(technique.transform),
        check=_there(technique.check),
        sketch=technique.sketch and _and_back(technique.sketch),
        rounds=_there(technique.rounds),
    )


def _there(function: Function) -> Function:
    """Returns a function of a candidate, called with the equivalent one."""

    @functools.wraps(function)
    def with_equivalents(candidate: Candidate, *args: Any) -> Any:
        return function(_equivalent(candidate)[0], *args)

    return with_equivalents


def _and_back(function: Function) -> Function:
    """Returns a function from candidate to candidate, called with the equivalent one.

    In what it returns, layers that it left alone are the original ones.
    """

    @functools.wraps(function)
    def with_equivalents(candidate: Candidate, *args: Any) -> Any:
        from tfcompress.graph.equivalents import restored

        given, equivalents = _equivalent(candidate)
        result = function(given, *args)
        if result is None or not equivalents:
            return result
        model, back = restored(result.model, equivalents)
        before = len(candidate.layers)
        lines = _renamed(result.layers[before:], equivalents, back)
        return dataclasses.replace(result, model=model, layers=(*candidate.layers, *lines))

    return with_equivalents


def _equivalent(candidate: Candidate) -> tuple[Candidate, Mapping[str, Equivalent]]:
    """Returns the candidate with equivalent layers in its model, and what they stand for."""
    from tfcompress.graph import clone
    from tfcompress.graph.equivalents import with_equivalents
    from tfcompress.graph.nodes import functional, operations

    if all(type(layer).__name__ not in KINDS for layer in operations(functional(candidate.model))):
        return candidate, {}
    model, equivalents = with_equivalents(clone(candidate.model), KINDS)
    return dataclasses.replace(candidate, model=model), equivalents


def _renamed(
    lines: tuple[LayerLine, ...], equivalents: Mapping[str, Equivalent], back: set[str]
) -> list[LayerLine]:
    """Returns the report's lines in words of the layers that the model had.

    Args:
        lines: of the equivalent layers.
        equivalents: of the model's layers, by their names.
        back: names of the layers that are the original ones again.
    """
    kept = {line.name for line in lines if line.action == "kept"}
    owners = {part: name for name, each in equivalents.items() for part in each.parts}
    result = []
    for line in lines:
        owner = owners.get(line.name, line.name)
        if owner not in equivalents:
            result.append(line)
            continue
        kind = type(equivalents[owner].layer).__name__
        is_part = line.name != owner
        if is_part and owner in back & kept:
            continue  # Its layer's own line says that both stay.
        reason = line.reason
        if is_part:
            reason = f"part of {kind} '{owner}': {reason}"
        elif kind.startswith("Separable"):
            reason = f"its {'part of 1x1' if reason.startswith('1x1') else '1x1 part'}: " + (
                reason.removeprefix("1x1: ")
            )
        result.append(dataclasses.replace(line, kind=line.kind if is_part else kind, reason=reason))
    return result
