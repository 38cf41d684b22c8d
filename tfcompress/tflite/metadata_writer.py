"""Writes TFLite Model Metadata into a file; `tflite.metadata` explains the format."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcompress.errors import require
from tfcompress.tflite import metadata as layout
from tfcompress.tflite import parser, signatures
from tfcompress.tflite.content import FileContent, Tensor, read
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.packing import pack
from tfcompress.tflite.versions import oldest

LABELS = "labels.txt"
# The fields that are written have been there since the schema's first version.
_PARSER = "1.0.0"
# The converter reserves as many bytes for it.
_VERSION_BYTES = 16
# A zip's entries have dates; with one that never changes, a file's bytes depend on its content.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_metadata(path: Path, metadata: Metadata) -> None:
    """Puts metadata into a file, in place; what it had before is replaced.

    The oldest runtime that can run the file is written as well (`min_runtime_version`).

    Args:
        path: of the `.tflite`.
        metadata: what the file is to say of itself.

    Raises:
        InputError: as `check`.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = read(path).of()  # What everybody runs, if there are two signatures.
    check(content, metadata)
    model: Any = parser.unpack(path.read_bytes(), path)
    _put(model, schema, layout.BUFFER, packed(content, metadata))
    release = oldest(content).release.encode()
    _put(model, schema, layout.RUNTIME, release.ljust(_VERSION_BYTES, b"\0"))
    data = pack(model)
    path.write_bytes(
        data + (_zip({LABELS: _lines(metadata)}, len(data)) if metadata.labels else b"")
    )


def check(content: FileContent, metadata: Metadata) -> None:
    """Refuses metadata that don't fit the file.

    Raises:
        InputError: no output, or several, with as many scores as there are labels; no input, or
            several, with as many channels as there are means.
    """
    _labelled(content, metadata)
    _normalised(content, metadata)


def _labelled(content: FileContent, metadata: Metadata) -> int | None:
    """Returns which output the labels name; None without labels."""
    labels = len(metadata.labels)
    sizes = [_last(tensor) for tensor in content.outputs]
    fits = [number for number, classes in enumerate(sizes) if classes == labels]
    if not labels:
        return None
    require(
        len(fits) > 0,
        f"metadata give {labels} labels to a file with {_and(sizes)} outputs",
    )
    require(
        len(fits) == 1,
        f"metadata give {labels} labels, and {len(fits)} outputs of the file have as many scores: "
        "leave the labels out",
    )
    return fits[0]


def _normalised(content: FileContent, metadata: Metadata) -> int | None:
    """Returns which input the normalisation is of; None without one."""
    means = len(metadata.mean)
    if not means:
        return None
    numbers = list(range(len(content.inputs)))
    if len(numbers) > 1:
        numbers = [number for number in numbers if is_image(content.inputs[number].shape)]
    sizes = {number: _last(content.inputs[number]) for number in numbers}
    fits = [number for number, channels in sizes.items() if means in (1, channels)]
    require(
        len(fits) > 0,
        f"metadata give {means} means to a file with {_and(sizes.values()) or 'no'} channels",
    )
    require(
        len(fits) == 1,
        f"metadata give the normalisation of an image, and {len(fits)} inputs of the file are "
        "images: leave mean and std out",
    )
    return fits[0]


def is_image(shape: Sequence[int]) -> bool:
    """Returns whether a tensor's shape is an image's: (1, height, width, 1 or 3 channels)."""
    return len(shape) == 4 and shape[-1] in (1, 3)


