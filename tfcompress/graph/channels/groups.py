"""Finds the channels of a model that can only be cut out together, and cuts them out."""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.errors import InputError, unknown_name
from tfcompress.graph.channels import operations, sequences, unweighted, weighted
from tfcompress.graph.channels.parts import Group, Output, Slice
from tfcompress.graph.channels.trace import Array, Kept, Rule, Trace
from tfcompress.graph.nodes import functional, is_nested, nodes, run
from tfcompress.graph.rewrite import clone, fresh_inputs, names_clash


class ChannelGraph:
    """Holds a model's groups of channels, and makes smaller models of it.

    Args:
        model: a functional or Sequential model.
        exact: whether channels stay that a `LayerNormalization` or the like takes: with fewer of
            them it computes other statistics, and the others' values change. A model that is
            trained afterwards can do without that.

    Attributes:
        model: the model, flat and with unique names: itself if it is so.
        groups: by their names, in the order of the layers that make them.

    Raises:
        InputError: the model has no graph, or a layer can't be copied.
    """

    def __init__(self, model: keras.Model, *, exact: bool = True) -> None:
        flat = functional(model)
        nested = any(is_nested(node.operation) for node in nodes(flat))
        self.model = clone(model) if nested or names_clash(flat) else flat
        self._trace = Trace(self.model, _rule_for, exact=exact)
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
        statistics = [
            (layer, set(self._by_group(labels))) for layer, labels in self._trace.statistics
        ]
        groups = {}
        for number, (start, roots) in enumerate(zip(members, channels, strict=True)):
            layer, word = list(made)[start]
            name = layer if words.count(layer) == 1 else f"{layer}:{word}"
            fixed = frozenset(i for i, root in enumerate(roots.tolist()) if root in reasons)
            frozen = reasons[int(roots[0])] if len(fixed) == len(roots) else None
            norms = tuple(dict.fromkeys(name for name, own in statistics if number in own))
            groups[name] = Group(name, len(roots), tuple(slices[number]), fixed, frozen, norms)
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
        times = {}
        for name, chosen in kept.items():
            group = self._group(name)
            stays = np.isin(np.arange(group.size), _checked(group, chosen))
            times[name] = stays.astype(np.int64)
        keeps = self._keeps(times)
        return self._with_weights(*self._rebuilt(keeps), keeps)

    def resized(self, times: Mapping[str, Sequence[int] | Array]) -> keras.Model:
        """Returns an untrained model whose groups have fewer channels than these, or more.

        Args:
            times: names of groups to how many channels stand in place of each: 0 where it goes, 1
                where it stays, more where others come beside it. Other groups stay as they are.

        Returns:
            A flat functional model with names and settings as they were and new weights; layers
            that were adapted to data, such as `Normalization`, keep what they know.

        Raises:
            InputError: as `keep`; or a list isn't as long as its group, or holds a negative number.
        """
        every = {name: np.asarray(row, np.int64) for name, row in times.items()}
        for name, row in every.items():
            group = self._group(name)
            if row.shape != (group.size,) or (row < 0).any():
                raise InputError(
                    f"group '{name}' takes {group.size} numbers of 0 or more, one for each of its "
                    f"channels; got {row.tolist()}"
                )
            _checked(group, np.flatnonzero(row).tolist())
            if group.fixed and (row[list(group.fixed)] != 1).any():
                fixed = sorted(group.fixed)
                raise InputError(f"channels {fixed} of group '{name}' have to stay as they are")
        keeps = self._keeps(every)
        model, copies = self._rebuilt(keeps)
        return self._with_weights(model, copies, keeps, only_adapted=True)

    def _group(self, name: str) -> Group:
        """Returns a group by its name.

        Raises:
            InputError: there is none.
        """
        if name not in self.groups:
            raise unknown_name("group of channels", name, self.groups)
        return self.groups[name]

    def _keeps(self, times: Mapping[str, Array]) -> Kept:
        """Returns what says of labels how many channels stand in place of each.

        Raises:
            InputError: a tensor would have none.
        """
        count = np.ones(len(self._roots), np.int64)
        for number, name in enumerate(self.groups):
            if name in times:
                roots = np.flatnonzero(self._group_of == number)
                count[roots] = times[name][self._channel_of[roots]]

        def keeps(labels: Array) -> Array:
            return np.asarray(count[self._roots[labels]])

        for name, labels in self._trace.held:
            if len(labels) and not keeps(labels).any():
                raise InputError(f"{name} would give a tensor without channels: keep one of them")
        return keeps

    def _rebuilt(self, keeps: Kept) -> tuple[keras.Model, dict[int, Any]]:
        """Calls copies of all operations, with the channels that are kept.

        Returns:
            The model, and its operations by the ids of those that they are copies of.
        """
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
        return result, copies

    def _with_weights(
        self,
        model: keras.Model,
        copies: Mapping[int, Any],
        keeps: Kept,
        *,
        only_adapted: bool = False,
    ) -> keras.Model:
        """Gives the layers of `_rebuilt` the weights of the channels that are kept."""
        cuts: dict[str, list[tuple[int, int, Array]]] = {}
        for use in self._trace.uses.values():
            cuts.setdefault(use.layer, []).append((use.weight, use.axis, keeps(use.labels)))
        for call in self._trace.calls:
            layer = call.operation
            adapted = hasattr(layer, "finalize_state")
            if isinstance(layer, keras.layers.Layer) and (adapted or not only_adapted):
                weights = layer.get_weights()
                for index, axis, times in cuts.get(layer.name, []):
                    weights[index] = np.repeat(weights[index], times, axis=axis)
                copies[id(layer)].set_weights(weights)
                if adapted:
                    copies[id(layer)].finalize_state()
        return model


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
