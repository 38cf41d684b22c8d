"""Finds in a file what a GPU refuses or gets wrong, before anything runs.

Each warning is about something that was seen to fail with LiteRT's WebGPU accelerator. A file
without warnings may fail, too: what counts is the run, and its comparison with the CPU.
"""

from __future__ import annotations

from pathlib import Path

from tfcompress.tflite import parser
from tfcompress.tflite.content import FileContent, Op

_REFUSED = {
    "WHILE": "loops don't run on the GPU",
    "IF": "branches don't run on the GPU",
    "CONV_3D": "3D convolutions don't run on the GPU",
    "CONV_3D_TRANSPOSE": "3D convolutions don't run on the GPU",
}


def gpu_warnings(content: FileContent) -> tuple[str, ...]:
    """Returns what may fail on a GPU, one line each, in the file's order."""
    content = content.of()  # A GPU runs the main graph, whatever other signatures there are.
    causes = [_dynamic_input(content.path)]
    # A file that no runtime takes may have ops without inputs, outputs or shapes.
    padded = {out for op in content.ops if op.name == "PADV2" for out in op.outputs[:1]}
    convolutions = [op for op in content.ops if op.name.endswith("CONV_2D")]
    if any(image in padded for op in convolutions for image in op.inputs[:1]):
        causes.append("a convolution after PADV2 is computed as if padded with zeros")
    for op in content.ops:
        causes += [_REFUSED.get(op.name), _grouped(op), _flattening(op), _wide(op), _indices(op)]
    texts = [f"{text}" for text in causes if text]
    counts = {text: texts.count(text) for text in texts}
    return tuple(f"{text} ({n} ops)" if n > 1 else text for text, n in counts.items())


def _grouped(op: Op) -> str | None:
    """Finds a grouped convolution whose groups aren't whole blocks of four channels."""
    sizes = _last_sizes(op) if op.name == "CONV_2D" else None
    if sizes is None:
        return None
    channels, in_group = sizes
    if in_group == channels or in_group % 4 == 0:
        return None
    result = "is computed wrongly or not at all" if in_group < 4 else "crashes the process"
    # One channel a group runs; the converter writes most of these as DEPTHWISE_CONV_2D.
    return (
        None if in_group == 1 else f"a grouped convolution of {in_group} channels a group {result}"
    )


def _flattening(op: Op) -> str | None:
    """Finds a dense layer that takes an image as it is, without a RESHAPE before it."""
    sizes = _last_sizes(op) if op.name == "FULLY_CONNECTED" else None
    if sizes is None or sizes[0] == sizes[1]:
        return None
    return "a FULLY_CONNECTED that flattens its input itself is computed wrongly"


def _last_sizes(op: Op) -> tuple[int, int] | None:
    """Returns the last sizes of an op's input and weights; None if the file doesn't say them."""
    shapes = [tensor.shape for tensor in op.inputs[:2] if tensor]
    return (shapes[0][-1], shapes[1][-1]) if len(shapes) == 2 and all(shapes) else None


def _wide(op: Op) -> str | None:
    """Finds activations of 16 bits."""
    # Constants and shape arithmetic aside, int16 tensors come from int16x8 quantisation.
    wide = any(t and t.dtype == "int16" and not t.constant for t in (*op.inputs, *op.outputs))
    return "int16 activations don't run on the GPU" if wide else None


def _indices(op: Op) -> str | None:
    """Finds index ops with wide or many-dimensional indices."""
    if op.name in ("ARG_MAX", "ARG_MIN") and any(out.dtype == "int64" for out in op.outputs[:1]):
        return f"{op.name} with int64 indices doesn't run on the GPU"
    if op.name == "GATHER" and any(t and len(t.shape) != 1 for t in op.inputs[1:2]):
        return "GATHER with indices that aren't one-dimensional doesn't run on the GPU"
    return None


def _dynamic_input(path: str) -> str | None:
    """Finds an input whose shape is open, mostly in its batch."""
    data = Path(path).read_bytes()
    with parser.reading(data, path) as schema:
        graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
        for place in range(graph.InputsLength()):
            tensor = graph.Tensors(graph.Inputs(place))
            sizes = () if tensor.ShapeSignatureIsNone() else tensor.ShapeSignatureAsNumpy().tolist()
            if -1 in sizes:
                text = f"an input of open shape {tuple(sizes)} may not run on the GPU"
                return f"{text}: fix the batch"
    return None
