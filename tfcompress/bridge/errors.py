"""Errors for what the bridge can't convert."""

from __future__ import annotations

from typing import Any

from tfcompress.errors import InputError


class BridgeError(InputError):
    """Says that a model, or a part of one, has no equal in the other Keras.

    The message names the layer, its class and the setting at fault, and what would be right.
    """


class NoBuiltInLayerError(BridgeError):
    """Says that no built-in layers of the other Keras do an operation on tensors.

    Args:
        operation: of `keras.ops`.
        why: which of its arguments nothing covers; empty if it is the operation itself.
    """

    def __init__(self, operation: Any, why: str = "") -> None:
        self.what = f"{type(operation).__name__} {why}".strip()
        super().__init__(
            f"operation '{operation.name}' ({self.what}) has no built-in layer that does the "
            "same: use a layer in its place, or give a function of tf_keras tensors as "
            f"replace={{'{operation.name}': ...}}"
        )


def refusal(layer: Any, why: str) -> BridgeError:
    """Returns the error for one layer or operation.

    Args:
        layer: of either Keras, with a name.
        why: what is wrong with it and what would be right.
    """
    return BridgeError(f"layer '{layer.name}' ({type(layer).__name__}) {why}")
