"""Finds names for layers that no other layer of the model has."""

from __future__ import annotations

from collections.abc import Container


def free_name(name: str, taken: Container[str]) -> str:
    """Returns the name, with the first free number behind it if it is taken.

    >>> free_name("conv", {"dense"}), free_name("conv", {"conv", "conv_1"})
    ('conv', 'conv_2')
    """
    free, number = name, 1
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
