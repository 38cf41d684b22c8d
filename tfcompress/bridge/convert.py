"""Makes a layer of one Keras from a layer of the other; both directions of the bridge use it."""

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
        layers: `keras.layers` or `tf_keras.layers`, whichever the layers are converted to.
        emulated: by activation name, the steps that stand for an activation there.
        taken: names that are in use on the old side; those of new layers are added.
        names: by the id of an old layer, the new one's name, where they differ.
    """

    def __init__(
        self,
        layers: Any,
        emulated: Mapping[str, Steps],
        taken: set[str],
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.layers = layers
        self._emulated = emulated
        self._taken = taken
        self._names = names or {}
        self._converted: dict[int, Any] = {}
        self._pairs: list[tuple[Any, Any]] = []  # Old and new layers with the same weights.

    def layer_for(self, layer: Any) -> Callable[..., Any]:
        """Returns what to call in place of a layer: for one layer, always the same."""
        if id(layer) not in self._converted:
            self._converted[id(layer)] = self._with_activation(layer)
        return self._converted[id(layer)]

    def program_for(
        self, operation: Any, steps: Callable[..., Any], name: str | None = None
    ) -> Program:
        """Returns what to call in place of an operation: for one operation, always the same.

        Args:
            operation: of the old side.
            steps: what makes and calls the layers that stand for it.
            name: what their names begin with, if none of them may have the operation's own.
        """
        if id(operation) not in self._converted:
            first = None if name else self.name(operation)
            built_in = BuiltIns(self.layers, name or self.name(operation), self._taken, first)
            self._converted[id(operation)] = Program(built_in, steps)
        return self._converted[id(operation)]

    def name(self, operation: Any) -> str:
        """Returns what the operation is called on the new side."""
        return self._names.get(id(operation)) or valid_name(operation.name)

    def copy_weights(self) -> None:
        """Gives every layer made so far its original's weights."""
        for old, new in self._pairs:
            copy_weights(old, new)

    def _with_activation(self, layer: Any) -> Callable[..., Any]:
        """Returns the new layer, with steps behind it for an activation that its side lacks."""
        name = configs.activation_name(layer)
        if type(layer).__name__ not in configs.ENDS_IN_ACTIVATION or name in SAME | RENAMED.keys():
            return self._paired(layer)
        configs.converted_class(layer, self.layers)
        if name is None and hasattr(layer.activation, "get_config"):
            behind = self._activation_layer(layer.activation, layer)
        elif name is not None and name in self._emulated:
            behind = Program(self._built_ins_behind(layer), self._emulated[name])
        else:
            raise configs.unknown_activation(layer, "activation")
        if type(layer).__name__ == "Activation":
            return behind
        linear = self._paired(layer, activation="linear")
        return lambda *args, **kwargs: behind(linear(*args, **kwargs))

    def _built_ins_behind(self, layer: Any) -> BuiltIns:
        """Returns a maker of layers to stand behind one, or in its place with its name."""
        first = self.name(layer) if type(layer).__name__ == "Activation" else None
        return BuiltIns(self.layers, self.name(layer), self._taken, first)

    def _activation_layer(self, activation: Any, layer: Any) -> Any:
        """Returns the new layer for a layer that another one has as its activation."""
        arguments = configs.converted_config(activation, self.layers)
        del arguments["name"]
        new = self._built_ins_behind(layer)(type(activation).__name__, **arguments)
        self._pairs.append((activation, new))
        return new

    def _paired(self, layer: Any, **changes: Any) -> Any:
        """Returns the new layer of the same class, which will get the old one's weights."""
        new = self._same_class(layer, **changes)
        self._pairs.append((layer, new))
        return new

    def _same_class(self, layer: Any, **changes: Any) -> Any:
        """Returns a new layer of the same class and settings, but for some arguments."""
        kind = configs.converted_class(layer, self.layers)
        arguments = configs.converted_config(layer, self.layers, self.name(layer))
        for key in arguments:
            if key.endswith("activation") and key not in changes:
                changes[key] = configs.plain_activation(layer, key)
        for key, sublayer in sublayers(layer).items():
            many = isinstance(sublayer, list)
            new = [self._sublayer(each, layer) for each in (sublayer if many else [sublayer])]
            arguments[key] = new if many else new[0]
        return kind(**{**arguments, **changes})

    def _sublayer(self, sublayer: Any, owner: Any) -> Any:
        """Returns the new layer for one inside a wrapper or a recurrent layer."""
        if hasattr(sublayer, "layers"):
            raise refusal(owner, f"wraps the model '{sublayer.name}': wrap its layers one by one")
        name = self.name(sublayer)
        if type(owner).__name__ == "Bidirectional":  # It puts these words before the names itself.
            name = name.removeprefix("forward_").removeprefix("backward_")
        try:
            return self._same_class(sublayer, name=name)
        except Exception as error:
            if str(error).startswith("layer '"):
                raise refusal(owner, f"can't be converted, for its {error}") from error
            raise


def sublayers(layer: Any) -> dict[str, Any]:
    """Returns the layers that a wrapper or recurrent layer is made of, by argument."""
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
    """Gives a layer the weights of its original in the other Keras.

    Raises:
        BridgeError: their shapes differ.
    """
    pairs = [(part, sublayers(new)[key]) for key, part in sublayers(old).items()]
    for part, copy in pairs:
        if isinstance(part, list):
            for each, its_copy in zip(part, copy, strict=True):
                copy_weights(each, its_copy)
        else:
            copy_weights(part, copy)
    if pairs:
        return  # All weights are theirs, but in another order where some of them are frozen.
    arrays = old.get_weights()
    if type(old).__name__ == "Normalization":
        _copy_normalization(arrays, new)
        return
    shapes = [tuple(array.shape) for array in arrays]
    expected = [tuple(weight.shape) for weight in new.weights]
    if shapes != expected:
        raise refusal(
            old, f"has weights of shapes {shapes}, its copy of {expected}: they must agree"
        )
    if arrays:
        new.set_weights(arrays)


def _copy_normalization(arrays: list[Any], new: Any) -> None:
    """Copies means and variances; tf_keras also counts what they were taken from."""
    if not arrays:
        return  # They were given as settings.
    count = new.get_weights()[2:]  # Of tf_keras alone.
    new.set_weights([*arrays[:2], *count])
    new.finalize_state()
