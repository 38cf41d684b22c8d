"""Converts a layer's settings to the other Keras.

A setting is converted, or dropped because it means nothing after building (initialisers, seeds) or
has a default that the other side shares. Any other is refused by name.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcompress.bridge.activations import RENAMED, SAME
from tfcompress.bridge.errors import BridgeError, refusal

# The classes that can be converted; tests compare each with settings that aren't its defaults.
MERGES = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
CONVOLUTIONS = tuple(
    f"{kind}{n}D"
    for n in (1, 2, 3)
    for kind in ("Conv", "DepthwiseConv", "SeparableConv")
    if (kind, n) not in (("DepthwiseConv", 3), ("SeparableConv", 3))
) + tuple(f"Conv{n}DTranspose" for n in (1, 2, 3))
POOLINGS = tuple(
    f"{kind}Pooling{n}D"
    for kind in ("Average", "Max", "GlobalAverage", "GlobalMax")
    for n in (1, 2, 3)
)
SHAPES = (
    *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling", "ZeroPadding") for n in (1, 2, 3)),
    *("Flatten", "Permute", "RepeatVector", "Reshape"),
)
NORMALIZATIONS = (
    *("BatchNormalization", "GroupNormalization", "LayerNormalization"),
    *("Normalization", "UnitNormalization"),
)
ACTIVATIONS = ("Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax")
IMAGES = (
    *("CenterCrop", "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation"),
    *("RandomTranslation", "RandomZoom", "Rescaling", "Resizing"),
)
REGULARIZATIONS = (
    *("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
)
RECURRENT = (
    *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN", "SimpleRNN"),
    *("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"),
)
WRAPPERS = ("Bidirectional", "TimeDistributed")
OTHERS = (
    *("AdditiveAttention", "Attention", "MultiHeadAttention"),
    *("CategoryEncoding", "Dense", "EinsumDense", "Embedding", "Identity", "Masking"),
)
CONVERTIBLE = frozenset(
    itertools.chain(
        *(MERGES, CONVOLUTIONS, POOLINGS, SHAPES, NORMALIZATIONS, ACTIVATIONS, IMAGES),
        *(REGULARIZATIONS, RECURRENT, WRAPPERS, OTHERS),
    )
)

# Their activation is the last thing they do, so a layer behind them can stand for it.
ENDS_IN_ACTIVATION = frozenset((*CONVOLUTIONS, "Activation", "Dense", "EinsumDense"))

# Keras 3's name of a setting, and tf_keras's.
_NAMES = {"LeakyReLU": {"negative_slope": "alpha"}}

# They tell of a layer's past, or of one Keras's machinery: its outputs don't depend on them.
_MEANINGLESS = frozenset(
    {
        *("seed", "batch_input_shape", "batch_shape", "build_config", "dynamic", "fused"),
        *("implementation", "force_generator", "rng_type", "use_cudnn", "flash_attention"),
        *("query_shape", "key_shape", "value_shape", "input_length"),
    }
)
# In a base class's signature, but not for the class itself.
_NOT_OFFERED = {"BatchNormalization": {"renorm", "renorm_clipping", "renorm_momentum"}}
# Taken through **kwargs, so that no signature shows them, nor their defaults.
_HIDDEN_DEFAULTS = {"rms_scaling": False}
_HIDDEN = {name: {"zero_output_for_mask"} for name in RECURRENT if "Cell" not in name}

# Arguments that are layers; `convert.sublayers` has them.
_SUBLAYERS = frozenset({"layer", "backward_layer", "cell", "cells"})

_DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool")


def parameters(kind: Any) -> Mapping[str, Any]:
    """Returns the arguments of a layer class, its bases' included, with their defaults."""
    defaults: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        signature = inspect.signature(base.__init__).parameters.values()
        for parameter in signature:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                defaults.setdefault(parameter.name, parameter.default)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in signature):
            break
    return {name: default for name, default in defaults.items() if name != "self"}


def converted_class(layer: Any, layers: Any) -> type:
    """Returns the other side's class for a layer.

    Args:
        layer: of either Keras.
        layers: `keras.layers` or `tf_keras.layers`, whichever it is converted to.

    Raises:
        BridgeError: there is none of the same meaning.
    """
    name = type(layer).__name__
    is_built_in = type(layer).__module__.split(".")[0] in ("keras", "tf_keras")
    if name not in CONVERTIBLE or not is_built_in:
        what = "has no equal in" if is_built_in else "isn't a built-in layer, so it has no equal in"
        raise refusal(layer, f"{what} {_side(layers)}: rewrite the model without it first")
    return getattr(layers, name)


