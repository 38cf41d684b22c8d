"""Reads and changes the precision that layers compute in."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.graph.nodes import operations

_HALF = frozenset({"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"})


def half_precision(model: keras.Model) -> str | None:
    """Returns the first dtype policy of a model's layers that computes in 16 bits, or None."""
    policies = (getattr(operation, "dtype_policy", None) for operation in operations(model))
    names = (str(policy.name) for policy in policies if policy is not None)
    return next((name for name in names if name in _HALF), None)


def float32_for_half(dtype: str) -> str:
    """Returns a tensor's type, float32 in place of one with 16 bits."""
    return "float32" if dtype in _HALF else dtype


def in_float32(config: Any) -> Any:
    """Returns a layer's configuration with float32 in place of policies of 16 bits.

    Args:
        config: of `get_config`, or a part of it; what layers inside the layer have is changed, too.

    >>> in_float32({"dtype": "mixed_float16", "layer": {"config": {"dtype": "int32"}}})
    {'dtype': 'float32', 'layer': {'config': {'dtype': 'int32'}}}
    """
    if isinstance(config, list):
        return [in_float32(part) for part in config]
    if not isinstance(config, dict):
        return config
    changed = {key: in_float32(value) for key, value in config.items()}
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        dtype = dtype.get("config", {}).get("name")
    if isinstance(dtype, str) and dtype in _HALF:
        changed["dtype"] = "float32"
    return changed
