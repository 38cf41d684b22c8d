"""What a `.tflite` file says of itself: labels, what its input takes, author, licence.

The form is TFLite Model Metadata, which MediaPipe, Android Studio and tflite-support read: a
flatbuffer in a buffer that the model names `TFLITE_METADATA`, and files in a zip that is appended
to the model. Schema 1.5.0:
github.com/google-ai-edge/mediapipe, mediapipe/tasks/metadata/metadata_schema.fbs.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line
from tfcompress.tflite import header, parser

BUFFER = "TFLITE_METADATA"
RUNTIME = "min_runtime_version"
IDENTIFIER = b"M001"
# Fields by their number in the schema's tables.
MODEL = {"name": 0, "description": 1, "version": 2, "subgraphs": 3, "author": 4, "license": 5,
         "parser": 7}  # fmt: skip
SUBGRAPH = {"inputs": 2, "outputs": 3}
TENSOR = {"name": 0, "description": 1, "content": 3, "units": 4, "files": 6}
CONTENT = {"type": 0, "properties": 1}
IMAGE = {"color_space": 0}
UNIT = {"type": 0, "options": 1}
NORMALIZATION = {"mean": 0, "std": 1}
FILE = {"name": 0, "description": 1, "type": 2}
# Numbers of the schema's enumerations and unions.
IMAGE_PROPERTIES, RGB, GRAYSCALE = 2, 1, 2
NORMALIZATION_OPTIONS = 1
AXIS_LABELS = 2
# A label file is text of a line a class; more is a file that is meant to fill the memory. A name of
# three letters takes 18 times as much in Python as in the file.
_MOST_LABEL_BYTES = 2**22
# What the entries in a zip's directory begin with; label files are one or a few.
_ENTRY, _MOST_ENTRIES = b"PK\x01\x02", 1000
# Inputs or outputs that are looked at, and entries of each.
_MOST_TENSORS = 64
# What the readers of metadata can unpack; and what `zipfile` unpacks no further than it is told.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says of itself. Everything may be left out.

    Attributes:
        name: of the model.
        description: what it is and how it was made.
        version: of the model.
        author: who made it.
        licence: of the model, and of the data that it learnt from.
        labels: the classes, in the outputs' order.
        mean: what is subtracted from the pixels' channels, on the scale 0..255: one number for
            all, or one a channel.
        std: what they are divided by then, as many.

    Raises:
        InputError: means and deviations that don't fit together, or a label of several lines.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    licence: str = ""
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what no reader could use."""
        for name in ("labels", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require(
            len(self.mean) == len(self.std)
            and all(map(math.isfinite, (*self.mean, *self.std)))
            and min(self.std, default=1) > 0,
            "metadata need as many means as positive deviations, on the scale 0..255; got mean "
            f"{self.mean}, std {self.std}",
        )
        for label in self.labels:
            require(
                isinstance(label, str) and len(label.splitlines()) == 1,
                f"a label is one line of text; got {label!r}",
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return dataclasses.asdict(self)


def read(path: str | os.PathLike[str]) -> Metadata | None:
    """Reads a file's metadata, without running it.

    Args:
        path: the file.

    Returns:
        The metadata, or None if the file has none.

    Raises:
        InputError: it isn't a `.tflite` file, or the metadata are corrupt.
    """
    file = header.checked_path(path)
    data = file.read_bytes()
    with parser.reading(data, path) as schema:
        packed = _buffer(schema.Model.GetRootAs(data, 0), BUFFER)
    try:
        return None if packed is None else _parsed(packed, data)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # As in `parser.reading`: nothing checks the bytes.
        raise header.corrupt(path, f"its metadata: {one_line(error)}") from error


def _buffer(model: Any, name: str) -> bytes | None:
    """Returns the bytes of a named buffer."""
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == name.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
    return None


def _parsed(packed: bytes, data: bytes) -> Metadata:
    """Returns the flatbuffer and the label file as our own value."""
    require(packed[4:8] == IDENTIFIER, "the metadata's identifier isn't M001")
    model = Table.root(packed)
    found: dict[str, tuple[float, ...]] = {}
    labels: tuple[str, ...] = ()
    # The first of each, for several may share what they lead to.
    for graph in itertools.islice(model.tables(MODEL["subgraphs"]), 1):
        scales = _first(graph, SUBGRAPH["inputs"], TENSOR["units"], UNIT, NORMALIZATION_OPTIONS)
        if scales is not None:
            options = scales.table(UNIT["options"])
            found = {key: options.floats(slot) for key, slot in NORMALIZATION.items()}
        names = _first(graph, SUBGRAPH["outputs"], TENSOR["files"], FILE, AXIS_LABELS)
        if names is not None:
            labels = _labels(data, names.text(FILE["name"]))
    return Metadata(
        **{key: model.text(MODEL[key]) for key in ("name", "description", "version", "author")},
        licence=model.text(MODEL["license"]),
        labels=labels,
        mean=found.get("mean", ()),
        std=found.get("std", ()),
    )


def _first(
    graph: Table, tensors: int, slot: int, fields: dict[str, int], kind: int
) -> Table | None:
    """Returns the first table of a kind in any of the first inputs or outputs."""
    for tensor in itertools.islice(graph.tables(tensors), _MOST_TENSORS):
        for table in itertools.islice(tensor.tables(slot), _MOST_TENSORS):
            if table.byte(fields["type"]) == kind:
                return table
    return None


def _labels(data: bytes, name: str) -> tuple[str, ...]:
    """Returns the lines of a file of the zip behind the model."""
    require(data.count(_ENTRY) <= _MOST_ENTRIES, f"its zip has more than {_MOST_ENTRIES} files")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = archive.getinfo(name)
        require(
            entry.file_size <= _MOST_LABEL_BYTES,
            f"the label file has {entry.file_size:,} bytes; {_MOST_LABEL_BYTES:,} are the most",
        )
        require(
            entry.compress_type in _METHODS,
            f"the label file is packed by method {entry.compress_type}, not stored or deflated",
        )
        # The size may be a lie: asked for all, `zipfile` would unpack it all to find that out.
        with archive.open(entry) as file:
            return tuple(file.read(_MOST_LABEL_BYTES).decode("utf-8").splitlines())


class Table:
    """A flatbuffer's table, read by the numbers of its fields.

    Args:
        data: the whole flatbuffer.
        position: of the table in it.
    """

    def __init__(self, data: bytes, position: int) -> None:
        from flatbuffers.table import Table as Packed

        self._table = Packed(data, position)

    @classmethod
    def root(cls, data: bytes) -> Table:
        """Returns the outermost table."""
        return cls(data, int.from_bytes(data[:4], "little"))

    def text(self, slot: int) -> str:
        """Returns a string; empty if it is left out."""
        at = self._at(slot)
        return self._table.String(at).decode("utf-8", "replace") if at else ""

    def byte(self, slot: int) -> int:
        """Returns a byte; 0 if it is left out."""
        at = self._at(slot)
        return int(self._table.Bytes[at]) if at else 0

    def table(self, slot: int) -> Table:
        """Returns a table, of a union or not."""
        at = self._at(slot)
        require(at > 0, "a table is missing in the metadata")
        return Table(self._table.Bytes, self._table.Indirect(at))

    def tables(self, slot: int) -> Iterator[Table]:
        """Returns the tables of a vector; none if it is left out."""
        offset = self._offset(slot)
        if not offset:
            return
        start = self._table.Vector(offset)
        for number in range(self._length(offset, start, 4)):
            yield Table(self._table.Bytes, self._table.Indirect(start + 4 * number))

    def floats(self, slot: int) -> tuple[float, ...]:
        """Returns the numbers of a vector; none if it is left out."""
        from flatbuffers.number_types import Float32Flags

        offset = self._offset(slot)
        if not offset:
            return ()
        start = self._table.Vector(offset)
        count = self._length(offset, start, 4)
        return tuple(self._table.Get(Float32Flags, start + 4 * i) for i in range(count))

    def _offset(self, slot: int) -> int:
        """Returns where the table's vector of offsets has this field, or 0."""
        return int(self._table.Offset(4 + 2 * slot))

    def _at(self, slot: int) -> int:
        """Returns where a field stands, or 0."""
        offset = self._offset(slot)
        return offset + self._table.Pos if offset else 0

    def _length(self, offset: int, start: int, size: int) -> int:
        """Returns a vector's length, once it fits into the bytes that there are."""
        length = int(self._table.VectorLen(offset))
        require(
            start + size * length <= len(self._table.Bytes), "a length in the metadata is a lie"
        )
        return length
