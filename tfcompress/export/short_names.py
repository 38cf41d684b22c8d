"""Gives a file's tensors short names: those of their layers.

The converter names a tensor by all layers that it merged into an op, with the path of each:
300 letters for a convolution with batch normalisation and ReLU, once for the bias and once for the
output. In a file of weights of 4 bits that is a tenth.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tfcompress.export.tensor_names import TensorNames
from tfcompress.tflite import parser
from tfcompress.tflite.packing import pack


def write_short_names(path: Path, layers: Collection[str]) -> None:
    """Names each tensor by one of the layers that its name speaks of, and a number.

    An op's output gets the last layer, whose output it is, and a constant the first, which is the
    one that was multiplied by it before others were merged in. Inputs and outputs of the file, and
    tensors that name no layer, keep theirs; signatures, by which programs call a file, have names
    of their own.

    Args:
        path: of the file, which is changed.
        layers: names of the model's layers, as it was converted.
    """
    model: Any = parser.unpack(path.read_bytes(), path)
    taken = {tensor.name for graph in model.subgraphs for tensor in graph.tensors}
    names = TensorNames((name.decode() for name in taken), layers)
    for graph in model.subgraphs:
        ends = {int(tensor) for tensor in (*graph.inputs, *graph.outputs)}
        for number, tensor in enumerate(graph.tensors):
            known = names.layers_in(tensor.name.decode())
            if known and number not in ends:
                taken.discard(tensor.name)
                constant = model.buffers[tensor.buffer].data is not None
                tensor.name = _free(known[-1 if constant else 0], taken)
                taken.add(tensor.name)
    path.write_bytes(pack(model))


def _free(name: str, taken: Collection[bytes]) -> bytes:
    """Returns a name, with a number behind it if it is taken."""
    number, free = 0, name.encode()
    while free in taken:
        number += 1
        free = f"{name}/{number}".encode()
    return free
