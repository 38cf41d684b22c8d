"""Copies a network without what it has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def with_new_weights(model: keras.Model) -> keras.Model:
    """Returns a copy that has learned nothing but what adapted layers know of the data."""
    from tfcompress.graph import clone

    fresh = clone(model, keep_weights=False)
    for layer in model.layers:  # Copies of such a layer must not begin with another scale.
        if hasattr(layer, "finalize_state"):
            fresh.get_layer(layer.name).set_weights(layer.get_weights())
            fresh.get_layer(layer.name).finalize_state()
    return fresh
