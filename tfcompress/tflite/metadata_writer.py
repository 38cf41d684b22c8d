"""Writes TFLite Model Metadata into a file; `tflite.metadata` explains the format."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcompress.errors import require
from tfcompress.tflite import metadata as layout
from tfcompress.tflite import parser
from tfcompress.tflite.content import FileContent, read
from tfcompress.tflite.metadata import Metadata
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
    from ai_edge_litert.tools import flatbuffer_utils

    content = read(path).of()  # What everybody runs, if there are two signatures.
    check(content, metadata)
    model: Any = parser.unpack(path.read_bytes(), path)
    _put(model, schema, layout.BUFFER, packed(content, metadata))
    release = oldest(content).release.encode()
    _put(model, schema, layout.RUNTIME, release.ljust(_VERSION_BYTES, b"\0"))
    data = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    path.write_bytes(
        data + (_zip({LABELS: _lines(metadata)}, len(data)) if metadata.labels else b"")
    )


def check(content: FileContent, metadata: Metadata) -> None:
    """Refuses metadata that don't fit the file.

    Raises:
        InputError: another number of labels than outputs, of means than channels, or the file has
            several inputs or outputs.
    """
    require(
        len(content.inputs) == len(content.outputs) == 1,
        f"metadata are for one image in and one row of scores out; the file has "
        f"{len(content.inputs)} inputs and {len(content.outputs)} outputs",
    )
    channels = content.inputs[0].shape[-1] if content.inputs[0].shape else 0
    classes = content.outputs[0].shape[-1] if content.outputs[0].shape else 0
    require(
        len(metadata.labels) in (0, classes),
        f"metadata give {len(metadata.labels)} labels to a file with {classes} outputs",
    )
    require(
        len(metadata.mean) in (0, 1, channels),
        f"metadata give {len(metadata.mean)} means to a file with {channels} channels",
    )


def packed(content: FileContent, metadata: Metadata) -> bytes:
    """Returns the metadata's flatbuffer."""
    build = _Builder()
    inputs: dict[int, Any] = {
        layout.TENSOR["name"]: build.text("image"),
        layout.TENSOR["description"]: build.text(_input_text(content, metadata)),
        layout.TENSOR["content"]: build.table(
            {
                layout.CONTENT["type"]: layout.IMAGE_PROPERTIES,
                layout.CONTENT["properties"]: build.table(
                    {
                        layout.IMAGE["color_space"]: layout.GRAYSCALE
                        if content.inputs[0].shape[-1:] == (1,)
                        else layout.RGB
                    }
                ),
            }
        ),
    }
    if metadata.mean:
        options = build.table(
            {
                layout.NORMALIZATION["mean"]: build.floats(metadata.mean),
                layout.NORMALIZATION["std"]: build.floats(metadata.std),
            }
        )
        unit = {layout.UNIT["type"]: layout.NORMALIZATION_OPTIONS, layout.UNIT["options"]: options}
        inputs[layout.TENSOR["units"]] = build.tables([build.table(unit)])
    outputs: dict[int, Any] = {
        layout.TENSOR["name"]: build.text("scores"),
        layout.TENSOR["description"]: build.text("a score for each class"),
    }
    if metadata.labels:
        entry = {
            layout.FILE["name"]: build.text(LABELS),
            layout.FILE["description"]: build.text("a class a line, in the scores' order"),
            layout.FILE["type"]: layout.AXIS_LABELS,
        }
        outputs[layout.TENSOR["files"]] = build.tables([build.table(entry)])
    graph = {
        layout.SUBGRAPH["inputs"]: build.tables([build.table(inputs)]),
        layout.SUBGRAPH["outputs"]: build.tables([build.table(outputs)]),
    }
    model: dict[int, Any] = {
        layout.MODEL["subgraphs"]: build.tables([build.table(graph)]),
        layout.MODEL["parser"]: build.text(_PARSER),
        layout.MODEL["license"]: build.text(metadata.licence),
    }
    for key in ("name", "description", "version", "author"):
        model[layout.MODEL[key]] = build.text(getattr(metadata, key))
    return build.finished(build.table(model))


def _input_text(content: FileContent, metadata: Metadata) -> str:
    """Describes what the input takes."""
    text = f"an image of {' x '.join(map(str, content.inputs[0].shape[1:]))}"
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
