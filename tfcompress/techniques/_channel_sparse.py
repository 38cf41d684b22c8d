"""Prepares a network for training with a penalty that empties channels, before any is chosen."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from tfcompress.deferred import keras
from tfcompress.errors import InputError

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group, Slice
    from tfcompress.techniques.base import Candidate

Penalty = Literal["gamma", "filters", "groups"]


@dataclasses.dataclass(frozen=True)
class SparsePhase:
    """Stands in place of the options of a round that cuts nothing, and trains with a penalty.

    Attributes:
        penalty: on the scales of the batch normalisations that channels pass, on the filters that
            make them, or on both and the kernels that take them, as groups.
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
        from tfcompress.training.penalties import FilterLasso, GroupLasso

        graph = ChannelGraph(candidate.model, exact=self.exact)
        parts = penalised(graph, self.penalty)
        model = clone(graph.model)

        def variable_of(part: Slice) -> keras.Variable:
            return model.get_layer(part.layer).weights[part.weight]

        for own in parts.values():
            if self.penalty == "groups":  # The first is a kernel that makes these and no others.
                together = [(variable_of(part), part.axis, part.channels) for part in own]
                variable_of(own[0]).regularizer = GroupLasso(self.strength, together)
                continue
            for part in own:
                variable_of(part).regularizer = (
                    keras.regularizers.L1(self.strength)
                    if self.penalty == "gamma"
                    else FilterLasso(self.strength, part.axis)
                )
        count = len({part.layer for own in parts.values() for part in own})
        candidate.say(
            "channels", f"a penalty of {self.strength:g} on the {self.penalty} of {count} layers"
        )
        return candidate.then(model)


def scales(group: Group) -> list[Slice]:
    """Returns the scales of the batch normalisations that a group's channels pass."""
    return [part for part in group.slices if _is_penalised(part, "gamma")]


def _is_penalised(part: Slice, penalty: Penalty) -> bool:
    """Returns whether a penalty is on a weight of channels that can go."""
    name = part.path.rpartition(".")[2]
    if penalty == "gamma":
        return part.role == "passed" and name == "gamma"
    if penalty == "filters":
        return part.role == "made" and not name.endswith("bias")
    return name not in ("bias", "beta", "moving_mean", "moving_variance")


def penalised(graph: ChannelGraph, penalty: Penalty) -> dict[str, list[Slice]]:
    """Returns by group the weights that a penalty is on: those of channels that can go.

    Raises:
        InputError: there are none.
    """
    found = {
        name: [part for part in group.slices if _is_penalised(part, penalty)]
        for name, group in graph.groups.items()
        if not group.frozen
    }
    parts = {name: own for name, own in found.items() if own}
    if not parts:
        raise InputError(
            f"sparse_penalty={penalty} finds nothing to shrink in model '{graph.model.name}': no "
            "channels that can go pass a batch normalisation with scale=True; try "
            "sparse_penalty=filters"
            if penalty == "gamma"
            else f"no layer of model '{graph.model.name}' has channels that can be cut out"
        )
    return parts
