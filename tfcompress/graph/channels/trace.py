"""Follows channels through a model: which entries of which tensors live and die together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.graph.nodes import call_arguments, functional, nodes

Array = np.ndarray
# Says of each label how many channels stand in its place: 1 where it is kept, 0 where it goes.
Kept = Callable[[Array], Array]


class UnfollowedError(Exception):
    """Says why an operation's channels can't be followed: all of its inputs' then stay."""


@dataclasses.dataclass(frozen=True)
class Traced:
    """Holds the labels of a tensor's channels.

    Attributes:
        axis: the axis that holds the channels, the batch's being 0.
        labels: one number for each entry of that axis.
    """

    axis: int
    labels: Array


@dataclasses.dataclass(frozen=True)
class Use:
    """Says that an axis of a layer's weight holds channels.

    Attributes:
        layer: the layer's name.
        weight: which of the layer's weights.
        path: the weight's path in the layer, such as `kernel`.
        axis: the weight's.
        labels: one for each entry of the axis.
        role: `taken` or `made`, or `passed` for the channels of a layer that gives what it takes.
    """

    layer: str
    weight: int
    path: str
    axis: int
    labels: Array
    role: str


@dataclasses.dataclass
class Call:
    """Holds one call of an operation, and how it changes when channels are cut out.

    Attributes:
        operation: the layer, or the operation of `keras.ops`.
        args: with Keras's symbolic tensors.
        kwargs: likewise.
        outputs: symbolic tensors.
        change: makes the arguments of the smaller model from its tensors and what is kept; None if
            they stay as they are.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Sequence[Any]
    change: Callable[[tuple[Any, ...], dict[str, Any], Kept], Any] | None = None

    @property
    def inputs(self) -> list[Any]:
        """The symbolic tensors among the arguments."""
        leaves = tree.flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


Rule = Callable[["Trace", Call], None]


class Trace:
    """Gives every tensor of a model labels for its channels, and notes which of them are one.

    Args:
        model: flat, with unique names.
        rule_for: returns the rule for an operation, or None if there is none.
        exact: whether channels stay whose going would change what the others are.
    """

    def __init__(
        self, model: keras.Model, rule_for: Callable[[Any], Rule | None], *, exact: bool = True
    ) -> None:
        self.exact = exact
        # Layers whose statistics are those of channels together, with these channels' labels.
        self.statistics: list[tuple[str, Array]] = []
        self.calls: list[Call] = []
        # (layer name, weight, axis) to what it holds.
        self.uses: dict[tuple[str, int, int], Use] = {}
        # (layer name, word) to the labels of the channels that the layer makes.
        self.made: dict[tuple[str, str], Array] = {}
        # Operation name, key of its configuration, and what makes the value of what is kept.
        self.settings: dict[str, dict[str, Callable[[Kept], Any]]] = {}
        self.tensors: dict[int, Traced] = {}
        self.held: list[tuple[str, Array]] = []
        self._count = 0
        self._ties: list[tuple[Array, Array]] = []
        self._frozen: list[tuple[Array, str]] = []
        for tensor in functional(model).inputs:
            self._put_fixed(tensor, "an input of the model")
        for node in nodes(model):
            args, kwargs = call_arguments(node)
            call = Call(node.operation, args, kwargs, node.outputs)
            self.calls.append(call)
            self._follow(call, rule_for(node.operation))
        for tensor in functional(model).outputs:  # The plainest reason of those that there are.
            self._frozen.insert(0, (self.tensors[id(tensor)].labels, "an output of the model"))

    def _follow(self, call: Call, rule: Rule | None) -> None:
        """Applies an operation's rule; without one, what it takes and gives stays as it is."""
        name = f"{type(call.operation).__name__} '{call.operation.name}'"
        try:
            if rule is None:
                raise UnfollowedError("no rule says what becomes of its channels")
            rule(self, call)
        except UnfollowedError as error:
            call.change = None
            reason = f"{name}: {error}"
            for tensor in call.inputs:
                self.freeze(self.tensors[id(tensor)].labels, reason)
            for tensor in call.outputs:
                self._put_fixed(tensor, reason)
        for tensor in call.outputs:
            self.held.append((name, self.tensors[id(tensor)].labels))

    def new(self, count: int) -> Array:
        """Returns labels that no channel has yet."""
        self._count += count
        return np.arange(self._count - count, self._count)

    def tie(self, one: Array, other: Array) -> None:
        """Notes that the channels of two rows of labels live and die together, pair by pair."""
        self._ties.append((one, other))

    def tie_rows(self, rows: Array) -> Array:
        """Notes that the channels of several rows live and die together, those at the same place.

        Returns:
            The first row.
        """
        for other in rows[1:]:
            self.tie(rows[0], other)
        return rows[0]

    def freeze(self, labels: Array, reason: str) -> None:
        """Notes that channels must stay, and why."""
        self._frozen.append((labels, reason))

    def of(self, tensor: Any) -> Traced:
        """Returns a tensor's labels."""
        return self.tensors[id(tensor)]

    def of_last_axis(self, tensor: Any) -> Array:
        """Returns a tensor's labels if its last axis holds the channels.

        Raises:
            UnfollowedError: another axis does.
        """
        traced = self.of(tensor)
        if traced.axis != len(tensor.shape) - 1:
            raise UnfollowedError(f"takes channels on axis {traced.axis}, not on the last")
        return traced.labels

    def put(self, tensor: Any, axis: int, labels: Array) -> None:
        """Gives an operation's output its labels.

        Raises:
            UnfollowedError: the output has another size.
        """
        if tensor.shape[axis] != len(labels):
            raise UnfollowedError(
                f"gives {tensor.shape[axis]} channels where {len(labels)} were expected"
            )
        self.tensors[id(tensor)] = Traced(axis, labels)

    def _put_fixed(self, tensor: Any, reason: str) -> None:
        """Gives a tensor labels of its own that stay."""
        axis = max(len(tensor.shape) - 1, 0)
        size = tensor.shape[axis] if len(tensor.shape) > 1 else None
        labels = self.new(size or 0)
        self.freeze(labels, reason)
        self.tensors[id(tensor)] = Traced(axis, labels)

    def use(self, layer: Any, path: str, axis: int, labels: Array, role: str) -> None:
        """Notes that an axis of a layer's weight holds channels; other calls' are the same ones.

        Raises:
            UnfollowedError: the axis has another size, or another call has other channels there.
        """
        variable = layer
        for part in path.split("."):
            variable = getattr(variable, part, None)
        if variable is None:
            return
        index = next(i for i, weight in enumerate(layer.weights) if weight is variable)
        axis %= len(variable.shape)
        times, rest = divmod(variable.shape[axis], max(len(labels), 1))
        if rest or not times or not len(labels):
            raise UnfollowedError(
                f"'{path}' has {variable.shape[axis]} entries for {len(labels)} channels"
            )
        labels = np.repeat(labels, times)
        key = layer.name, index, axis
        if key in self.uses:
            self.tie(self.uses[key].labels, labels)
        else:
            self.uses[key] = Use(layer.name, index, path, axis, labels, role)

    def set(self, operation: Any, key: str, value: Callable[[Kept], Any]) -> None:
        """Notes how a value of an operation's configuration follows from what is kept."""
        self.settings.setdefault(operation.name, {})[key] = value

    def classes(self) -> tuple[Array, dict[int, str]]:
        """Returns each label's channel, and why channels that must stay do.

        Returns:
            For each label the least one that lives and dies with it; and from these to reasons.
        """
        parents = list(range(self._count))

        def root(label: int) -> int:
            while parents[label] != label:
                parents[label] = parents[parents[label]]
                label = parents[label]
            return label

        for one, other in self._ties:
            for a, b in zip(one.tolist(), other.tolist(), strict=True):
                a, b = root(a), root(b)
                if a != b:
                    parents[max(a, b)] = min(a, b)
        roots = np.array([root(label) for label in range(self._count)], np.int64)
        reasons: dict[int, str] = {}
        for labels, reason in self._frozen:
            for label in np.unique(roots[labels]).tolist():
                reasons.setdefault(label, reason)
        return roots, reasons


def only(tensors: Iterable[Any]) -> Any:
    """Returns the one tensor of an operation that takes or gives one.

    Raises:
        UnfollowedError: there are several.
    """
    every = list(tensors)
    if len(every) != 1:
        raise UnfollowedError(f"takes or gives {len(every)} tensors where one is expected")
    return every[0]
