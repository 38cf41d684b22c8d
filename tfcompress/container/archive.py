"""A `.tflite` file in a smaller container, `.tfz`, that gives it back bit by bit.

Pruned and clustered weights leave a `.tflite` as large as it was. Here its constants are written
as what they are, sparse and of a few values, and coded; everything else in the file, whatever it
is, is one zstandard frame. The file that comes out has the SHA-256 of the one that went in.

The container is read as if a stranger had made it: every length is checked before it is used, and
no more memory is taken than `max_bytes` allows.

Layout, in order: `TFZ` and the version as a byte; SHA-256 of the file; its size and the number of
its constants; for each of these its distance from the one before, its size, and what
`container_parts` writes; the rest of the file as a zstandard frame behind its length. Numbers are
`container_bytes.varint`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tfcompress import files
from tfcompress.container import parts, ranges, streams
from tfcompress.container.bytestream import DamagedError, Reader, varint
from tfcompress.container.parts import Part
from tfcompress.errors import InputError, one_of, require
from tfcompress.tflite import header

MAGIC = b"TFZ"
VERSION = 1
CODERS = ("best", *streams.CODERS)
# No flatbuffer is larger, and so no file of ours.
MAX_BYTES = 1 << 31


def packed(data: bytes, path: str = "the file", *, coder: str = "best") -> bytes:
    """A `.tflite` file's bytes as a container's.

    Args:
        data: the file's, whose header was checked.
        path: for errors.
        coder: how streams of numbers are coded: `best` takes the shortest for each; `bits` (fixed
            width), `huffman`, `ans` and `zstd` are for comparison.

    Raises:
        InputError: an unknown coder, or a file that is cut short or corrupt.
    """
    one_of("coder", coder, CODERS)
    constants = ranges.constants(data, path)
    out = [
        MAGIC + bytes([VERSION]),
        hashlib.sha256(data).digest(),
        varint(len(data)),
        varint(len(constants)),
    ]
    rest = []
    end = 0
    for one in constants:
        rest.append(data[end : one.start])
        out += [varint(one.start - end), varint(one.size_bytes)]
        end = one.start + one.size_bytes
        out.append(parts.encode(data[one.start : end], one.width, coder))
    rest.append(data[end:])
    frame = streams.compress(b"".join(rest))
    return b"".join([*out, varint(len(frame)), frame])


def unpacked(
    data: bytes, path: str = "the container", *, max_bytes: int = MAX_BYTES
) -> tuple[bytes, list[Part]]:
    """The `.tflite` file in a container's bytes, and how its constants were written.

    Args:
        data: the container's.
        path: for errors.
        max_bytes: a file of more isn't unpacked.

    Raises:
        InputError: it is no container, of another version, damaged, or holds a larger file.
    """
    reader = Reader(data)
    try:
        require(
            reader.take(3, "the name of the format") == MAGIC,
            f"{path} is not a .tfz container: it should begin with TFZ",
        )
        version = reader.byte("the version")
        require(
            version == VERSION,
            f"{path} is a container of version {version}; this program reads version {VERSION}",
        )
        digest = reader.take(32, "the file's SHA-256")
        size = reader.number("the file's size", 1 << 62)
        require(
            size <= max_bytes,
            f"{path} says that it holds a file of {size:,} bytes, more than {max_bytes:,}",
        )
        found, read = _unpacked(reader, size)
    except DamagedError as error:
        raise InputError(f"{path} is cut short or damaged ({error}); get it again") from error
    require(
        hashlib.sha256(found).digest() == digest,
        f"{path} is damaged: what it holds hasn't the SHA-256 of what was packed; get it again",
    )
    return found, read


def _unpacked(reader: Reader, size: int) -> tuple[bytes, list[Part]]:
    """The file behind the header, its constants between the pieces of the rest."""
    count = reader.number("the number of constants", size)
    constants: list[tuple[int, bytes]] = []
    read: list[Part] = []
    end = left = 0
    for _ in range(count):
        gap = reader.number("a constant's place", size - end)
        length = reader.number("a constant's size", size - end - gap)
        values, part = parts.decode(reader, end + gap, length)
        constants.append((gap, values))
        read.append(part)
        end += gap + length
        left += gap
    rest = streams.decompress(reader, left + size - end)
    if reader.left:
        raise DamagedError(f"{reader.left} bytes too many")
    out = []
    at = 0
    for gap, values in constants:
        out += [rest[at : at + gap], values]
        at += gap
    return b"".join([*out, rest[at:]]), read


def pack(
    path: str | os.PathLike[str], target: str | os.PathLike[str], *, coder: str = "best"
) -> tuple[int, int]:
    """Writes a `.tflite` file as a container, once that was unpacked again and was the same.

    Args:
        path: the `.tflite` file.
        target: the container; it appears whole or not at all.
        coder: as for `packed`.

    Returns:
        Bytes of the file and of its container.

    Raises:
        InputError: the file can't be read or isn't a `.tflite`, or the target can't be written.
    """
    data = header.checked_path(path).read_bytes()
    made = packed(data, str(path), coder=coder)
    if unpacked(made, str(target))[0] != data:
        raise RuntimeError(f"{path} doesn't come out of its container as it went in")
    _write(target, made)
    return len(data), len(made)


def unpack(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_BYTES,
) -> int:
    """Writes the `.tflite` file that is in a container.

    Args:
        path: the container.
        target: the `.tflite` file; it appears whole or not at all.
        max_bytes: as for `unpacked`.

    Returns:
        The file's bytes.

    Raises:
        InputError: as `unpacked`, or the target can't be written.
    """
    found = unpacked(_read(path), str(path), max_bytes=max_bytes)[0]
    _write(target, found)
    return len(found)


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error


def _write(target: str | os.PathLike[str], data: bytes) -> None:
    try:
        files.write(target, data)
    except OSError as error:
        raise InputError(f"{target} can't be written: {error.strerror or error}") from error