def _last(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.shape else 0


def _and(numbers: Iterable[int]) -> str:
    return " and ".join(map(str, numbers))


def packed(content: FileContent, metadata: Metadata) -> bytes:
    """Returns the metadata's flatbuffer."""
    build = _Builder()
    alone = len(content.inputs) == len(content.outputs) == 1
    names = signatures.io_names(content.path, None)
    normalised, labelled = _normalised(content, metadata), _labelled(content, metadata)
    inputs: list[dict[int, Any]] = []
    outputs: list[dict[int, Any]] = []
    for number, tensor in enumerate(content.inputs):
        said = dataclasses.replace(metadata, mean=(), std=()) if number != normalised else metadata
        image = alone and is_image(tensor.shape)
        name = "image" if image else "input" if alone else _name(names[0], tensor)
        inputs.append(_input(build, tensor, said, name))
    for number, tensor in enumerate(content.outputs):
        name = "scores" if alone else _name(names[1], tensor)
        text = "a score for each class" if alone or number == labelled else ""
        fields: dict[int, Any] = {layout.TENSOR["name"]: build.text(name)}
        if text:
            fields[layout.TENSOR["description"]] = build.text(text)
        if number == labelled:
            entry = {
                layout.FILE["name"]: build.text(LABELS),
                layout.FILE["description"]: build.text("a class a line, in the scores' order"),
                layout.FILE["type"]: layout.AXIS_LABELS,
            }
            fields[layout.TENSOR["files"]] = build.tables([build.table(entry)])
        outputs.append(fields)
    graph = {
        layout.SUBGRAPH["inputs"]: build.tables([build.table(fields) for fields in inputs]),
        layout.SUBGRAPH["outputs"]: build.tables([build.table(fields) for fields in outputs]),
    }
    model: dict[int, Any] = {
        layout.MODEL["subgraphs"]: build.tables([build.table(graph)]),
        layout.MODEL["parser"]: build.text(_PARSER),
        layout.MODEL["license"]: build.text(metadata.licence),
    }
    for key in ("name", "description", "version", "author"):
        model[layout.MODEL[key]] = build.text(getattr(metadata, key))
    return build.finished(build.table(model))


def _name(known: Mapping[int, Sequence[str]], tensor: Tensor) -> str:
    """Returns what the file's signature calls a tensor of its main graph, else its own name."""
    return next(iter(known.get(tensor.number, ())), tensor.name)


def _input(build: _Builder, tensor: Tensor, metadata: Metadata, name: str) -> dict[int, Any]:
    """Returns the fields of an input."""
    fields: dict[int, Any] = {
        layout.TENSOR["name"]: build.text(name),
        layout.TENSOR["description"]: build.text(_input_text(tensor, metadata)),
    }
    if is_image(tensor.shape):
        colours = layout.GRAYSCALE if tensor.shape[-1:] == (1,) else layout.RGB
        properties = build.table({layout.IMAGE["color_space"]: colours})
        fields[layout.TENSOR["content"]] = build.table(
            {
                layout.CONTENT["type"]: layout.IMAGE_PROPERTIES,
                layout.CONTENT["properties"]: properties,
            }
        )
    if metadata.mean:
        options = build.table(
            {
                layout.NORMALIZATION["mean"]: build.floats(metadata.mean),
                layout.NORMALIZATION["std"]: build.floats(metadata.std),
            }
        )
        unit = {layout.UNIT["type"]: layout.NORMALIZATION_OPTIONS, layout.UNIT["options"]: options}
        fields[layout.TENSOR["units"]] = build.tables([build.table(unit)])
    return fields


def _input_text(tensor: Tensor, metadata: Metadata) -> str:
    """Describes what an input takes."""
    what = "an image of " if is_image(tensor.shape) else f"{tensor.dtype} of "
    text = f"{what}{' x '.join(map(str, tensor.shape[1:])) or '1 number'}"
    if not metadata.mean:
        return text
    numbers = (
        ", ".join(f"{value:g}" for value in values) for values in (metadata.mean, metadata.std)
    )
    return f"{text}, (pixel - mean) / std for pixels in 0..255: mean {', std '.join(numbers)}"


def _put(model: Any, schema: Any, name: str, data: bytes) -> None:
    """Puts a named buffer into the model, in the place of one with this name."""
    import numpy as np

    values = np.frombuffer(data, np.uint8)
    for entry in model.metadata or []:
        if entry.name == name.encode():
            model.buffers[entry.buffer].data = values
            return
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = values
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]


def _lines(metadata: Metadata) -> bytes:
    return "".join(f"{label}\n" for label in metadata.labels).encode()


def _zip(files: dict[str, bytes], behind: int) -> bytes:
    """Returns an archive that stands behind so many bytes, uncompressed for mapping."""
    stream = io.BytesIO(bytes(behind))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    return stream.getvalue()[behind:]


class _Builder:
    """A flatbuffer's tables from the numbers of their fields.

    What a table refers to must be made before it.
    """

    def __init__(self) -> None:
        import flatbuffers

        self._builder = flatbuffers.Builder(1024)

    def text(self, value: str) -> _Offset:
        """Adds a string."""
        return _Offset(self._builder.CreateString(value))

    def floats(self, values: Sequence[float]) -> _Offset:
        """Adds a vector of 32-bit floats."""
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return _Offset(self._builder.EndVector())

    def tables(self, offsets: Sequence[_Offset]) -> _Offset:
        """Adds a vector of tables."""
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return _Offset(self._builder.EndVector())

    def table(self, fields: Mapping[int, _Offset | int]) -> _Offset:
        """Adds a table: field number to what it refers to, or to a byte."""
        self._builder.StartObject(max(fields, default=-1) + 1)
        for slot, value in fields.items():
            if isinstance(value, _Offset):
                self._builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            else:
                self._builder.PrependUint8Slot(slot, value, 0)
        return _Offset(self._builder.EndObject())

    def finished(self, root: _Offset) -> bytes:
        """Returns the whole, with the schema's identifier."""
        self._builder.Finish(root, layout.IDENTIFIER)
        return bytes(self._builder.Output())


class _Offset(int):
    """Where something stands in a flatbuffer, which a byte isn't."""
