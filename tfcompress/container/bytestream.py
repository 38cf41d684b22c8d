"""Writes and reads a container's numbers and runs of bytes; checks each length before its use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfcompress.errors import InputError

# A number with more bytes is larger than any file's size.
_LONGEST = 9
# Symbols that are coded or decoded at a time, so that what is in memory beside them has a bound: a
# few bytes of a container may stand for any number of symbols. A multiple of 8.
CHUNK = 1 << 16


class DamagedError(InputError):
    """The container isn't one that a packer wrote."""


def varint(number: int) -> bytes:
    """Writes a whole number of 0 or more, seven bits a byte, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


def pack_bits(symbols: np.ndarray, width: int) -> bytes:
    """Writes each symbol in `width` bits, the highest first."""
    return b"".join(
        np.packbits(
            (symbols[start : start + CHUNK, None] >> np.arange(width - 1, -1, -1)) & 1
        ).tobytes()
        for start in range(0, len(symbols), CHUNK)
    )


def chunk_sizes(count: int) -> Iterator[int]:
    """Yields the sizes of the chunks that a number of symbols is read in."""
    for start in range(0, count, CHUNK):
        yield min(CHUNK, count - start)


def unpack_bits(data: bytes, width: int, count: int) -> Iterator[np.ndarray]:
    """Reads the symbols that `pack_bits` was called on, in chunks."""
    weights = 1 << np.arange(width - 1, -1, -1)
    start = 0
    for part in chunk_sizes(count):
        here = np.frombuffer(data, np.uint8, -(-part * width // 8), start * width // 8)
        bits = np.unpackbits(here, count=part * width).reshape(part, width)
        yield (bits @ weights).astype(np.uint16)
        start += part


class Reader:
    """Reads a container from front to back and never past its end.

    Args:
        data: the container's bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.at = 0

    @property
    def left(self) -> int:
        """Counts the bytes that weren't read yet."""
        return len(self._data) - self.at

    def take(self, size: int, what: str) -> bytes:
        """Reads the next bytes.

        Args:
            size: how many.
            what: what they are, for the error.

        Raises:
            DamagedError: there aren't so many.
        """
        if not 0 <= size <= self.left:
            raise DamagedError(f"{what} should take {size} bytes where {self.left} are left")
        self.at += size
        return bytes(self._data[self.at - size : self.at])

    def byte(self, what: str) -> int:
        """Reads the next byte."""
        return self.take(1, what)[0]

    def number(self, what: str, most: int) -> int:
        """Reads the next number that `varint` wrote.

        Args:
            what: what the number is, for the error.
            most: the largest that it may be.

        Raises:
            DamagedError: the number is larger, or has no end.
        """
        number = 0
        for place in range(_LONGEST):
            byte = self.byte(what)
            number |= (byte & 127) << 7 * place
            if byte < 128:
                break
        else:
            raise DamagedError(f"{what} is a number without an end")
        if number > most:
            raise DamagedError(f"{what} is {number}, which is more than {most}")
        return number
