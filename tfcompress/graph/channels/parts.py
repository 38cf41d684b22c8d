"""What a graph of channels says of a model: its groups, and where these are."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.graph.channels.trace import Array


@dataclasses.dataclass(frozen=True)
class Slice:
    """Says which entries of a weight's axis belong to a group's channels.

    Attributes:
        layer: the layer's name.
        weight: which of the layer's weights.
        path: the weight's path in the layer, such as `kernel`.
        axis: the weight's.
        role: `made` for the channels that a layer makes, `taken` for those that it takes, and
            `passed` for those of a layer that gives what it takes, such as batch normalisation.
        channels: for each entry of the axis the group's channel in it; -1 for those of others.
    """

    layer: str
    weight: int
    path: str
    axis: int
    role: str
    channels: Array


@dataclasses.dataclass(frozen=True)
class Group:
    """Holds channels that the same layers make, each of which can be cut out by itself.

    Attributes:
        name: of the first layer that makes them; with the word of its channels behind a colon for
            layers that make several kinds.
        size: the number of channels.
        slices: where the layers' weights hold them.
        fixed: those that have to stay.
        frozen: why all of them have to stay; None if some can go.
        statistics: names of layers that normalise these channels by statistics of all together.
    """

    name: str
    size: int
    slices: tuple[Slice, ...]
    fixed: frozenset[int]
    frozen: str | None
    statistics: tuple[str, ...] = ()

    @property
    def producers(self) -> tuple[str, ...]:
        """Names of the layers that make the channels."""
        return tuple(dict.fromkeys(s.layer for s in self.slices if s.role == "made"))

    @property
    def consumers(self) -> tuple[str, ...]:
        """Names of the layers whose weights take them."""
        return tuple(dict.fromkeys(s.layer for s in self.slices if s.role == "taken"))


@dataclasses.dataclass(frozen=True)
class Output:
    """Says which channels the output of an operation holds.

    Attributes:
        operation: the layer, or the operation of `keras.ops`; it is called once.
        axis: the axis that holds channels, the batch's being 0.
        channels: group names to, for each entry of the axis, the group's channel in it; -1 for
            those of others.
    """

    operation: Any
    axis: int
    channels: dict[str, Array]
