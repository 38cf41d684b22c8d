"""Finds the channels of a model that can only be cut out together, and cuts them out."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.errors import InputError, unknown_name
from tfcompress.graph.channels import operations, sequences, unweighted, weighted
from tfcompress.graph.channels.trace import Array, Rule, Trace
from tfcompress.graph.nodes import functional, is_nested, nodes, run
from tfcompress.graph.rewrite import clone, fresh_inputs, names_clash


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
    """

    name: str
    size: int
    slices: tuple[Slice, ...]
    fixed: frozenset[int]
    frozen: str | None

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


class ChannelGraph:
    """Holds a model's groups of channels, and makes smaller models of it.

    Args:
        model: a functional or Sequential model.

    Attributes:
        model: the model, flat and with unique names: itself if it is so.
        groups: by their names, in the order of the layers that make them.

    Raises:
        InputError: the model has no graph, or a layer can't be copied.
    """

    def __init__(self, model: keras.Model) -> None:
        flat = functional(model)
        nested = any(is_nested(node.operation) for node in nodes(flat))
        self.model = clone(model) if nested or names_clash(flat) else flat
        self._trace = Trace(self.model, _rule_for)
        self._roots, reasons = self._trace.classes()
        # Of each label's root: which group it is in, and as which channel of it.
        self._group_of = np.full(len(self._roots), -1)
        self._channel_of = np.full(len(self._roots), -1)
        self.groups = self._find_groups(reasons)

    def narrowest(self) -> list[dict[str, Array]]:
        """Returns which channels can't all go, because they are all that some tensor has.

        Returns:
            One entry for each tensor that has parts of groups only: group names to channels.
        """
        names = list(self.groups)
        rows = {}
        for _, labels in self._trace.held:
            roots = np.unique(self._roots[labels])
            numbers = self._group_of[roots]
            if not len(roots) or (numbers < 0).any():
                continue
            counts = np.bincount(numbers, minlength=len(names))
            if any(counts[n] == group.size for n, group in enumerate(self.groups.values())):
                continue
            rows[tuple(roots.tolist())] = {
                names[number]: self._channel_of[roots[numbers == number]]
                for number in np.unique(numbers).tolist()
            }
        return list(rows.values())

    def outputs(self) -> list[Output]:
        """Returns which channels the outputs hold, of operations with one call and one output."""
        names = list(self.groups)
        counts = collections.Counter(call.operation.name for call in self._trace.calls)
        result = []
        for call in self._trace.calls:
            if counts[call.operation.name] == 1 and len(call.outputs) == 1:
                traced = self._trace.of(call.outputs[0])
                parts = self._by_group(traced.labels)
                channels = {names[number]: own for number, own in parts.items()}
                result.append(Output(call.operation, traced.axis, channels))
        return result

    def _by_group(self, labels: Array) -> dict[int, Array]:
        """Returns groups' numbers to the channel of theirs in each entry, -1 for others'."""
        roots = self._roots[labels]
        groups = self._group_of[roots]
        return {
            number: np.where(groups == number, self._channel_of[roots], -1)
            for number in np.unique(groups).tolist()
            if number >= 0
        }

    def _find_groups(self, reasons: Mapping[int, str]) -> dict[str, Group]:
        """Joins the channels that a layer makes to a group, and the groups that share one."""
        made = {key: self._roots[labels] for key, labels in self._trace.made.items()}
        parents = list(range(len(made)))

        def first(number: int) -> int:
            while parents[number] != number:
                number = parents[number]
            return number

        owner: dict[int, int] = {}
        for number, roots in enumerate(made.values()):
            for root in roots.tolist():
                a, b = first(owner.setdefault(root, number)), first(number)
                parents[max(a, b)] = min(a, b)
        members: dict[int, list[Array]] = {}
        for number, roots in enumerate(made.values()):
            members.setdefault(first(number), []).append(roots)
        channels = [np.array(list(dict.fromkeys(np.concatenate(r)))) for r in members.values()]
        for number, roots in enumerate(channels):
            self._group_of[roots] = number
            self._channel_of[roots] = np.arange(len(roots))
        words = [layer for layer, _ in made]
        slices = self._slices(len(channels))
        groups = {}
        for number, (start, roots) in enumerate(zip(members, channels, strict=True)):
            layer, word = list(made)[start]
            name = layer if words.count(layer) == 1 else f"{layer}:{word}"
            fixed = frozenset(i for i, root in enumerate(roots.tolist()) if root in reasons)
            frozen = reasons[int(roots[0])] if len(fixed) == len(roots) else None
            groups[name] = Group(name, len(roots), tuple(slices[number]), fixed, frozen)
        return groups

    def _slices(self, count: int) -> list[list[Slice]]:
        """Returns for each group where weights hold its channels."""
        slices: list[list[Slice]] = [[] for _ in range(count)]
        for use in self._trace.uses.values():
            for number, own in self._by_group(use.labels).items():
                part = Slice(use.layer, use.weight, use.path, use.axis, use.role, own)
                slices[number].append(part)
        return slices

    def keep(self, kept: Mapping[str, Collection[int]]) -> keras.Model:
        """Returns a new model with these channels of these groups, and all of the others.

        Args:
            kept: names of groups to the numbers of the channels that stay.

        Returns:
            A flat functional model, with weights, names and settings as they were.

        Raises:
            InputError: no such group or channel, one that has to stay is missing, or a tensor
                would have no channels left.
        """
        alive = np.ones(len(self._roots), bool)
        for number, group in enumerate(self.groups.values()):
            if group.name in kept:
                chosen = _checked(group, kept[group.name])
                roots = np.flatnonzero(self._group_of == number)
                alive[roots] = np.isin(self._channel_of[roots], chosen)
        for name in kept:
            if name not in self.groups:
                raise unknown_name("group of channels", name, self.groups)

        def keeps(labels: Array) -> Array:
            return alive[self._roots[labels]]

        for name, labels in self._trace.held:
            if len(labels) and not keeps(labels).any():
                raise InputError(f"{name} would give a tensor without channels: keep one of them")
        return self._rebuilt(keeps)

    def _rebuilt(self, keeps: Any) -> keras.Model:
        """Calls copies of all operations, with the channels that are kept."""
        copies: dict[int, Any] = {}
        calls = iter(self._trace.calls)

        def copy(operation: Any) -> Any:
            if id(operation) not in copies:
                changes = self._trace.settings.get(operation.name, {})
                values = {key: value(keeps) for key, value in changes.items()}
                copies[id(operation)] = _copy(operation, values)
            return copies[id(operation)]

        def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
            call = next(calls)
            if call.change is not None:
                args, kwargs = call.change(args, kwargs, keeps)
            return copy(operation)(*args, **kwargs)

        inputs = fresh_inputs(self.model)
        result = keras.Model(inputs, run(self.model, inputs, apply), name=self.model.name)
        cuts: dict[str, list[tuple[int, int, Array]]] = {}
        for use in self._trace.uses.values():
            cuts.setdefault(use.layer, []).append((use.weight, use.axis, keeps(use.labels)))
        for call in self._trace.calls:
            if isinstance(call.operation, keras.layers.Layer):
                weights = call.operation.get_weights()
                for index, axis, mask in cuts.get(call.operation.name, []):
                    weights[index] = np.compress(mask, weights[index], axis=axis)
                copies[id(call.operation)].set_weights(weights)
                if hasattr(call.operation, "finalize_state"):
                    copies[id(call.operation)].finalize_state()
        return result


