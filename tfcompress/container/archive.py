"""Packs a `.tflite` file into a smaller container, `.tfz`, that gives it back bit by bit.

Pruned and clustered weights leave a `.tflite` as large as it was. Here its constants are written
as what they are, sparse and of a few values, and coded; all else in the file is one zstandard
frame. The file that comes out has the SHA-256 of the one that went in.

The container is read as if a stranger had made it: every length is checked before it is used, and
no more memory is taken than `max_bytes` allows.

Layout, in order: `TFZ` and the version as a byte; SHA-256 of the file; its size and the number of
its constants; for each of these its distance from the one before, its size, and what
`parts.encode` writes; the rest of the file as a zstandard frame behind its length. Numbers are
written by `bytestream.varint`.
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

IDENTIFIER = b"TFZ"
VERSION = 1
CODERS = ("best", *streams.CODERS)
# No flatbuffer is larger, and so no `.tflite` file.
MAX_BYTES = 1 << 31


def pack_bytes(data: bytes, path: str = "the file", *, coder: str = "best") -> bytes:
    """Packs the bytes of a `.tflite` file into those of a container.

    Args:
        data: the file's bytes, whose header was checked.
        path: for errors.
        coder: how streams of numbers are coded: `best` takes the shortest for each; `bits` (fixed
            width), `huffman`, `ans` and `zstd` are for comparison.

    Raises:
        InputError: the coder is unknown, or the file is cut short or corrupt.
    """
    one_of("coder", coder, CODERS)
    constants = ranges.constants(data, path)
    written = [
        IDENTIFIER + bytes([VERSION]),
        hashlib.sha256(data).digest(),
        varint(len(data)),
        varint(len(constants)),
    ]
    rest = []
    end = 0
    for constant in constants:
        rest.append(data[end : constant.start])
        written += [varint(constant.start - end), varint(constant.size_bytes)]
        end = constant.start + constant.size_bytes
        written.append(parts.encode(data[constant.start : end], constant.width, coder))
    rest.append(data[end:])
    frame = streams.compress(b"".join(rest))
    return b"".join([*written, varint(len(frame)), frame])


def unpack_bytes(
    data: bytes, path: str = "the container", *, max_bytes: int = MAX_BYTES
) -> tuple[bytes, list[Part]]:
    """Unpacks the bytes of a container.

    Args:
        data: the container's bytes.
        path: for errors.
        max_bytes: a larger file isn't unpacked.

    Returns:
        The bytes of the `.tflite` file, and how each of its constants was written.

    Raises:
        InputError: the bytes are no container, or one of another version, that is damaged or that
            holds a larger file.
    """
    reader = Reader(data)
    try:
        require(
            reader.take(3, "the name of the format") == IDENTIFIER,
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
        file, constants = _read_file(reader, size)
    except DamagedError as error:
        raise InputError(f"{path} is cut short or damaged ({error}); get it again") from error
    require(
        hashlib.sha256(file).digest() == digest,
        f"{path} is damaged: what it holds hasn't the SHA-256 of what was packed; get it again",
    )
    return file, constants


def _read_file(reader: Reader, size: int) -> tuple[bytes, list[Part]]:
    """Reads what follows the header, and puts the constants between the pieces of the rest."""
    count = reader.number("the number of constants", size)
    constants: list[tuple[int, bytes]] = []
    read_parts: list[Part] = []
    end = left = 0
    for _ in range(count):
        gap = reader.number("a constant's place", size - end)
        length = reader.number("a constant's size", size - end - gap)
        values, part = parts.decode(reader, end + gap, length)
        constants.append((gap, values))
        read_parts.append(part)
        end += gap + length
        left += gap
    rest = streams.decompress(reader, left + size - end)
    if reader.left:
        raise DamagedError(f"{reader.left} bytes too many")
    pieces = []
    at = 0
    for gap, values in constants:
        pieces += [rest[at : at + gap], values]
        at += gap
    return b"".join([*pieces, rest[at:]]), read_parts


def pack(
    path: str | os.PathLike[str], target: str | os.PathLike[str], *, coder: str = "best"
) -> tuple[int, int]:
    """Writes a container of a `.tflite` file, after unpacking it again to compare the two.

    Args:
        path: the `.tflite` file.
        target: the container; it appears whole or not at all.
        coder: as for `pack_bytes`.

    Returns:
        The sizes of the file and of the container, in bytes.

    Raises:
        InputError: the file can't be read or isn't a `.tflite`, or the target can't be written.
    """
    data = header.checked_path(path).read_bytes()
    container = pack_bytes(data, str(path), coder=coder)
    if unpack_bytes(container, str(target))[0] != data:
        raise RuntimeError(f"{path} doesn't come out of its container as it went in")
    _write(target, container)
    return len(data), len(container)


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
        max_bytes: as for `unpack_bytes`.

    Returns:
        The size of the `.tflite` file, in bytes.

    Raises:
        InputError: as `unpack_bytes` raises it, or the target can't be written.
    """
    file = unpack_bytes(_read(path), str(path), max_bytes=max_bytes)[0]
    _write(target, file)
    return len(file)


def _read(path: str | os.PathLike[str]) -> bytes:
    """Reads a file."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error


def _write(target: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file, whole or not at all."""
    try:
        files.write(target, data)
    except OSError as error:
        raise InputError(f"{target} can't be written: {error.strerror or error}") from error
