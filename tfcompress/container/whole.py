"""Writes a whole file by one general coder: DEFLATE (as gzip) or LZMA2 (as xz).

Coding each constant by itself finds nothing that several of them have in common, so that a file of
many like constants would come out larger than gzip makes it.
"""

from __future__ import annotations

import lzma
import zlib
from typing import Any

from tfcompress.container.bytestream import DamagedError, Reader

# A coder's number in the file is its place here.
CODERS = ("deflate", "lzma")
# As gzip -9 has them; the window of 32 KiB is the largest, and no header is written.
_LEVEL, _WINDOW, _MEMORY = 9, -15, 9
# LZMA2's dictionary, which its reader allocates.
_LARGEST_DICTIONARY = 1 << 26
_SMALLEST_DICTIONARY = 1 << 12


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


def decode(reader: Reader, size: int) -> bytes:
    """Reads data to the reader's end.

    Args:
        reader: stands at the coder's number.
        size: of what comes out, in bytes; the caller has checked that so many fit in memory.

    Raises:
        DamagedError: no packer writes such data.
    """
    number = reader.byte("the file's coder")
    if number >= len(CODERS):
        raise DamagedError(f"the file's coder is number {number} of {len(CODERS)}")
    name = CODERS[number]
    content = reader.take(reader.left, "the file")
    decoder: Any
    try:
        if name == "deflate":
            decoder = zlib.decompressobj(_WINDOW)
        else:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(size))
        # One byte more than there should be, so that more is seen and yet not unpacked.
        data: bytes = decoder.decompress(content, size + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise DamagedError(f"the file's {name} stream can't be read: {error}") from error
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise DamagedError(f"the file's {name} stream isn't one of {size} bytes")
    return data


def _filters(size: int) -> list[dict[str, int]]:
    """Returns LZMA2's settings for a file of this size, which its reader knows as well."""
    dictionary = min(max(1 << size.bit_length(), _SMALLEST_DICTIONARY), _LARGEST_DICTIONARY)
    return [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
