"""Rules for layers of sequences: recurrent layers, attention, and `EinsumDense`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from tfcompress.graph.channels.trace import Array, Call, Kept, Rule, Trace, UnfollowedError, only
from tfcompress.graph.channels.weighted import activation_mixes, check_plain, made_by
from tfcompress.layers.channel_rules import TAKEN

# How many kernels stand side by side in a recurrent layer's.
_GATES = {layers.SimpleRNN: 1, layers.GRU: 3, layers.LSTM: 4}


def rule_for(layer: Any) -> Rule | None:
    """Returns the rule of a layer of this room; None for other layers."""
    return _RULES.get(type(layer))


def _recurrent(trace: Trace, call: Call) -> None:
    """Follows a recurrent layer: a unit goes with its gates and with what it gives the others."""
    layer = call.operation
    units = _units(trace, layer, "", call.inputs[0])
    for state in call.inputs[1:]:
        trace.tie(trace.of_last_axis(state), units)
    trace.set(layer, "units", lambda kept: int(kept(units).sum()))
    for output in call.outputs:
        trace.put(output, len(output.shape) - 1, units)


def _bidirectional(trace: Trace, call: Call) -> None:
    """Follows a recurrent layer in both directions."""
    layer = call.operation
    tensor, output = only(call.inputs), only(call.outputs)
    pair = [_units(trace, layer, direction, tensor) for direction in ("forward", "backward")]
    for key, units in zip(("layer", "backward_layer"), pair, strict=True):
        trace.set(layer, key, _with_units(layer.get_config()[key], units))
    trace.tie(*pair)  # Keras takes them for equally many.
    labels = np.concatenate(pair) if layer.merge_mode == "concat" else pair[0]
    trace.put(output, len(output.shape) - 1, labels)


def _with_units(config: dict[str, Any], units: Array) -> Callable[[Kept], dict[str, Any]]:
    """Returns what makes the configuration of a layer with fewer units."""

    def changed(kept: Kept) -> dict[str, Any]:
        # Without the shapes that it was built for: other channels may come in.
        settings = {**config["config"], "units": int(kept(units).sum())}
        return {**config, "config": settings, "build_config": None}

    return changed


def _units(trace: Trace, layer: Any, direction: str, tensor: Any) -> Array:
    """Returns the labels of a recurrent layer's units, and notes where its weights hold them.

    Args:
        trace: to note it in.
        layer: the recurrent layer, or the `Bidirectional` around it.
        direction: `forward` or `backward` of the latter; empty for the former.
        tensor: what it takes.

    Raises:
        UnfollowedError: it is of another kind, keeps its state, or an activation mixes units.
    """
    path = f"{direction}_layer." if direction else ""
    loop = getattr(layer, f"{direction}_layer") if direction else layer
    if type(loop) not in _GATES:
        raise UnfollowedError(f"no rule says which units a {type(loop).__name__} has")
    if loop.stateful:
        raise UnfollowedError("keeps its state between calls")
    if mixing := activation_mixes(loop):
        raise UnfollowedError(f"its activation '{mixing}' may mix units")
    units = made_by(trace, layer, f"{direction} units".strip(), f"{path}cell.recurrent_kernel", 0)
    columns = np.tile(units, _GATES[type(loop)])
    trace.use(layer, f"{path}cell.recurrent_kernel", 0, units, "made")
    trace.use(layer, f"{path}cell.recurrent_kernel", 1, columns, "made")
    trace.use(layer, f"{path}cell.kernel", 0, trace.of_last_axis(tensor), TAKEN)
    trace.use(layer, f"{path}cell.kernel", 1, columns, "made")
    trace.use(layer, f"{path}cell.bias", -1, columns, "made")
    return units


def _attention(trace: Trace, call: Call) -> None:
    """Follows attention: whole heads can go, and channels that it takes and gives."""
    layer = call.operation
    given = inspect.signature(layer.call).bind(*call.args, **call.kwargs).arguments
    value = given["value"]
    sources = {"query": given["query"], "value": value, "key": given.get("key", value)}
    if layer.get_config().get("use_gate"):
        sources["gate"] = given["query"]
    if given.get("return_attention_scores"):
        raise UnfollowedError("gives the scores of each head")
    if len(layer.get_config()["output_shape"] or ()) > 1:
        raise UnfollowedError("gives several axes")
    heads = made_by(trace, layer, "heads", "_query_dense.kernel", 1)
    made = made_by(trace, layer, "filters", "_output_dense.kernel", -1)
    for name, tensor in sources.items():
        check_plain(getattr(layer, f"_{name}_dense"))
        trace.use(layer, f"_{name}_dense.kernel", 0, trace.of_last_axis(tensor), TAKEN)
        trace.use(layer, f"_{name}_dense.kernel", 1, heads, "made")
        trace.use(layer, f"_{name}_dense.bias", 0, heads, "made")
    trace.use(layer, "_output_dense.kernel", 0, heads, TAKEN)
    trace.use(layer, "_output_dense.kernel", -1, made, "made")
    trace.use(layer, "_output_dense.bias", -1, made, "made")
    trace.set(layer, "num_heads", lambda kept: int(kept(heads).sum()))
    trace.set(layer, "output_shape", lambda kept: (int(kept(made).sum()),))
    output = only(call.outputs)
    trace.put(output, len(output.shape) - 1, made)


def _einsum(trace: Trace, call: Call) -> None:
    """Follows a product by a kernel over the last axis, which makes the last axis."""
    layer = call.operation
    check_plain(layer)
    tensor, output = only(call.inputs), only(call.outputs)
    terms = layer.equation.replace(" ", "").replace("...", "").replace("->", ",").split(",")
    source, kernel, target = terms
    taken, filters = source[-1:], target[-1:]
    sums = taken in kernel and taken not in target
    makes = filters in kernel and filters not in source
    if not (taken and filters and sums and makes):
        raise UnfollowedError(f"its equation {layer.equation} isn't a product over the last axis")
    if mixing := activation_mixes(layer):
        raise UnfollowedError(f"its activation '{mixing}' may mix channels")
    made = made_by(trace, layer, "filters", "kernel", kernel.index(filters))
    trace.use(layer, "kernel", kernel.index(taken), trace.of_last_axis(tensor), TAKEN)
    trace.use(layer, "kernel", kernel.index(filters), made, "made")
    if filters in (layer.bias_axes or ""):
        trace.use(layer, "bias", -1, made, "made")
    shape = layer.get_config()["output_shape"]
    before = tuple(shape[:-1]) if isinstance(shape, list | tuple) else ()
    trace.set(layer, "output_shape", lambda kept: (*before, int(kept(made).sum())))
    trace.put(output, len(output.shape) - 1, made)


_RULES: dict[type, Rule] = {
    **dict.fromkeys(_GATES, _recurrent),
    layers.Bidirectional: _bidirectional,
    layers.MultiHeadAttention: _attention,
    layers.EinsumDense: _einsum,
}
