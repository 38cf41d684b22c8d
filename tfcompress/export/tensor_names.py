"""Finds the layers that the names of a file's tensors speak of."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

_NUMBER = re.compile(r"_\d+$")


class TensorNames:
    """The layers that a file's tensors come from, by the tensors' names.

    The converter writes a layer's name as a part of the path of its ops, mostly with a number
    behind it, and the ops that it merged into one with semicolons between them. `conv_1` may thus
    be a layer of this name, or the layer `conv`: it is what makes layers of the most names in the
    file.

    Args:
        names: of the file's tensors.
        layers: names of the model's layers, as it was converted.

    >>> TensorNames(["net_1/bn_1/add_1;net_1/conv_1/Squeeze"], ["conv", "bn"]).layers_in(
    ...     "net_1/bn_1/add_1;net_1/conv_1/Squeeze"
    ... )
    ['bn', 'conv']
    >>> TensorNames(["net_1/conv_1/add", "net_1/conv_1_1/add"], ["conv", "conv_1"]).layers_in(
    ...     "net_1/conv_1/add"
    ... )
    ['conv']
    """

    def __init__(self, names: Iterable[str], layers: Collection[str]) -> None:
        self._layers = layers
        parts = {part for name in names for part in _parts(name)}
        numbers = {found.group() for part in parts if (found := _NUMBER.search(part))}

        def explained(number: str) -> int:
            return sum(self._without(part, number) is not None for part in parts)

        # The first of equals: no number, then the shortest.
        self._number = max(["", *sorted(numbers, key=lambda n: (len(n), n))], key=explained)

    def layers_in(self, name: str) -> list[str]:
        """Returns the layers that a tensor's name speaks of, the last one first."""
        found = (self._layer(part) for part in _parts(name))
        return list(dict.fromkeys(layer for layer in found if layer is not None))

    def _layer(self, part: str) -> str | None:
        """Returns the layer of a part of a path; a layer's second call has another number."""
        usual = self._without(part, self._number)
        candidates = (usual, part, _NUMBER.sub("", part))
        return next((name for name in candidates if name in self._layers), None)

    def _without(self, part: str, number: str) -> str | None:
        """Returns the layer whose name with a number is a part of a path, or None."""
        name = part.removesuffix(number)
        return name if part.endswith(number) and name in self._layers else None


def _parts(name: str) -> Iterator[str]:
    for path in name.split(";"):
        yield from path.split("/")
