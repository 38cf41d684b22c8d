"""From a Keras model to a file that holds its weights as a storage says."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np

from tfcompress import kernels
from tfcompress.config import InputError
from tfcompress.export import (
    bits,
    buckets,
    calibrate,
    convert,
    damage,
    fake_quantize,
    lce,
    low_bits,
    mixed,
    sparse,
    xnor_ops,
)
from tfcompress.export.gate import ExportError
from tfcompress.export.mixed import Validation
from tfcompress.export.storage import Storage
from tfcompress.export.surgery import edit
from tfcompress.graph import lower
from tfcompress.runtime.content import Op, read
from tfcompress.runtime.magic import one_line

_INTEGERS = ("int8", "int4", "int2")


@dataclasses.dataclass(frozen=True)
class Made:
    """A file in its temporary folder, and what it was made of."""

    path: Path
    float_path: Path
    lowered: keras.Model
    kept: dict[str, str] = dataclasses.field(default_factory=dict)


def write(
    model: keras.Model,
    kind: Storage,
    folder: Path,
    ranging: np.ndarray | None,
    validation: Validation | None,
) -> Made:
    """The file in a folder of its own."""
    check_kernels(kind)
    if kind.quantize == "trained":
        made = fake_quantize.int8_file(model, folder / "int8.tflite")
        return Made(made, made, model)
    lowered = lower(model, activations=kind.activations)
    made = folder / "float.tflite"
    if kind.name == "lce":
        return Made(made, made, lowered, lce.write(lowered, made))
    convert.float_file(lowered, made)
    hashed = _expand_at_load(model, kind, made)
    if kind.name == "sparse":
        return Made(made, made, lowered, _drop_zeros(lowered, made))
    if kind.name == "xnor":
        packed = folder / "xnor.tflite"
        return Made(packed, made, lowered, _bit_ops(lowered, made, packed))
    if kind.quantize == "none":
        return Made(made, made, lowered)
    if kind.quantize == "bits":
        return Made(made, made, lowered, _pack_bits(lowered, made))
    quantized = folder / "quantized.tflite"
    kept: dict[str, str] = {}
    if kind.quantize == "half":
        calibrate.half_file(made, quantized)
    elif kind.quantize == "static":
        assert ranging is not None
        found = calibrate.ranges(made, ranging)
        if validation is None:
            calibrate.integer_file(made, quantized, found, weight_bits=kind.weight_bits)
        else:
            kept = mixed.search(lowered, made, quantized, kind, found, ranging, validation)
    else:
        kept = _quantize_weights(lowered, kind, made, quantized, hashed)
    return Made(quantized, made, lowered, kept)


def check_kernels(kind: Storage) -> None:
    """Refuses 1-bit ops where nothing runs them fast, so that none could be compared with Keras.

    Raises:
        InputError: the storage needs tfcompress's kernels, and there are none here.
    """
    why = kernels.missing() if kind.name == "xnor" else None
    if why is not None:
        raise InputError(
            f"storage xnor needs tfcompress's 1-bit kernels, which can't be used here: {why}; use "
            "1bit or int8"
        )


# How buckets are written, by what a storage does with weights; with integer activations they are
# expanded before, to integers like any others.
_BUCKETS = {"half": "float16", "all": "int8", "none": "float32", "bits": "float32",
            "binary": "float32"}  # fmt: skip


def _expand_at_load(model: keras.Model, kind: Storage, path: Path) -> int:
    """Buckets in the place of hashed weights; of how many products."""
    layers = buckets.of(model) if kind.quantize in _BUCKETS else []
    done: list[int] = []
    if layers:
        edit(path, lambda file: done.append(buckets.write(file, layers, _BUCKETS[kind.quantize])))
    return sum(done)


def _pack_bits(lowered: keras.Model, path: Path) -> dict[str, str]:
    """Bits in the place of binary weights; layers that have none, and why.

    Raises:
        InputError: no layer has any.
    """
    ops = list(damage.products(read(path)))
    names = damage.layer_names(lowered, ops)
    kept: dict[str, str] = {}
    edit(path, lambda surgery: kept.update(bits.write(surgery)))
    if len(kept) == len(ops):
        raise InputError(
            f"storage 1bit finds no binary weights in model '{lowered.name}': use float32, or "
            "a technique that makes some, such as bwn or xnor"
        )
    return {names[name]: f"4 bytes a weight: {why}" for name, why in kept.items()}


def _bit_ops(lowered: keras.Model, made: Path, packed: Path) -> dict[str, str]:
    """Our ops in the place of binary products; layers with binary weights that have none, and why.

    Raises:
        InputError: no layer has one.
    """
    names = damage.layer_names(lowered, damage.products(read(made)))
    try:
        kept = xnor_ops.xnor_file(made, packed)
    except InputError as error:
        raise InputError(
            f"storage xnor finds nothing for it in model '{lowered.name}', {one_line(error)}: use "
            "1bit or float32, or the technique xnor, which makes such layers"
        ) from error
    return {names[name]: f"4 bytes a weight: {why}" for name, why in kept.items()}


def _drop_zeros(lowered: keras.Model, path: Path) -> dict[str, str]:
    """Weights without their zeros; layers that have too few, and why.

    Raises:
        InputError: no layer has enough.
    """
    ops = [op for op in damage.products(read(path)) if op.name in sparse.PRODUCTS]
    names = damage.layer_names(lowered, ops)
    kept: dict[str, str] = {}
    edit(path, lambda surgery: kept.update(sparse.write(surgery)))
    kept = {names[name]: why for name, why in kept.items()}
    if len(kept) == len(ops):
        raise InputError(
            f"storage sparse finds no layer of model '{lowered.name}' with enough zeros "
            f"({_some(kept) or 'it has no weights'}): use float32, or the technique prune, which "
            "makes some"
        )
    return kept


def _quantize_weights(
    lowered: keras.Model, kind: Storage, made: Path, quantized: Path, hashed: int
) -> dict[str, str]:
    """Integer weights and float activations, where the storage wants them; who got more bits."""
    content = read(made)
    outputs = convert.ops_to_quantize(content, convert.product_weights(made), kind.quantize)
    if not outputs and hashed and kind.quantize == "all" and kind.weight_bits == 8:
        shutil.copyfile(made, quantized)
        return {}
    if not outputs:
        why = "it has no convolution or dense layer; use float32"
        if kind.quantize == "binary":
            why = (
                "of a network with binary inputs it writes the layers with binary weights; use "
                "float32"
            )
        elif hashed:
            why = "the buckets of its hashed layers have 8 bits; use dynamic"
        raise InputError(
            f"storage {kind.name} finds nothing to quantise in model '{lowered.name}': {why}"
        )
    names = damage.layer_names(lowered, damage.products(content))
    chosen, kept = dict.fromkeys(outputs, 8), dict[str, str]()
    if kind.weight_bits < 8:
        chosen, kept = low_bits.choose(made, outputs, kind.weight_bits)
        kept = {names[name]: why for name, why in kept.items()}
        if kind.weight_bits not in chosen.values():
            raise InputError(
                f"storage {kind.name} finds no layer of model '{lowered.name}' for "
                f"{kind.weight_bits} bits ({_some(kept)}): use "
                + ("dynamic" if kind.quantize == "all" else "int8")
            )
    low_bits.write(made, quantized, chosen)
    integers = [op for op in read(quantized).ops if op.macs and weights_type(op) in _INTEGERS]
    if len(integers) < len(outputs):
        raise ExportError(f"{len(integers)} layers of {len(outputs)} got integer weights")
    return kept


def _some(kept: dict[str, str]) -> str:
    """The first few reasons."""
    lines = [f"{name}: {why}" for name, why in list(kept.items())[:3]]
    return "; ".join(lines) + ("; ..." if len(kept) > 3 else "")


def weights_type(op: Op) -> str | None:
    """The type of a product's weights; None if they aren't constants of the file."""
    weights = op.inputs[1]
    return weights.dtype if weights is not None and weights.constant else None
