"""Whole numbers and byte runs of a container, read so that no length in it is believed."""

from __future__ import annotations

import numpy as np

from tfcompress.errors import InputError

# A number of more bytes is longer than any file.
_LONGEST = 9
# Symbols whose bits are looked at at a time.
_CHUNK = 1 << 18


class DamagedError(InputError):
    """The container isn't what a packer wrote."""


def varint(number: int) -> bytes:
    """A whole number of 0 or more, seven bits a byte, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def packed_bits(symbols: np.ndarray, width: int) -> bytes:
    """Each symbol in `width` bits, the highest first."""
    return b"".join(
        np.packbits(
            (symbols[start : start + _CHUNK, None] >> np.arange(width - 1, -1, -1)) & 1
        ).tobytes()
        for start in range(0, len(symbols), _CHUNK)
    )


def unpacked_bits(data: bytes, width: int, count: int) -> np.ndarray:
    """What `packed_bits` was called on."""
    found = np.empty(count, np.uint16)
    weights = 1 << np.arange(width - 1, -1, -1)
    for start in range(0, count, _CHUNK):
        part = min(_CHUNK, count - start)
        here = np.frombuffer(data, np.uint8, -(-part * width // 8), start * width // 8)
        found[start : start + part] = (
            np.unpackbits(here, count=part * width).reshape(part, width) @ weights
        )
    return found


class Reader:
    """Reads a container from front to back and never past its end.

    Args:
        data: all of it.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes that weren't read yet."""
        return len(self._data) - self.at

    def take(self, size: int, what: str) -> bytes:
        """The next bytes.

        Raises:
            DamagedError: there aren't so many.
        """
        if not 0 <= size <= self.left:
            raise DamagedError(f"{what} should take {size} bytes where {self.left} are left")
        self.at += size
        return bytes(self._data[self.at - size : self.at])

    def byte(self, what: str) -> int:
        """The next byte."""
        return self.take(1, what)[0]

    def number(self, what: str, most: int) -> int:
        """The next `varint`.

        Args:
            what: it is, for the error.
            most: it may be.

        Raises:
            DamagedError: it is larger, or has no end.
        """
        found = 0
        for place in range(_LONGEST):
            byte = self.byte(what)
            found |= (byte & 127) << 7 * place
            if byte < 128:
                break
        else:
            raise DamagedError(f"{what} is a number without an end")
        if found > most:
            raise DamagedError(f"{what} is {found}, which is more than {most}")
        return found
