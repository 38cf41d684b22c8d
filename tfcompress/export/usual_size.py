"""Gives a file whose inputs have sizes that aren't fixed the sizes that it has until others come.

TFLite writes such a size as -1 in a tensor's shape signature and as 1 in its shape, which a program
gets that doesn't ask for another: hardly any network runs on an image of one pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras

from tfcompress.errors import ExportError
from tfcompress.export.model_io import ModelInput, model_inputs
from tfcompress.runtime.interpreter import open_file
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.header import one_line
from tfcompress.tflite.packing import pack

# Where no representative inputs say better.
_SIZE = 64


def usual_shapes(model: keras.Model, rows: Rows | None) -> list[tuple[int, ...]] | None:
    """Returns the shapes of a batch of 1 that a model's inputs usually have; None if all are fixed.

    Args:
        model: functional or Sequential.
        rows: representative inputs, whose sizes are taken; None for 64 of each.
    """
    inputs = model_inputs(model)
    if not any(None in x.shape[1:] for x in inputs):
        return None
    if rows is not None:
        return [(1, *array.shape[1:]) for array in rows.arrays]
    return [(1, *(size or _SIZE for size in x.shape[1:])) for x in inputs]


def note(model: keras.Model, shapes: Sequence[tuple[int, ...]]) -> str:
    """Says which inputs take other sizes, and what the file has until it gets them."""
    inputs = [x for x in model_inputs(model) if None in x.shape[1:]]
    usual = dict(zip((x.name for x in model_inputs(model)), shapes, strict=True))
    named = ", ".join(f"'{x.name}' {_any(x)}: {usual[x.name]}" for x in inputs)
    return (
        f"sizes that the model leaves open are open in the file, too; its usual ones are {named}; "
        "tfcompress.load takes others as they come, other programs call resize_tensor_input"
    )


def _any(x: ModelInput) -> str:
    return f"({', '.join(['1', *('any' if n is None else str(n) for n in x.shape[1:])])})"


def write_usual_sizes(path: Path, shapes: Sequence[tuple[int, ...]]) -> None:
    """Writes into a float file which shapes its tensors usually have, in place.

    Args:
        path: of the converter's file.
        shapes: of the inputs, in the file's order.

    Raises:
        ExportError: the file doesn't run on inputs of these shapes.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (graph,) = model.subgraphs[:1]
    for index, shape in zip(graph.inputs, shapes, strict=True):
        graph.tensors[index].shape = list(shape)
    path.write_bytes(pack(model))
    try:
        # XNNPACK would keep the shapes of what it computes to itself.
        interpreter = open_file(path, threads=1, xnnpack=False, keep_all=True).interpreter
        interpreter.invoke()  # Some shapes hang on values.
    except (RuntimeError, ValueError) as error:
        raise ExportError(
            f"the file doesn't run on inputs of the shapes {', '.join(map(str, shapes))} "
            f"({one_line(error)}): give representative= of a size that the model takes"
        ) from error
    for details in interpreter.get_tensor_details():
        tensor = graph.tensors[details["index"]] if details["index"] < len(graph.tensors) else None
        if tensor is not None and tensor.shapeSignature is not None:
            tensor.shape = [int(size) for size in details["shape"]]
    path.write_bytes(pack(model))
