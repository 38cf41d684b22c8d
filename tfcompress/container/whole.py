"""Writes a whole file by one general coder: DEFLATE (as gzip) or LZMA2 (as xz).

Coding each constant by itself finds nothing that several of them have in common, so that a file of
many like constants would come out larger than gzip makes it.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator

import numpy as np

from tfcompress.container.bytestream import DamagedError, Reader

# A coder's number in the file is its place here.
CODERS = ("deflate", "lzma")
# As gzip -9 has them; the window of 32 KiB is the largest, and no header is written.
_LEVEL, _WINDOW, _MEMORY = 9, -15, 9
# LZMA2's dictionary, which its reader allocates.
_LARGEST_DICTIONARY = 1 << 26
_SMALLEST_DICTIONARY = 1 << 12
# How many times its size a stream holds at most, in the coders' order; more is a lie.
_MOST_TIMES = (1032, 8192)
# Bytes that are given to a decoder or asked of it at a time.
_CHUNK = 1 << 18


def deflate(data: bytes) -> bytes:
    """Compresses data as gzip -9 does, without its 18 bytes of header and checksum."""
    coder = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
    return coder.compress(data) + coder.flush()


def encode(coder: str, data: bytes) -> bytes:
    """Writes data by one of `CODERS`, behind its number."""
    if coder == "deflate":
        content = deflate(data)
    else:
        content = lzma.compress(data, lzma.FORMAT_RAW, filters=_filters(len(data)))
    return bytes([CODERS.index(coder)]) + content


def decode(reader: Reader, target: np.ndarray) -> None:
    """Reads data to the reader's end; LZMA2 takes a dictionary of twice its size or 64 MiB beside.

    Args:
        reader: stands at the coder's number.
        target: the data's bytes, which are written.

    Raises:
        DamagedError: no packer writes such data.
    """
    number = reader.byte("the file's coder")
    if number >= len(CODERS):
        raise DamagedError(f"the file's coder is number {number} of {len(CODERS)}")
    name, size = CODERS[number], len(target)
    content = reader.take(reader.left, "the file")
    other = DamagedError(f"the file's {name} stream isn't one of {size} bytes")
    if size > _MOST_TIMES[number] * len(content):
        raise other
    at = 0
    try:
        for piece in _inflated(content) if name == "deflate" else _decompressed(content, size):
            if len(piece) > size - at:
                raise other
            target[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise DamagedError(f"the file's {name} stream can't be read: {error}") from error
    if at != size:
        raise other


def _inflated(content: bytes) -> Iterator[bytes]:
    """Unpacks a DEFLATE stream piece by piece."""
    decoder = zlib.decompressobj(_WINDOW)
    for start in range(0, len(content), _CHUNK):
        left = content[start : start + _CHUNK]
        while left:
            yield decoder.decompress(left, _CHUNK)
            left = decoder.unconsumed_tail
    yield decoder.flush()  # Less than a piece, for nothing is left to be read.
    if not decoder.eof or decoder.unused_data:
        raise zlib.error("it ends too early or too late")


def _decompressed(content: bytes, size: int) -> Iterator[bytes]:
    """Unpacks an LZMA2 stream piece by piece."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(size))
    for start in range(0, len(content), _CHUNK):
        yield decoder.decompress(content[start : start + _CHUNK], _CHUNK)
        while not (decoder.needs_input or decoder.eof):
            yield decoder.decompress(b"", _CHUNK)
    if not decoder.eof or decoder.unused_data:
        raise lzma.LZMAError("it ends too early or too late")


def _filters(size: int) -> list[dict[str, int]]:
    """Returns LZMA2's settings for a file of this size, which its reader knows as well."""
    dictionary = min(max(1 << size.bit_length(), _SMALLEST_DICTIONARY), _LARGEST_DICTIONARY)
    return [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
