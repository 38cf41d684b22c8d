"""Gives a float file integer weights and activations, with ranges taken from images."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.export import exact_grids, gptq, two_bits, zero_filters
from tfcompress.export.finish import finish
from tfcompress.files import quiet
from tfcompress.runtime import LiteModel
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import FileContent, Op, read
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.parser import unpack
from tfcompress.tflite.weighted_ops import WEIGHTED, weights_type

# Ops whose 4-bit weights the quantizer can write and the runtime can multiply by 8-bit inputs.
FOUR_BITS = ("CONV_2D", "FULLY_CONNECTED")
_QUANTIZERS_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
Ranges = dict[str, dict[str, np.ndarray]]
# Shares of a tensor's range that `of_least_error` tries, and the bins of its histogram.
_SHARES = np.linspace(1.0, 0.3, 36)
_BINS = 4096


def ranges(path: Path, images: np.ndarray | Rows) -> Ranges:
    """Returns the least and the largest value of every tensor of a float file, over all images.

    ai-edge-quantizer's own calibration is a moving average over the images' ranges that forgets
    all but the last twenty: it clipped the logits of a trained network by half.

    Args:
        path: the float file.
        images: as the model takes them, normalised.
    """
    names, unread = _float_tensors(read(path))
    limits: Ranges = {}
    for name, values in _values(path, images, names):
        seen = limits.setdefault(
            name,
            # Every grid holds 0, which padding and activations bring.
            {end: np.zeros((1,) * values.ndim, np.float32) for end in ("min", "max")},
        )
        seen["min"] = np.minimum(seen["min"], values.min())
        seen["max"] = np.maximum(seen["max"], values.max())
    return limits | {name: limits[source] for name, source in unread.items() if source in limits}


def fixed_ranges(ends: Mapping[str, tuple[float, float]]) -> Ranges:
    """Returns ranges that don't come from images: the least and the largest value by tensor name.

    The quantizer makes of them the grid that has these two ends.
    """
    return {
        name: {"min": np.full((1,), low, np.float32), "max": np.full((1,), high, np.float32)}
        for name, (low, high) in ends.items()
    }


def of_least_error(path: Path, images: np.ndarray | Rows, limits: Ranges) -> Ranges:
    """Returns ranges of which 8 bits make the least squared error, clipped values included.

    Both ends of a tensor's range are drawn towards 0 by the same share, of which 36 are tried on a
    histogram of its values. Inputs and outputs of the file keep their whole range.

    Args:
        path: the float file.
        images: as `ranges` takes them.
        limits: what that returned for them.

    Reference:
        Nagel et al. 2021, "A White Paper on Neural Network Quantization", arXiv:2106.08295,
        section 3.1, "mean squared error".
    """
    content = read(path)
    names, unread = _float_tensors(content)
    ends = {tensor.name for tensor in (*content.inputs, *content.outputs)}
    span = {
        name: (limits[name]["min"].item(), limits[name]["max"].item())
        for name in names
        if name not in ends
    }
    inner = [name for name, (low, high) in span.items() if high > low]
    counts = {name: np.zeros(_BINS, np.int64) for name in inner}
    for name, values in _values(path, images, inner):
        counts[name] += np.histogram(values, bins=_BINS, range=span[name])[0]
    narrowed = {
        name: {end: limits[name][end] * _least_error_share(counts[name], *span[name])
               for end in ("min", "max")}
        for name in inner
    }  # fmt: skip
    found = {**limits, **narrowed}
    return found | {name: found[source] for name, source in unread.items() if source in found}


def _least_error_share(counts: np.ndarray, low: float, high: float) -> np.float32:
    """Returns the share of a range at which 8 bits make the least squared error.

    Args:
        counts: how many values lie in each of equally wide bins of the range.
        low: the least value.
        high: the largest one.
    """
    centres = low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts)

    def error(share: float) -> float:
        step = share * (high - low) / 255
        rounded = np.clip(np.round((centres - share * low) / step), 0, 255) * step + share * low
        return float(counts @ (centres - rounded) ** 2)

    return np.float32(min(_SHARES, key=error))


def _values(
    path: Path, images: np.ndarray | Rows, names: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the values of a file's tensors, image by image, each with its name."""
    model = LiteModel(path, threads=min(4, os.cpu_count() or 1), keep_all=True)
    for index in range(len(images)):
        yield from zip(names, model.tensors(images[index : index + 1], names), strict=True)


