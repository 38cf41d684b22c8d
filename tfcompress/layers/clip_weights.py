"""Keeps latent weights where their sign can still change: a constraint."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfcompress")
class ClipWeights(keras.constraints.Constraint):
    """Clips weights to [-clip_value, clip_value] after each update.

    A latent weight only matters by its sign: without a bound it can drift so far from 0 that no
    later gradient turns it.

    Args:
        clip_value: the bound, positive.

    Example:
    >>> import numpy as np
    >>> np.asarray(ClipWeights(0.5)(np.array([-2.0, 0.1, 0.7], "float32"))).tolist()
    [-0.5, 0.10000000149011612, 0.5]

    Raises:
        ValueError: `clip_value` isn't positive.

    Reference:
        Courbariaux et al. 2015, "BinaryConnect", arXiv:1511.00363, section 2.4.
    """

    def __init__(self, clip_value: float = 1.0) -> None:
        if not clip_value > 0:
            raise ValueError(f"clip_value must be positive. Received: clip_value={clip_value}")
        self.clip_value = float(clip_value)

    def __call__(self, w: Any) -> Any:
        """Returns the clipped weights."""
        return ops.clip(w, -self.clip_value, self.clip_value)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this constraint again."""
        return {"clip_value": self.clip_value}
