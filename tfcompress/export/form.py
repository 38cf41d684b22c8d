"""From a Keras model to a file that holds its weights as a storage says."""

from __future__ import annotations

import dataclasses
import operator
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from tfcompress import kernels
from tfcompress.errors import ExportError, InputError
from tfcompress.export import (
    bits,
    buckets,
    calibrate,
    convert,
    fake_quantize,
    layer_errors,
    lce,
    low_bits,
    mixed,
    sparse,
    xnor_ops,
)
from tfcompress.export.convert import weights_type
from tfcompress.export.mixed import Validation
from tfcompress.export.storage import BINARY, STORAGES, Storage
from tfcompress.graph import lower
from tfcompress.tflite import join
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor, edit
from tfcompress.tflite.signatures import BITS, DEFAULT

_INTEGERS = ("int8", "int4", "int2")


@dataclasses.dataclass(frozen=True)
class BuiltFile:
    """A file in its temporary folder, and what it was made of.

    Attributes:
        path: the file.
        float_path: the float file that it was made of.
        lowered: the model in stock layers, as it was converted.
        kept: layers that kept more bits than the storage gives, and why.
        parts: of a file with two signatures, by their names: how each is written, and the file
            that it was.
    """

    path: Path
    float_path: Path
    lowered: keras.Model
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    parts: Mapping[str, tuple[Storage, BuiltFile]] = dataclasses.field(default_factory=dict)


def write(
    model: keras.Model,
    kind: Storage,
    folder: Path,
    ranging: np.ndarray | None,
    validation: Validation | None,
) -> BuiltFile:
    """The file in a folder of its own."""
    check_kernels(kind)
    if kind.second:
        return _both(model, kind, folder)
    if kind.quantize == "trained":
        made = fake_quantize.int8_file(model, folder / "int8.tflite")
        return BuiltFile(made, made, model)
    lowered = lower(model, activations=kind.activations)
    made = folder / "float.tflite"
    if kind.name == "lce":
        return BuiltFile(made, made, lowered, lce.write(lowered, made))
    convert.float_file(lowered, made)
    hashed = _expand_at_load(model, kind, made)
    if kind.name in _REWRITINGS:
        rewritten = folder / "rewritten.tflite"
        return BuiltFile(rewritten, made, lowered, _rewrite(lowered, kind.name, made, rewritten))
    if kind.quantize == "none":
        return BuiltFile(made, made, lowered)
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
    return BuiltFile(quantized, made, lowered, kept)


def check_kernels(kind: Storage) -> None:
    """Refuses 1-bit ops where nothing runs them fast, so that none could be compared with Keras.

    Raises:
        InputError: the storage needs tfcompress's kernels, and there are none here.
    """
    why = kernels.missing() if "xnor" in (kind.name, kind.second) else None
    if why is not None:
        raise InputError(
            f"storage {kind.name} needs tfcompress's 1-bit kernels, which can't be used here: "
            f"{why}; use 1bit or int8"
        )


def _both(model: keras.Model, kind: Storage, folder: Path) -> BuiltFile:
    """One file with two signatures.

    Raises:
        InputError: one of the storages finds nothing for it.
    """
    parts = {}
    # The bits first: what they say of a network without any helps more.
    for name, own in ((BITS, STORAGES[kind.second]), (DEFAULT, BINARY["int8"])):
        (folder / name).mkdir()
        try:
            parts[name] = own, write(model, own, folder / name, None, None)
        except InputError as error:
            raise InputError(f"storage {kind.name}: {error}") from error
    stock, bit_ops = parts[DEFAULT][1], parts[BITS][1]
    if any(op.subgraph for op in read(bit_ops.path).ops):
        raise InputError(
            f"storage {kind.name} can't hold model '{model.name}': its hashed weights are expanded "
            "by a graph of their own, and a second signature has one alone: use int8"
        )
    path = folder / "both.tflite"
    join.join(stock.path, bit_ops.path, path, BITS)
    # The stock one first: it is tried and compared before the other.
    parts = {name: parts[name] for name in (DEFAULT, BITS)}
    return BuiltFile(path, stock.float_path, stock.lowered, stock.kept | bit_ops.kept, parts)


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


@dataclasses.dataclass(frozen=True)
class _Rewriting:
    """A storage that puts other ops and constants into the float file.

    Attributes:
        write: changes an open file; gives the output name of each product that it left, and why.
        nothing: what is said of a `model` where it changes nothing, and `why`.
        empty: the `why` where no product was left either.
        kept: what is said before the reason of a layer that was left.
    """

    write: Callable[[Editor], dict[str, str]]
    nothing: str
    empty: str = "it has no weights"
    kept: str = ""


_FLOATS = "4 bytes a weight: "
_REWRITINGS = {
    "1bit": _Rewriting(
        bits.write,
        "storage 1bit finds no binary weights in model '{model}': use float32, or a technique that "
        "makes some, such as bwn or xnor",
        kept=_FLOATS,
    ),
    "sparse": _Rewriting(
        sparse.write,
        "storage sparse finds no layer of model '{model}' with enough zeros ({why}): use float32, "
        "or the technique prune, which makes some",
    ),
    "xnor": _Rewriting(
        xnor_ops.write,
        "storage xnor finds nothing for it in model '{model}', no layer with binary inputs and "
        "weights to write as bits ({why}): use 1bit or float32, or the technique xnor, which makes "
        "such layers",
        empty="none is binary",
        kept=_FLOATS,
    ),
}


def _rewrite(lowered: keras.Model, name: str, made: Path, rewritten: Path) -> dict[str, str]:
    """The float file as a storage of `_REWRITINGS` has it; layers that were left, and why.

    Raises:
        InputError: it changes nothing.
    """
    how = _REWRITINGS[name]
    names = layer_errors.layer_names(lowered, layer_errors.products(read(made)))
    editor = Editor(made)
    before = editor.ops()
    left = {names.get(output, output): why for output, why in how.write(editor).items()}
    after = editor.ops()
    if len(after) == len(before) and all(map(operator.is_, before, after)):
        why = _some(left) or how.empty
        raise InputError(how.nothing.format(model=lowered.name, why=why))
    editor.write(rewritten)
    return {layer: f"{how.kept}{why}" for layer, why in left.items()}


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
    names = layer_errors.layer_names(lowered, layer_errors.products(content))
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
    if kind.quantize == "all":
        slow = [op.outputs[0].name for op in content.ops if op.name in convert.SLOW]
        why = "4 bytes a weight: the runtime has no fast kernel for it with 8-bit weights"
        kept |= {names[name]: why for name in slow if name not in chosen}
    low_bits.write(made, quantized, chosen)
    integers = [op for op in read(quantized).ops if op.macs and weights_type(op) in _INTEGERS]
    if len(integers) < len(outputs):
        raise ExportError(f"{len(integers)} layers of {len(outputs)} got integer weights")
    return kept


def _some(kept: dict[str, str]) -> str:
    """The first few reasons."""
    lines = [f"{name}: {why}" for name, why in list(kept.items())[:3]]
    return "; ".join(lines) + ("; ..." if len(kept) > 3 else "")
