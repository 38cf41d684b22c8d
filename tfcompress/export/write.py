"""The way of every file: lower, convert, quantise, audit, compare, and only then its name."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.config import InputError, unknown_name
from tfcompress.export import convert
from tfcompress.export.gate import ExportError, Parity, audit, check_images, check_parity
from tfcompress.export.storage import STORAGES, Storage
from tfcompress.graph import lower
from tfcompress.graph.rewrite import operations
from tfcompress.runtime.content import Op, read


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        storage: how its weights are written.
        size_bytes: its size.
        ops: op name to count.
        weight_bytes: dtype to bytes of constants.
        float_products: names of the convolutions and dense ops whose weights stayed float.
        parity: the comparison with Keras, or None if there were no images to compare on.
    """

    path: str
    storage: str
    size_bytes: int
    ops: dict[str, int]
    weight_bytes: dict[str, int]
    float_products: tuple[str, ...]
    parity: Parity | None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    storage: str = "float32",
    representative: np.ndarray | None = None,
) -> Exported:
    """Writes a Keras model as a `.tflite` file that was audited and compared with Keras.

    Args:
        model: functional or Sequential, with stock layers or ours.
        path: the file to write; it appears whole or not at all.
        storage: `float32`, `int8` or `dynamic`, as `tfcompress.run --list` explains them.
        representative: real images, normalised: float32 (images, height, width, channels). With
            them the file's outputs are compared with Keras's; without them only the file's
            structure is audited.

    Returns:
        What was written and how well it agrees.

    Raises:
        InputError: the model or storage can't be exported, the images don't fit the model, or the
            folder isn't there.
        ExportError: the file failed its audit or the comparison; nothing is written.
    """
    if storage not in STORAGES:
        raise unknown_name("storage", storage, STORAGES)
    check_signs(model, STORAGES[storage])
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"no folder {target.parent} to write {target.name} into")
    if target.is_dir():
        raise InputError(f"{target} is a folder: give the name of the file to write")
    images = None
    if representative is not None:
        images = np.asarray(representative, "float32")
        check_images(model, images)
    kind = STORAGES[storage]
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        made = _convert(model, kind, Path(folder))
        content = read(made)
        audit(content, kind)
        parity = None
        if images is not None:
            parity = check_parity(model, made, images, kind)
        os.replace(made, target)
    return Exported(
        path=str(target),
        storage=storage,
        size_bytes=target.stat().st_size,
        ops=content.op_counts(),
        weight_bytes=dict(content.weight_bytes),
        float_products=tuple(
            op.outputs[0].name for op in content.ops if op.macs and _weights_type(op) == "float32"
        ),
        parity=parity,
    )


def check_signs(model: keras.Model, kind: Storage) -> None:
    """Refuses to quantise what is added up before a sign.

    Raises:
        InputError: the storage rounds every weight, and the model has binary inputs.
    """
    rounded = kind.quantize == "all"
    for layer in operations(model) if rounded else ():
        if getattr(layer, "binarize_inputs", False):
            raise InputError(
                f"storage {kind.name} rounds the weights before the signs of layer "
                f"'{layer.name}', which turns many of them: use int8 or float32"
            )


def _convert(model: keras.Model, kind: Storage, folder: Path) -> Path:
    """The file in a folder of its own."""
    lowered = lower(model, activations=kind.activations)
    made = folder / "float.tflite"
    convert.float_file(lowered, made)
    if kind.quantize == "none":
        return made
    outputs = convert.ops_to_quantize(read(made), convert.product_weights(made), kind.quantize)
    if not outputs:
        raise InputError(
            f"storage {kind.name} finds nothing to quantise in model '{model.name}': it is for "
            "layers with binary weights and binary inputs; use float32 or dynamic"
        )
    quantized = folder / "quantized.tflite"
    convert.quantized_file(made, quantized, outputs)
    done = sum(1 for op in read(quantized).ops if op.macs and _weights_type(op) == "int8")
    if done != len(outputs):
        raise ExportError(f"{done} layers of {len(outputs)} got 8-bit weights")
    return quantized


def _weights_type(op: Op) -> str | None:
    weights = op.inputs[1]
    return weights.dtype if weights is not None else None
