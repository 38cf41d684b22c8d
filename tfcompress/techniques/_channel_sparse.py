"""Prepares a network for training with a penalty that empties channels, before any is chosen."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from tfcompress.deferred import keras
from tfcompress.errors import InputError

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group, Slice
    from tfcompress.techniques.base import Candidate

Penalty = Literal["gamma", "filters"]


@dataclasses.dataclass(frozen=True)
class SparsePhase:
    """Stands in place of the options of a round that cuts nothing, and trains with a penalty.

    Attributes:
        penalty: on the scales of the batch normalisations that channels pass, or on the filters
            that make them.
        strength: factor of the penalty.
        exact: as `ChannelGraph` has it.
    """

    penalty: Penalty
    strength: float
    exact: bool = True

    def apply(self, candidate: Candidate) -> Candidate:
        """Returns a copy of the model whose training makes channels small that it doesn't need.

        The penalties are the variables' own and not the layers', so copies of the layers, as the
        later rounds make them, have none.

        Raises:
            InputError: as `penalised`.
        """
        from tfcompress.graph import clone
        from tfcompress.graph.channels import ChannelGraph
        from tfcompress.training.penalties import FilterLasso

        graph = ChannelGraph(candidate.model, exact=self.exact)
        parts = penalised(graph, self.penalty)
        model = clone(graph.model)
        for part in parts:
            variable = model.get_layer(part.layer).weights[part.weight]
            if self.penalty == "gamma":
                variable.regularizer = keras.regularizers.L1(self.strength)
            else:
                variable.regularizer = FilterLasso(self.strength, part.axis)
        count = len({part.layer for part in parts})
        candidate.say(
            "channels", f"a penalty of {self.strength:g} on the {self.penalty} of {count} layers"
        )
        return candidate.then(model)


def scales(group: Group) -> list[Slice]:
    """Returns the scales of the batch normalisations that a group's channels pass."""
    return [part for part in group.slices if part.role == "passed" and part.path.endswith("gamma")]


def penalised(graph: ChannelGraph, penalty: Penalty) -> list[Slice]:
    """Returns the weights that a penalty is on: those of channels that can go.

    Raises:
        InputError: there are none.
    """
    free = [group for group in graph.groups.values() if not group.frozen]
    if penalty == "gamma":
        parts = [part for group in free for part in scales(group)]
    else:
        parts = [
            part
            for group in free
            for part in group.slices
            if part.role == "made" and not part.path.endswith("bias")
        ]
    if not parts:
        raise InputError(
            f"sparse_penalty={penalty} finds nothing to shrink in model '{graph.model.name}': no "
            "channels that can go pass a batch normalisation with scale=True; try "
            "sparse_penalty=filters"
            if penalty == "gamma"
            else f"no layer of model '{graph.model.name}' has channels that can be cut out"
        )
    return parts