def _float_tensors(content: FileContent) -> tuple[list[str], dict[str, str]]:
    """Returns the names of the main graph's float tensors: those with values, and those without.

    What a loop or another op of several outputs gives to nobody has no memory. A loop's own values
    are gone behind it.

    Returns:
        Names; and for those without values the float input of their op, such as of a split, whose
        grid they share.
    """
    readers = content.consumers()
    names: dict[str, None] = {}
    unread: dict[str, str] = {}
    for op in content.ops:
        if op.subgraph:
            continue
        floats = [t for t in (*op.inputs, *op.outputs) if t and t.dtype == "float32"]
        for tensor in floats:
            if tensor.constant:
                continue
            if len(op.outputs) > 1 and tensor not in readers and tensor not in content.outputs:
                unread[tensor.name] = floats[0].name
            else:
                names[tensor.name] = None
    return list(names), unread


def integer_file(
    float_path: Path,
    path: Path,
    limits: Ranges,
    *,
    weight_bits: int = 8,
    bits: Mapping[str, int] | None = None,
    few_bits: bool = False,
    inputs: Rows | None = None,
) -> None:
    """Writes the file with integer weights, activations, input and output.

    Weights have one scale a filter and no zero point, so that 0 stays 0. Ops that the quantizer
    doesn't know stay float, between conversions, and so do products of two activations, which
    XNNPACK gets wrong in integers. Loops compute in floats, with integer weights whose inputs are
    quantised as the file runs: nobody sees the ranges of the values inside.

    Args:
        float_path: the float file.
        path: of the integer file.
        limits: of `ranges`.
        weight_bits: 8, or 4 for the ops of `FOUR_BITS`.
        bits: output names of ops that have others: 8, 4 or 2, or 32 for ops that compute in floats;
            fewer than 8 for the ops of `FOUR_BITS`, without groups where they are 2.
        few_bits: whether weights were trained for a few bits: those keep their own grids.
        inputs: as `ranges` takes them, by which weights of 4 bits are rounded; None rounds each to
            the nearest.
    """
    from ai_edge_quantizer import quantizer

    bits = bits or {}
    recipe = _static_rules(float_path, weight_bits, bits)
    twos = [name for name, count in bits.items() if count == 2]
    # The quantizer can't hold what filters of zeros add to an output.
    without = zero_filters.find(Editor(float_path), limits)
    source = float_path
    if without:
        source = path.with_name(f"without_zeros-{path.name}")
        zero_filters.write_without(float_path, source, without)
    _quantize(quantizer.Quantizer(str(source), recipe), path, limits)
    if without:
        zero_filters.write_biases(float_path, path, without)
    if twos:
        two_bits.write_two_bits(Editor(float_path), path, twos)
    if few_bits:
        exact_grids.write_integer_grids(Editor(float_path), path, skip=twos)
    if inputs is not None:
        gptq.write_compensated(float_path, path, inputs)


