"""Counts each layer's bytes in a file, and measures where its values leave Keras's."""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping
from pathlib import Path

import keras
import numpy as np

from tfcompress.export import sign_flips
from tfcompress.export.tensor_names import TensorNames
from tfcompress.graph import clone
from tfcompress.graph.rewrite import nodes, operations
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import FileContent, Op, Tensor, read

# Images that a failed comparison is looked into on.
IMAGES = 16


def layer_bytes(model: keras.Model, content: FileContent) -> dict[str, int]:
    """Returns the bytes of constants by the layer that uses them, the largest first.

    Tensors have the names of the layers that they come from. A constant without one belongs to the
    layer of the first op behind it that has one; if none has, it goes by its own name.

    Args:
        model: in built-in layers, as it was converted.
        content: of its file.
    """
    # An op that several layers were merged into is that of the one with the kernel.
    known = {
        operation.name: max((len(w.shape) for w in getattr(operation, "weights", ())), default=0)
        for operation in operations(model)
    }
    names, readers = _names(content, known), content.consumers()
    sizes: collections.Counter[str] = collections.Counter()
    for constant in content.constants:
        layer = _layer(constant, readers, known, names)
        sizes[layer or constant.name or "unnamed"] += constant.size_bytes
    return dict(sizes.most_common())


def _names(content: FileContent, layers: Collection[str]) -> TensorNames:
    """Returns which layers a file's tensors come from."""
    tensors = (*content.constants, *(out for op in content.ops for out in op.outputs))
    return TensorNames((tensor.name for tensor in tensors), layers)


def _layer(
    constant: Tensor,
    readers: dict[Tensor, list[Op]],
    known: Mapping[str, int],
    names: TensorNames,
) -> str | None:
    """Returns the layer of the first op on the way from a constant to the outputs."""
    seen, ahead = {constant}, [constant]
    while ahead:
        tensor = ahead.pop(0)
        layers = names.layers_in(tensor.name)
        if layers:
            return max(layers, key=lambda name: known[name])
        for op in readers.get(tensor, []):
            ahead += [out for out in op.outputs if out not in seen]
            seen.update(op.outputs)
    return None


def differences(model: keras.Model, path: Path, images: np.ndarray | Rows) -> dict[str, float]:
    """Returns the relative rms difference of each layer's output in the file from Keras's own.

    Args:
        model: in built-in layers, as it was converted.
        path: of its file, in which a layer's output has the layer's name.
        images: as the model takes them, of which the first `IMAGES` are taken.

    Returns:
        Layer to difference, in the file's order; layers whose output the file doesn't hold by
        itself are left out.
    """
    images = images[:IMAGES]
    flat = clone(model)  # Its layers are in no other model's graph.
    known = {node.operation.name: node.outputs[0] for node in nodes(flat) if node.outputs}
    content = read(path)
    names = _names(content, known)
    tensors: dict[str, Tensor] = {}
    for op in content.ops:
        for out in op.outputs if op.subgraph == 0 else ():  # A loop's values are gone behind it.
            layers = names.layers_in(out.name)
            for name in layers:  # A layer of several ops: its last one, if no other is merged in.
                tensors.pop(name, None)
            if layers and out.shape[1:] == tuple(known[layers[0]].shape[1:]):
                tensors[layers[0]] = out
    for last, out in zip(flat.outputs, content.outputs, strict=True):  # Their names are the file's.
        tensors |= {name: out for name, tensor in known.items() if tensor is last}
    expected = sign_flips.outputs(flat, [known[name] for name in tensors], images)
    got = LiteModel(path, keep_all=True).tensors(images, [t.name for t in tensors.values()])
    return {
        name: relative_rms(right, values.reshape(right.shape))
        for name, right, values in zip(tensors, expected, got, strict=True)
        if right.size == values.size
    }
