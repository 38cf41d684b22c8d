"""Packs a `.tflite` file into a smaller container, `.tfz`, that gives it back bit by bit.

Pruned and clustered weights leave a `.tflite` as large as it was. Here its constants are written
as what they are, sparse and of a few values, and coded; all else in the file is one zstandard
frame. The file that comes out has the SHA-256 of the one that went in.

The container is read as if a stranger had made it: every length is checked before it is used, no
file of more than `max_bytes` is unpacked, and beside the container that takes twice the file's size
and a few dozen MiB at most.

Layout, in order: `TFZ` and the version as a byte; SHA-256 of the file; its size. In version 1 there
follow the number of its constants; for each of these its distance from the one before, its size,
and what `parts.encode` writes; the rest of the file as a zstandard frame behind its length. In
version 2, written where version 1 would be larger than gzip, what `whole.encode` writes. Numbers
are written by `bytestream.varint`.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np

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
# What a container has around what is coded, at most.
_LARGEST_HEAD = 1 << 12
# No flatbuffer is larger, and so no `.tflite` file.
MAX_BYTES = 1 << 31
# What is unpacked of any container, and how many times a larger one's size: a few bytes may stand
# for any number of equal values. Networks come out 54 times smaller at most, DEFLATE can do 1032.
_SMALL_BYTES, _MOST_TIMES = 1 << 26, 1000


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
    data: bytes, path: str = "the container", *, max_bytes: int | None = None
) -> tuple[bytes, list[Part]]:
    """Unpacks the bytes of a container.

    Args:
        data: the container's bytes.
        path: for errors.
        max_bytes: a larger file isn't unpacked. None for 2 GiB, and no more than 64 MiB or 1000
            times the container's size.

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
        most = min(MAX_BYTES, max(_SMALL_BYTES, _MOST_TIMES * len(data)))
        if max_bytes is not None:
            most = max_bytes
        require(
            size <= most,
            f"{path} says that it holds a file of {size:,} bytes, more than {most:,}; --max_bytes "
            "(max_bytes) unpacks more",
        )
        buffer = io.BytesIO(bytes(size))  # Its bytes are given away without a copy.
        file = np.frombuffer(buffer.getbuffer(), np.uint8)
        constants = _read_file(reader, version, file)
    except DamagedError as error:
        raise InputError(f"{path} is cut short or damaged ({error}); get it again") from error
    require(
        hashlib.sha256(file.data).digest() == digest,
        f"{path} is damaged: what it holds hasn't the SHA-256 of what was packed; get it again",
    )
    return buffer.getvalue(), constants


def _read_file(reader: Reader, version: int, file: np.ndarray) -> list[Part]:
    """Reads what follows the header into the file's bytes; returns how constants were written."""
    if version == AS_A_WHOLE:
        whole.decode(reader, file)
        return []
    size = len(file)
    count = reader.number("the number of constants", size // ranges.SMALLEST_BYTES)
    constants: list[Part] = []
    end = left = 0
    for _ in range(count):
        gap = reader.number("a constant's place", size - end)
        length = reader.number("a constant's size", size - end - gap)
        start, end = end + gap, end + gap + length
        constants.append(parts.decode(reader, start, file[start:end]))
        left += gap
    rest = streams.Frame(reader, left + size - end)
    if reader.left:
        raise DamagedError(f"{reader.left} bytes too many")
    end = 0
    for constant in constants:
        rest.fill(file[end : constant.start])
        end = constant.start + constant.size_bytes
    rest.fill(file[end:])
    return constants


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
    if unpack_bytes(container, str(target), max_bytes=len(data))[0] != data:
        raise RuntimeError(f"{path} doesn't come out of its container as it went in")
    _write(target, container)
    return len(data), len(container)


def unpack(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    max_bytes: int | None = None,
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
    data = _read(path, MAX_BYTES if max_bytes is None else max_bytes)
    file = unpack_bytes(data, str(path), max_bytes=max_bytes)[0]
    _write(target, file)
    return len(file)


def _check_target(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Refuses to write over the file that is read."""
    same = os.path.exists(target) and os.path.exists(path) and os.path.samefile(path, target)
    require(not same, f"{target} is the file that is read: give another name to write")


def _is_container(path: str | os.PathLike[str]) -> bool:
    """Says whether a file begins as a container does."""
    if not os.path.isfile(path):  # Some devices never end, and some pipes never begin.
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(IDENTIFIER)) == IDENTIFIER
    except OSError:
        return False  # What is wrong with it is said as it is read.


def _read(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Reads a container, unless it is larger than that of any file of so many bytes."""
    require(os.path.isfile(path) or not os.path.exists(path), f"{path} is not a file")
    most = 2 * max_bytes + _LARGEST_HEAD
    try:
        size = os.stat(path).st_size
        require(
            size <= most,
            f"{path} has {size:,} bytes, more than the container of a file of {max_bytes:,}",
        )
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error


def _write(target: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file, whole or not at all."""
    try:
        files.write(target, data)
    except OSError as error:
        raise InputError(f"{target} can't be written: {error.strerror or error}") from error