def _static_rules(path: Path, weight_bits: int, bits: Mapping[str, int]) -> list[dict[str, Any]]:
    """Returns the quantizer's rules for a float file, as `integer_file` takes the bits.

    Ops of 2 bits have 8 by them.
    """
    from ai_edge_quantizer import qtyping, recipe_manager

    floats = recipe_manager.AlgorithmName.NO_QUANTIZE
    known = {name.value for name in qtyping.TFLOperationName}
    recipe = _static_rule(".*", "*", 8)
    if weight_bits == 4:
        # A rule for all ops would replace those before it with the same pattern, not these.
        for name in FOUR_BITS:
            recipe += _static_rule(".*", name, 4)
    content = read(path)
    for op in content.ops:
        if op.subgraph:
            continue
        output, name = op.outputs[0].name, _QUANTIZERS_NAMES.get(op.name, op.name)
        in_floats = _of_two_activations(op)
        if (output not in bits and not in_floats) or name not in known:
            continue
        regex = f"^{re.escape(output)};?$"
        if in_floats or bits[output] == 32:
            # For the op alone: the file's output goes by the same name and stays an integer.
            rule = {"regex": regex, "operation": name, "algorithm_key": floats}
            recipe.append({**recipe[0], **rule})
        elif bits[output] == 4:
            recipe += _static_rule(regex, name, 4)
        else:
            recipe.append({**recipe[0], "regex": regex})
    return recipe + _loop_rules(path, content, {**recipe[0], "algorithm_key": floats})


def _static_rule(regex: str, name: str, weight_bits: int) -> list[dict[str, Any]]:
    """Returns the rule for ops of a name whose outputs' names match a pattern."""
    from ai_edge_quantizer import recipe_manager

    rules = recipe_manager.RecipeManager()
    rules.add_static_config(regex, name, activation_num_bits=8, weight_num_bits=weight_bits)
    recipe: list[dict[str, Any]] = rules.get_quantization_recipe()
    return recipe


def _of_two_activations(op: Op) -> bool:
    """Returns whether an op multiplies by what isn't constant, as attention does."""
    right = op.inputs[1] if len(op.inputs) > 1 else None
    return op.name == "BATCH_MATMUL" and right is not None and not right.constant


def _loop_rules(path: Path, content: FileContent, floats: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the quantizer's rules for the graphs that loops call.

    Args:
        path: the float file.
        content: of it.
        floats: a rule that leaves ops as they are.
    """
    from ai_edge_quantizer import recipe

    graphs = unpack(path.read_bytes(), path).subgraphs[1:]
    names = [re.escape(tensor.name.decode()) for graph in graphs for tensor in graph.tensors]
    if not names:
        return []
    # The quantizer looks for an op by its outputs, and for a graph's own ends by these.
    rules = [{**floats, "regex": f"^({'|'.join(dict.fromkeys(names))})(;|$)"}]
    for op in content.ops:
        if op.subgraph and op.name in WEIGHTED and weights_type(op) == "float32":
            regex = f"^{re.escape(op.outputs[0].name)};?$"
            rules += [{**rule, "regex": regex} for rule in recipe.dynamic_wi8_afp32()]
    return rules


def half_file(float_path: Path, path: Path, *, higher: Collection[str] = ()) -> None:
    """Writes the file with weights as 16-bit floats, which are expanded as it is loaded.

    XNNPACK takes such a weight for a constant and makes float32 of it once.

    Args:
        float_path: the float file.
        path: of the file to write.
        higher: output names of ops whose weights keep 32 bits.
    """
    from ai_edge_quantizer import quantizer, recipe_manager

    rules = recipe_manager.RecipeManager()
    kind = recipe_manager.AlgorithmName.FLOAT_CASTING
    rules.add_weight_only_config(".*", "*", num_bits=16, algorithm_key=kind)
    recipe = rules.get_quantization_recipe()
    for op in read(float_path).ops if higher else ():
        output = op.outputs[0].name if op.outputs else ""
        if output in higher:
            recipe.append(
                {
                    **recipe[0],
                    "regex": f"^{re.escape(output)};?$",
                    "operation": _QUANTIZERS_NAMES.get(op.name, op.name),
                    "algorithm_key": recipe_manager.AlgorithmName.NO_QUANTIZE,
                }
            )
    _quantize(quantizer.Quantizer(str(float_path), recipe), path)


def _quantize(quantizer: Any, path: Path, limits: Ranges | None = None) -> None:
    # The quantizer keeps all values of an interpreter that it doesn't run.
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*preserve_all_tensors", append=False)
        path.write_bytes(quantizer.quantize(limits).quantized_model)
    finish(path)
