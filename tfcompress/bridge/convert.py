"""Makes one layer of one Keras from one of the other; both directions of the bridge use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tfcompress.bridge import configs
from tfcompress.bridge.activations import RENAMED, SAME, Steps
from tfcompress.bridge.built_in import BuiltIns, Program, valid_name
from tfcompress.bridge.errors import refusal


class Converter:
    """Makes each layer once, with what must stand behind it, and copies its weights.

    Args:
        layers: `keras.layers` or `tf_keras.layers`, to which the layers go.
        emulated: activation name to the steps that stand for it there.
        taken: names that are in use on the old side; those of new layers are added.
        names: ids of old layers to the names of new ones, where they differ.
    """

    def __init__(
        self,
        layers: Any,
        emulated: Mapping[str, Steps],
        taken: set[str],
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.layers = layers
        self.emulated = emulated
        self.taken = taken
        self.names = names or {}
        self.made: dict[int, Any] = {}
        self.pairs: list[tuple[Any, Any]] = []  # Old and new layers with the same weights.

    def layer(self, layer: Any) -> Callable[..., Any]:
        """What to call in place of a layer: of one layer, always the same."""
        if id(layer) not in self.made:
            self.made[id(layer)] = self._with_tail(layer)
        return self.made[id(layer)]

    def program(
        self, operation: Any, steps: Callable[..., Any], name: str | None = None
    ) -> Program:
        """What to call in place of an operation: of one operation, always the same.

        Args:
            operation: of the old side.
            steps: what makes and calls the layers that stand for it.
            name: what their names begin with, if none of them may have the operation's own.
        """
        if id(operation) not in self.made:
            own = None if name else self.name(operation)
            built_in = BuiltIns(self.layers, name or self.name(operation), self.taken, own)
            self.made[id(operation)] = Program(built_in, steps)
        return self.made[id(operation)]

    def name(self, operation: Any) -> str:
        """What the operation is called on the new side."""
        return self.names.get(id(operation)) or valid_name(operation.name)

    def copy_weights(self) -> None:
        """Gives every layer made so far its original's weights."""
        for old, new in self.pairs:
            copy_weights(old, new)

    def _with_tail(self, layer: Any) -> Callable[..., Any]:
        """The layer, and behind it what stands for an activation that the new side lacks."""
        name = configs.activation_name(layer)
        if type(layer).__name__ not in configs.ENDS_IN_ACTIVATION or name in SAME | RENAMED.keys():
            return self._paired(layer)
        configs.converted_class(layer, self.layers)
        if name is None and hasattr(layer.activation, "get_config"):
            tail = self._whole_named(layer.activation, layer)
        elif name is not None and name in self.emulated:
            tail = Program(self._behind(layer), self.emulated[name])
        else:
            raise configs.unknown_activation(layer, "activation")
        if type(layer).__name__ == "Activation":
            return tail
        body = self._paired(layer, activation="linear")
        return lambda *args, **kwargs: tail(body(*args, **kwargs))

    def _behind(self, layer: Any) -> BuiltIns:
        """Makes layers to stand behind the layer; they may have its name if it goes itself."""
        gone = type(layer).__name__ == "Activation"
        return BuiltIns(
            self.layers, self.name(layer), self.taken, self.name(layer) if gone else None
        )

    def _whole_named(self, inner: Any, outer: Any) -> Any:
        """An activation layer out of another layer's settings, named after that one."""
        arguments = configs.converted_config(inner, self.layers)
        del arguments["name"]
        made = self._behind(outer)(type(inner).__name__, **arguments)
        self.pairs.append((inner, made))
        return made

    def _paired(self, layer: Any, **changes: Any) -> Any:
        """The one layer of the same class, which will get the weights."""
        new = self._whole(layer, **changes)
        self.pairs.append((layer, new))
        return new

    def _whole(self, layer: Any, **changes: Any) -> Any:
        """The one layer of the same class."""
        kind = configs.converted_class(layer, self.layers)
        arguments = configs.converted_config(layer, self.layers, self.name(layer))
        for key in arguments:
            if key.endswith("activation") and key not in changes:
                changes[key] = configs.plain_activation(layer, key)
        for key, sublayer in sublayers(layer).items():
            many = isinstance(sublayer, list)
            made = [self._part(each, layer) for each in (sublayer if many else [sublayer])]
            arguments[key] = made if many else made[0]
        return kind(**{**arguments, **changes})

    def _part(self, part: Any, owner: Any) -> Any:
        """A layer inside a wrapper or a recurrent layer."""
        if hasattr(part, "layers"):
            raise refusal(owner, f"wraps the model '{part.name}': wrap its layers one by one")
        name = self.name(part)
        if type(owner).__name__ == "Bidirectional":  # It puts these words before the names itself.
            name = name.removeprefix("forward_").removeprefix("backward_")
        try:
            return self._whole(part, name=name)
        except Exception as error:
            if str(error).startswith("layer '"):
                raise refusal(owner, f"can't be converted, for its {error}") from error
            raise


def sublayers(layer: Any) -> dict[str, Any]:
    """The layers that a wrapper or recurrent layer is made of, by argument."""
    name = type(layer).__name__
    if name == "Bidirectional":
        return {"layer": layer.forward_layer, "backward_layer": layer.backward_layer}
    if name == "TimeDistributed":
        return {"layer": layer.layer}
    if name == "RNN":
        return {"cell": layer.cell}
    if name == "StackedRNNCells":
        return {"cells": list(layer.cells)}
    return {}


def copy_weights(old: Any, new: Any) -> None:
    """Gives a layer the weights of one of the other Keras.

    Raises:
        BridgeError: they don't fit.
    """
    parts = [(part, sublayers(new)[key]) for key, part in sublayers(old).items()]
    for part, copy in parts:
        if isinstance(part, list):
            for each, its_copy in zip(part, copy, strict=True):
                copy_weights(each, its_copy)
        else:
            copy_weights(part, copy)
    if parts:
        return  # All weights are theirs, but in another order where some of them are frozen.
    arrays = old.get_weights()
    if type(old).__name__ == "Normalization":
        _copy_normalization(arrays, new)
        return
    shapes = [tuple(array.shape) for array in arrays]
    wanted = [tuple(weight.shape) for weight in new.weights]
    if shapes != wanted:
        raise refusal(old, f"has weights of shapes {shapes}, its copy of {wanted}: they must agree")
    if arrays:
        new.set_weights(arrays)


def _copy_normalization(arrays: list[Any], new: Any) -> None:
    """Means and variances; tf_keras also counts what they were taken from, Keras 3 doesn't."""
    if not arrays:
        return  # They were given as settings.
    wanted = len(new.get_weights())
    arrays = [*arrays[:2], *([new.get_weights()[2]] if wanted == 3 else [])]
    new.set_weights(arrays)
    new.finalize_state()
