"""Prepares a network for training with a penalty that empties channels, before any is chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import InputError

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph, Group, Slice
    from tfcompress.techniques._channel_widths import Widths
    from tfcompress.techniques.base import Candidate
    from tfcompress.techniques.channels import ChannelOptions

Penalty = Literal["gamma", "filters", "groups", "growing"]


@dataclasses.dataclass(frozen=True)
class SparsePhase:
    """Stands in place of the options of a round that cuts nothing, and trains with a penalty.

    Attributes:
        options: of the technique, with the penalty and its strength; `growing` is on the channels
            that they would cut out of the model as it is.
    """

    options: ChannelOptions

    def apply(self, candidate: Candidate) -> Candidate:
        """Returns a copy of the model whose training makes channels small that it doesn't need.

        The penalties are the variables' own and not the layers', so copies of the layers, as the
        later rounds make them, have none.

        Raises:
            InputError: as `penalised`, and of `growing` as the choice of channels.
        """
        from tfcompress.graph import clone

        penalty, strength = self.options.sparse_penalty, self.options.sparse_strength
        graph = self.options.graph(candidate.model, trained=True)
        parts = penalised(graph, penalty)
        model = clone(graph.model)
        count = len({part.layer for own in parts.values() for part in own})
        if penalty == "growing":
            kept, _ = self.options.choose(graph, candidate)
            _shrink(model, parts, kept, strength)
            what = f"a decay that grows by {strength:g} a step on what is to go"
        else:
            _penalise(model, parts, penalty, strength)
            what = f"a penalty of {strength:g} on the {penalty}"
        candidate.say("channels", f"{what} of {count} layers")
        return candidate.then(model)


def _variable_of(model: keras.Model, part: Slice) -> keras.Variable:
    return model.get_layer(part.layer).weights[part.weight]


def _penalise(
    model: keras.Model, parts: Mapping[str, Sequence[Slice]], penalty: Penalty, strength: float
) -> None:
    """Puts a penalty, which the loss holds, on the weights of each group."""
    from tfcompress.training.penalties import FilterLasso, GroupLasso

    for own in parts.values():
        if penalty == "groups":  # The first is a kernel that makes these and no others.
            together = [(_variable_of(model, part), part.axis, part.channels) for part in own]
            together[0][0].regularizer = GroupLasso(strength, together)
            continue
        for part in own:
            _variable_of(model, part).regularizer = (
                keras.regularizers.L1(strength)
                if penalty == "gamma"
                else FilterLasso(strength, part.axis)
            )


def _shrink(
    model: keras.Model, parts: Mapping[str, Sequence[Slice]], kept: Widths, growth: float
) -> None:
    """Has optimizers shrink the weights that make and pass channels which are to go."""
    from tfcompress.training.constraints import GrowingDecay

    going: dict[int, tuple[keras.Variable, np.ndarray]] = {}
    for name in kept:
        for part in parts.get(name, ()):
            variable = _variable_of(model, part)
            shape = [1] * len(variable.shape)
            shape[part.axis] = -1
            gone = (part.channels >= 0) & ~np.isin(part.channels, kept[name])
            # Several groups may pass one scale.
            _, others = going.get(id(variable), (variable, np.False_))
            going[id(variable)] = variable, gone.reshape(shape) | others
    for variable, chosen in going.values():
        variable.constraint = GrowingDecay(variable, growth, chosen)


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
    if penalty == "growing":
        return part.role != "taken" and not name.startswith("moving_")
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
