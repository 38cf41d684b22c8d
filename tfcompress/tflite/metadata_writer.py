"""Writes into a `.tflite` file what it says of itself; `runtime.metadata` explains the form."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcompress.errors import require
from tfcompress.tflite import metadata as form
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


def write_metadata(path: Path, said: Metadata) -> None:
    """Puts metadata into a file, in place; what it had before is replaced.

    The oldest runtime that can run the file is written as well (`min_runtime_version`).

    Args:
        path: of the `.tflite`.
        said: what it is to say.

    Raises:
        InputError: as `check`.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    content = read(path).of()  # What everybody runs, if there are two signatures.
    check(content, said)
    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    _put(model, schema, form.BUFFER, packed(content, said))
    release = oldest(content).release.encode()
    _put(model, schema, form.RUNTIME, release.ljust(_VERSION_BYTES, b"\0"))
    data = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    path.write_bytes(data + (_zip({LABELS: _lines(said)}, len(data)) if said.labels else b""))


def check(content: FileContent, said: Metadata) -> None:
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
        len(said.labels) in (0, classes),
        f"metadata give {len(said.labels)} labels to a file with {classes} outputs",
    )
    require(
        len(said.mean) in (0, 1, channels),
        f"metadata give {len(said.mean)} means to a file with {channels} channels",
    )


def packed(content: FileContent, said: Metadata) -> bytes:
    """The metadata's flatbuffer."""
    build = _Builder()
    inputs: dict[int, Any] = {
        form.TENSOR["name"]: build.text("image"),
        form.TENSOR["description"]: build.text(_input_text(content, said)),
        form.TENSOR["content"]: build.table(
            {
                form.CONTENT["type"]: form.IMAGE_PROPERTIES,
                form.CONTENT["properties"]: build.table(
                    {
                        form.IMAGE["color_space"]: form.GRAYSCALE
                        if content.inputs[0].shape[-1:] == (1,)
                        else form.RGB
                    }
                ),
            }
        ),
    }
    if said.mean:
        options = build.table(
            {
                form.NORMALIZATION["mean"]: build.floats(said.mean),
                form.NORMALIZATION["std"]: build.floats(said.std),
            }
        )
        unit = {form.UNIT["type"]: form.NORMALIZATION_OPTIONS, form.UNIT["options"]: options}
        inputs[form.TENSOR["units"]] = build.tables([build.table(unit)])
    outputs: dict[int, Any] = {
        form.TENSOR["name"]: build.text("scores"),
        form.TENSOR["description"]: build.text("a score for each class"),
    }
    if said.labels:
        entry = {
            form.FILE["name"]: build.text(LABELS),
            form.FILE["description"]: build.text("a class a line, in the scores' order"),
            form.FILE["type"]: form.AXIS_LABELS,
        }
        outputs[form.TENSOR["files"]] = build.tables([build.table(entry)])
    graph = {
        form.SUBGRAPH["inputs"]: build.tables([build.table(inputs)]),
        form.SUBGRAPH["outputs"]: build.tables([build.table(outputs)]),
    }
    model: dict[int, Any] = {
        form.MODEL["subgraphs"]: build.tables([build.table(graph)]),
        form.MODEL["parser"]: build.text(_PARSER),
        form.MODEL["license"]: build.text(said.licence),
    }
    for key in ("name", "description", "version", "author"):
        model[form.MODEL[key]] = build.text(getattr(said, key))
    return build.finished(build.table(model))


def _input_text(content: FileContent, said: Metadata) -> str:
    """What the input takes, in words."""
    text = f"an image of {' x '.join(map(str, content.inputs[0].shape[1:]))}"
    if not said.mean:
        return text
    numbers = (", ".join(f"{value:g}" for value in values) for values in (said.mean, said.std))
    return f"{text}, (pixel - mean) / std for pixels in 0..255: mean {', std '.join(numbers)}"


def _put(model: Any, schema: Any, name: str, data: bytes) -> None:
    """A named buffer in the model, in the place of one with this name."""
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


def _lines(said: Metadata) -> bytes:
    return "".join(f"{label}\n" for label in said.labels).encode()


def _zip(files: dict[str, bytes], behind: int) -> bytes:
    """An archive that stands behind so many bytes; uncompressed, so that it can be mapped."""
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
        """A string."""
        return _Offset(self._builder.CreateString(value))

    def floats(self, values: Sequence[float]) -> _Offset:
        """A vector of 32-bit floats."""
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return _Offset(self._builder.EndVector())

    def tables(self, offsets: Sequence[_Offset]) -> _Offset:
        """A vector of tables."""
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return _Offset(self._builder.EndVector())

    def table(self, fields: Mapping[int, _Offset | int]) -> _Offset:
        """A table: field number to what it refers to, or to a byte."""
        self._builder.StartObject(max(fields, default=-1) + 1)
        for slot, value in fields.items():
            if isinstance(value, _Offset):
                self._builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            else:
                self._builder.PrependUint8Slot(slot, value, 0)
        return _Offset(self._builder.EndObject())

    def finished(self, root: _Offset) -> bytes:
        """The whole, with the schema's identifier."""
        self._builder.Finish(root, form.IDENTIFIER)
        return bytes(self._builder.Output())


class _Offset(int):
    """Where something stands in a flatbuffer, which a byte isn't."""