def converted_config(layer: Any, layers: Any, name: str | None = None) -> dict[str, Any]:
    """Returns a layer's settings as arguments for the class of the same name on the other side.

    Its activation is left as it is, by name; sublayers are left out.

    Args:
        layer: of either Keras.
        layers: `keras.layers` or `tf_keras.layers`, whichever it is converted to.
        name: what the new layer is called, unless it has the old one's name.

    Raises:
        BridgeError: a setting that the other side doesn't know isn't at its default.
    """
    kind = converted_class(layer, layers)
    old, new = parameters(type(layer)), parameters(kind)
    renamed = _NAMES.get(kind.__name__, {})
    if _side(layers) == "keras":
        renamed = {theirs: ours for ours, theirs in renamed.items()}
    hidden = _HIDDEN.get(kind.__name__, ())
    refused = _NOT_OFFERED.get(kind.__name__, ())
    arguments: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        if key in _MEANINGLESS or key.endswith("_initializer") or key in _SUBLAYERS:
            continue
        target = renamed.get(key, key)
        if (target in new or target in hidden) and target not in refused:
            arguments[target] = _value(layer, layers, key, value)
            continue
        default = old.get(key, _HIDDEN_DEFAULTS.get(key))
        if not _is_default(value, default, key):
            raise refusal(
                layer,
                f"has {key}={value!r}, which {_side(layers)} doesn't know: only {key}={default!r} "
                "can be converted",
            )
    if getattr(layer, "stateful", False) and "stateful" in arguments:
        raise refusal(layer, "has stateful=True: only layers without a state can be converted")
    arguments["name"] = name or layer.name
    return arguments


def _side(layers: Any) -> str:
    """Returns the name of the Keras that a module of layers is of."""
    return "tf_keras" if "tf_keras" in layers.__name__ else "keras"


def _is_default(value: Any, default: Any, key: str) -> bool:
    """Returns whether a setting has its default value."""
    if default is None and key == "data_format":
        return value in (None, "channels_last")
    return _plain(value) == _plain(default)


def _plain(value: Any) -> Any:
    """Returns the value with tuples for lists, so that equal settings compare equal."""
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _value(layer: Any, layers: Any, key: str, value: Any) -> Any:
    """Returns a setting as the other side takes it."""
    if key == "dtype":
        return dtype(layer)
    if key.endswith("activation"):
        return value  # Chosen by the caller, who may put a layer behind this one.
    if value is None:
        return None
    if key.endswith("regularizer"):
        return _rebuilt(layer, layers, key, value, "regularizers", ("L1", "L2", "L1L2"))
    if key.endswith("constraint"):
        known = ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")
        return _rebuilt(layer, layers, key, value, "constraints", known)
    if type(layer).__name__ == "BatchNormalization" and key == "axis":
        axes = value if isinstance(value, list | tuple) else [value]
        if len(axes) != 1:
            raise refusal(layer, f"has axis={list(axes)}: only one axis can be converted")
        return axes[0]
    if isinstance(value, dict):
        if value.get("class_name") == "__numpy__" or "ndarray" in str(value.get("class_name")):
            return np.array(value["config"]["value"])
        raise refusal(
            layer, f"has {key}={value!r}, which the bridge can't read: give a plain value"
        )
    return _short(value) if _side(layers) == "keras" else value


def _short(value: Any) -> Any:
    """Returns a number that tf_keras rounded to float32 as it was written: 0.1, not 0.100000001."""
    if isinstance(value, np.ndarray | np.generic) and not value.shape:
        value = value.item()
    if isinstance(value, float) and float(np.float32(value)) == value:
        return float(str(np.float32(value)))
    return value


def _rebuilt(
    layer: Any, layers: Any, key: str, value: Any, module: str, known: tuple[str, ...]
) -> Any:
    """Returns a regulariser or constraint of the other side, made from one's configuration."""
    kind = value.get("class_name") if isinstance(value, dict) else None
    if kind not in known or value.get("registered_name") not in (None, kind):
        what = kind or value
        raise refusal(layer, f"has {key}={what!r}: only {', '.join(known)} can be converted")
    classes = importlib.import_module(f"{_side(layers)}.{module}")
    return getattr(classes, kind)(**{name: _short(each) for name, each in value["config"].items()})


def dtype(layer: Any) -> str:
    """Returns the one type that a layer computes and keeps its weights in.

    Raises:
        BridgeError: mixed precision, or a quantised layer.
    """
    policy = getattr(layer, "dtype_policy", None) or layer.dtype
    name = getattr(policy, "name", None) or str(policy)
    if name == "_infer":
        return "float32"
    if name not in _DTYPES:
        raise refusal(
            layer,
            f"has dtype='{name}': mixed, half and quantised precision can't be converted; make "
            "the model with dtype='float32'",
        )
    return name


def activation_name(layer: Any, key: str = "activation") -> str | None:
    """Returns the name of a layer's activation; None if it is no function of Keras's own.

    Args:
        layer: of either Keras.
        key: the argument with the activation. A layer in place of a function has no name.
    """
    value = layer.get_config().get(key)
    if isinstance(value, dict):
        value = value.get("config") if value.get("registered_name") is None else None
    if value is None:
        function = getattr(layer, key, None)
        return "linear" if function is None or _is_linear(function) else None
    return value if isinstance(value, str) else None


def _is_linear(function: Any) -> bool:
    return getattr(function, "__name__", "") == "linear"


def plain_activation(layer: Any, key: str) -> str:
    """Returns the name under which the other side has a layer's activation.

    Raises:
        BridgeError: it hasn't, and the activation is inside the layer, so that no layer behind it
            can stand for it.
    """
    name = activation_name(layer, key)
    if name in SAME:
        return name
    if name in RENAMED:
        return RENAMED[name]
    raise unknown_activation(layer, key)


def unknown_activation(layer: Any, key: str) -> BridgeError:
    """Returns the error for an activation that can't be converted."""
    shown = activation_name(layer, key) or getattr(layer, key)
    return refusal(
        layer,
        f"has {key}={shown!r}, which differs between Keras 3 and tf_keras or is missing in one: "
        f"take one of {', '.join(sorted(SAME))}",
    )
