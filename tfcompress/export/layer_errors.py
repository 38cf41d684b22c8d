"""Measures where rounding shows: each layer's output beside the float file's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from tfcompress.export.tensor_names import TensorNames
from tfcompress.graph.rewrite import operations
from tfcompress.ops.differences import root_of_ratio
from tfcompress.runtime import LiteModel
from tfcompress.runtime.activation_errors import squares
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import Op, read
from tfcompress.tflite.weighted_ops import with_constant_weights

# Images that the comparison takes; more change its figures by a few percent of themselves.
IMAGES = 32


def layer_names(model: keras.Model, ops: Iterable[Op]) -> dict[str, str]:
    """Returns the Keras layer of each op, by the op's output tensor.

    An op without a layer goes by its tensor; a layer's second op has a number behind the layer's
    name.

    Args:
        model: in built-in layers, as it was converted.
        ops: weighted ops of its file.
    """
    known = {operation.name for operation in operations(model)}
    texts = {
        op.outputs[0].name: ";".join(t.name for t in (*op.inputs[1:], *op.outputs) if t)
        for op in ops
    }
    tensors = TensorNames(texts.values(), known)
    found: dict[str, str] = {}
    for output, text in texts.items():
        named = tensors.layers_in(text)
        name = named[0] if named else output
        again = sum(1 for other in found.values() if other.split(" #")[0] == name)
        found[output] = f"{name} #{again + 1}" if again else name
    return found


def errors(
    model: keras.Model, float_path: Path, path: Path, images: np.ndarray | Rows
) -> dict[str, float]:
    """Returns the relative rms error of each weighted op's output, by layer, in the file's order.

    ```
    error = rms(output of the file - output of the float file) / rms(output of the float file)
    ```

    An error includes those of the layers before. What runs in a loop is left out.

    Args:
        model: in built-in layers, as it was converted.
        float_path: the float file.
        path: the file that was built from it.
        images: as the model takes them, of which the first `IMAGES` are taken.
    """
    ops = with_constant_weights(read(float_path))
    names = layer_names(model, (op for op in ops if op.subgraph == 0))
    # The quantizer may leave an output's old name to a tensor that nothing writes.
    written = {out.name for op in read(path).ops for out in op.outputs}
    shared = [name for name in names if name in written]
    files = [LiteModel(file, keep_all=True) for file in (float_path, path)]
    signal, noise = squares(files, [shared, shared], Rows.of(images)[:IMAGES])
    return {
        names[name]: root_of_ratio(*sums)
        for name, *sums in zip(shared, noise.tolist(), signal.tolist(), strict=True)
    }
