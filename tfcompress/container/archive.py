"""Packs a `.tflite` file into a smaller container, `.tfz`, that gives it back bit by bit.

Pruned and clustered weights leave a `.tflite` as large as it was. Here its constants are written
as what they are, sparse and of a few values, and coded; all else in the file is one zstandard
frame. The file that comes out has the SHA-256 of the one that went in.

The container is read as if a stranger had made it: every length is checked before it is used, and
no more memory is taken than `max_bytes` allows.

Layout, in order: `TFZ` and the version as a byte; SHA-256 of the file; its size. In version 1 there
follow the number of its constants; for each of these its distance from the one before, its size,
and what `parts.encode` writes; the rest of the file as a zstandard frame behind its length. In
version 2, written where version 1 would be larger than gzip, what `whole.encode` writes. Numbers
are written by `bytestream.varint`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tfcompress import files
from tfcompress.container import parts, ranges, streams, whole
from tfcompress.container.bytestream import DamagedError, Reader, varint
from tfcompress.container.parts import Part
from tfcompress.errors import InputError, one_of, require
from tfcompress.tflite import header

IDENTIFIER = b"TFZ"
BY_CONSTANTS, AS_A_WHOLE = 1, 2
VERSION = AS_A_WHOLE
CODERS = ("best", *streams.CODERS)
# What gzip writes around its DEFLATE stream.
_GZIP_HEADER_BYTES = 18
# No flatbuffer is larger, and so no `.tflite` file.
MAX_BYTES = 1 << 31


def pack_bytes(data: bytes, path: str = "the file", *, coder: str = "best") -> bytes:
    """Packs the bytes of a `.tflite` file into those of a container.

    Args:
        data: the file's bytes, whose header was checked.
        path: for errors.
        coder: how streams of numbers are coded: `best` takes the shortest for each, and DEFLATE or
            LZMA2 for the whole file where that comes out larger than gzip; `bits` (fixed width),
            `huffman`, `ans` and `zstd` are for comparison.

    Raises:
        InputError: the coder is unknown, or the file is cut short or corrupt.
    """
    one_of("coder", coder, CODERS)
    constants = ranges.constants(data, path)
    written = [_head(BY_CONSTANTS, data), varint(len(constants))]
    rest = []
    end = 0
    for constant in constants:
        rest.append(data[end : constant.start])
        written += [varint(constant.start - end), varint(constant.size_bytes)]
        end = constant.start + constant.size_bytes
        written.append(parts.encode(data[constant.start : end], constant.width, coder))
    rest.append(data[end:])
    frame = streams.compress(b"".join(rest))
    container = b"".join([*written, varint(len(frame)), frame])
    if coder != "best" or len(container) <= len(whole.deflate(data)) + _GZIP_HEADER_BYTES:
        return container
    others = [_head(AS_A_WHOLE, data) + whole.encode(name, data) for name in whole.CODERS]
    return min(container, *others, key=len)


def _head(version: int, data: bytes) -> bytes:
    """Writes what a container of each version begins with."""
    name = IDENTIFIER + bytes([version])
    return name + hashlib.sha256(data).digest() + varint(len(data))


def unpack_bytes(
    data: bytes, path: str = "the container", *, max_bytes: int = MAX_BYTES
) -> tuple[bytes, list[Part]]:
    """Unpacks the bytes of a container.

    Args:
        data: the container's bytes.
        path: for errors.
        max_bytes: a larger file isn't unpacked.

    Returns:
        The bytes of the `.tflite` file, and how each of its constants was written; of a container
        of version 2 none.

    Raises:
        InputError: the bytes are no container, or one of another version, that is damaged or that
            holds a larger file.
    """
    reader = Reader(data)
    try:
        require(
            reader.take(3, "the name of the format") == IDENTIFIER,
            f"{path} is not a .tfz container: it should begin with TFZ; without --unpack a .tflite "
            "file is packed",
        )
        version = reader.byte("the version")
        require(
            BY_CONSTANTS <= version <= VERSION,
            f"{path} is a container of version {version}; this program reads versions up to "
            f"{VERSION}",
        )
        digest = reader.take(32, "the file's SHA-256")
        size = reader.number("the file's size", 1 << 62)
        require(
            size <= max_bytes,
            f"{path} says that it holds a file of {size:,} bytes, more than {max_bytes:,}",
        )
        if version == AS_A_WHOLE:
            return _checked(whole.decode(reader, size), digest, path), []
        file, constants = _read_file(reader, size)
    except DamagedError as error:
        raise InputError(f"{path} is cut short or damaged ({error}); get it again") from error
    return _checked(file, digest, path), constants


def _checked(file: bytes, digest: bytes, path: str) -> bytes:
    """Returns the file, if it has the SHA-256 of what was packed."""
    require(
        hashlib.sha256(file).digest() == digest,
        f"{path} is damaged: what it holds hasn't the SHA-256 of what was packed; get it again",
    )
    return file


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
        InputError: the file can't be read, isn't a `.tflite`, or is the target itself, or the
            target can't be written.
    """
    _check_target(path, target)
    require(
        not _is_container(path),
        f"{path} is a .tfz container already: --unpack (container.archive.unpack) gives its file",
    )
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
        InputError: as `unpack_bytes` raises it, or the target is the container itself or can't be
            written.
    """
    _check_target(path, target)
    file = unpack_bytes(_read(path), str(path), max_bytes=max_bytes)[0]
    _write(target, file)
    return len(file)


def _check_target(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Refuses to write over the file that is read."""
    same = os.path.exists(target) and os.path.exists(path) and os.path.samefile(path, target)
    require(not same, f"{target} is the file that is read: give another name to write")


def _is_container(path: str | os.PathLike[str]) -> bool:
    """Says whether a file begins as a container does."""
    try:
        with open(path, "rb") as file:
            return file.read(len(IDENTIFIER)) == IDENTIFIER
    except OSError:
        return False  # What is wrong with it is said as it is read.


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