def _rule_for(operation: Any) -> Rule | None:
    """Returns the rule for a layer or an operation of `keras.ops`; None if there is none."""
    for room in (weighted, sequences, unweighted, operations):
        rule = room.rule_for(operation)
        if rule is not None:
            return rule
    return None


def _copy(operation: Any, values: Mapping[str, Any]) -> Any:
    """Makes an operation from its configuration, some values of which are others.

    Raises:
        InputError: a layer can't be made so.
    """
    if not isinstance(operation, keras.layers.Layer) and not values:
        return operation
    try:
        return type(operation).from_config({**operation.get_config(), **values})
    except Exception as error:
        raise InputError(
            f"layer '{operation.name}' ({type(operation).__name__}) can't be copied from its "
            f"configuration: {error}"
        ) from error


def _checked(group: Group, chosen: Collection[int]) -> Array:
    """Returns the channels that stay, if the group has them and can do without the others."""
    numbers = np.unique(np.array(sorted(chosen), np.int64))
    if not len(numbers) or numbers[0] < 0 or numbers[-1] >= group.size:
        raise InputError(
            f"group '{group.name}' has channels 0 to {group.size - 1}, one of which has to stay; "
            f"got {numbers.tolist()}"
        )
    missing = sorted(group.fixed - set(numbers.tolist()))
    if missing:
        why = f": {group.frozen}" if group.frozen else ""
        raise InputError(f"channels {missing} of group '{group.name}' have to stay{why}")
    return numbers


def channel_groups(model: keras.Model) -> list[Group]:
    """Returns the groups of a model's channels, each with what makes and what takes them.

    Args:
        model: a functional or Sequential model.

    Raises:
        InputError: the model has no graph.
    """
    return list(ChannelGraph(model).groups.values())


def keep(model: keras.Model, kept: Mapping[str, Collection[int]]) -> keras.Model:
    """Returns a smaller model: of the named groups only the channels given, of others all.

    Args:
        model: a functional or Sequential model.
        kept: names of groups, as `channel_groups` gives them, to channels.

    Raises:
        InputError: as `ChannelGraph.keep`.
    """
    return ChannelGraph(model).keep(kept)
