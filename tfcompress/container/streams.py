"""Writes streams of small whole numbers as bytes: fixed width, Huffman, ANS, zstandard.

A stream is a byte for its coder, the coder's table, and the payload. Its reader knows beforehand
how many symbols it has, and how many different ones there can be.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfcompress.container import entropy
from tfcompress.container.bytestream import (
    DamagedError,
    Reader,
    chunk_sizes,
    pack_bits,
    unpack_bits,
    varint,
)

# A coder's number in the file is its place here.
CODERS = ("bits", "huffman", "ans", "zstd")
# Zstandard's thorough level takes a second for a megabyte. Longer data get it only if the quick
# level shrinks them to about what the symbols' frequencies alone give, or less.
_LONG_BYTES = 1 << 14
_PROMISING = 1.03
_QUICK, _THOROUGH = 3, 19
# From this size on, the thorough level takes more time than it is worth.
_HUGE_BYTES, _HUGE = 1 << 20, 12
# The window that each level's frames have at most, and that a reader allocates.
_LARGEST_WINDOW = 1 << 23


def encode(symbols: np.ndarray, alphabet: int, coder: str = "best") -> bytes:
    """Writes a stream.

    Args:
        symbols: whole numbers from 0 to below `alphabet`, in one dimension.
        alphabet: at most 65,536.
        coder: one of `CODERS`, or `best` for the shortest. Where fixed widths are shorter than a
            coder with its table, they are taken; one symbol repeated takes no bits at all.
    """
    symbols = np.asarray(symbols).astype(np.uint16 if alphabet > 256 else np.uint8)
    counts = np.bincount(symbols, minlength=alphabet)
    if np.count_nonzero(counts) <= 1:
        only = int(counts.argmax())
        return _stream("bits", varint(0) + varint(only))
    tried = [coder, "bits"]
    if coder == "best":
        # What entropy coders take can be told from the counts; zstandard has to be tried.
        sizes = {
            "bits": _bits_bytes(counts),
            "huffman": entropy.huffman_bytes(counts),
            "ans": entropy.ans_bytes(counts),
        }
        tried = [min(sizes, key=sizes.__getitem__)]
        if _promising(symbols, counts):
            tried.append("zstd")
    return min((_stream(name, _ENCODE[name](symbols, counts)) for name in tried), key=len)


def decode(reader: Reader, count: int, alphabet: int) -> Iterator[np.ndarray]:
    """Reads the symbols of a stream, in chunks, for which it takes a few MiB.

    Args:
        reader: stands at its first byte, and behind its last after the last chunk.
        count: the number of symbols.
        alphabet: as for `encode`.

    Yields:
        Symbols, `bytestream.CHUNK` or less at a time, not to be changed.

    Raises:
        DamagedError: no packer writes such a stream.
    """
    number = reader.byte("a stream's coder")
    if number >= len(CODERS):
        raise DamagedError(f"a stream's coder is number {number} of {len(CODERS)}")
    for symbols in _DECODE[CODERS[number]](reader, count, alphabet):
        if int(symbols.max()) >= alphabet:
            raise DamagedError(f"a stream has symbol {int(symbols.max())} of {alphabet}")
        yield symbols


def _stream(coder: str, content: bytes) -> bytes:
    """Puts the coder's number before its table and payload."""
    return bytes([CODERS.index(coder)]) + content


def _width(counts: np.ndarray) -> int:
    """Returns the bits that the largest symbol takes."""
    return int(np.flatnonzero(counts)[-1]).bit_length()


def _bits_bytes(counts: np.ndarray) -> int:
    """Returns the bytes that `_bits` writes."""
    return 1 - (-int(counts.sum()) * _width(counts) // 8)


def _bits(symbols: np.ndarray, counts: np.ndarray) -> bytes:
    """Writes symbols in a fixed width."""
    width = _width(counts)
    return varint(width) + pack_bits(symbols, width)


def _read_bits(reader: Reader, count: int, alphabet: int) -> Iterator[np.ndarray]:
    """Reads symbols of a fixed width, in chunks."""
    width = reader.number("a stream's bits a symbol", 16)
    if width == 0:
        only = reader.number("a stream's only symbol", alphabet - 1)
        for part in chunk_sizes(count):
            yield np.full(part, only, np.uint16)
    else:
        yield from unpack_bits(reader.take(-(-count * width // 8), "a stream"), width, count)


def _zstd(symbols: np.ndarray, counts: np.ndarray) -> bytes:
    """Writes symbols as a zstandard frame."""
    payload = compress(symbols.astype(_dtype(len(counts))).tobytes())
    return varint(len(payload)) + payload


def _promising(symbols: np.ndarray, counts: np.ndarray) -> bool:
    """Tells whether zstandard may be the shortest."""
    data = symbols.astype(_dtype(len(counts))).tobytes()
    if len(data) <= _LONG_BYTES:
        return True
    quick = len(compress(data, _QUICK))
    return quick < len(data) and quick < _PROMISING * _entropy_bytes(counts)


def _dtype(alphabet: int) -> np.dtype:
    """Returns the type of a symbol in zstandard's streams."""
    return np.dtype(np.uint8 if alphabet <= 256 else "<u2")


def _entropy_bytes(counts: np.ndarray) -> float:
    """Returns the bytes below which no code of single symbols can get."""
    used = counts[counts > 0]
    return float(used @ np.log2(used.sum() / used)) / 8


def _read_zstd(reader: Reader, count: int, alphabet: int) -> Iterator[np.ndarray]:
    """Reads symbols from a zstandard frame, in chunks."""
    dtype = _dtype(alphabet)
    frame = Frame(reader, count * dtype.itemsize)
    for part in chunk_sizes(count):
        symbols = np.empty(part, dtype)
        frame.fill(symbols.view(np.uint8))
        yield symbols


def compress(data: bytes, level: int | None = None) -> bytes:
    """Writes a zstandard frame that says its size, at a thorough level unless one is given."""
    import zstandard

    if level is None:
        level = _THOROUGH if len(data) <= _HUGE_BYTES else _HUGE
    return zstandard.ZstdCompressor(level=level).compress(data)


class Frame:
    """A zstandard frame behind its length, unpacked piece by piece.

    Args:
        reader: stands at the length; behind the frame afterwards.
        size: the exact size of what is unpacked, in bytes.

    Raises:
        DamagedError: the frame is damaged or has another size.
    """

    def __init__(self, reader: Reader, size: int) -> None:
        import zstandard

        self._errors = zstandard.ZstdError
        self._size = size
        data = reader.take(reader.number("a zstandard frame", reader.left), "a zstandard frame")
        try:
            if zstandard.frame_content_size(data) != size:
                raise DamagedError(f"a zstandard frame isn't one of {size} bytes")
            decoder = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
            self._stream = decoder.stream_reader(data)
        except zstandard.ZstdError as error:
            raise DamagedError(f"a zstandard frame can't be read: {error}") from error

    def fill(self, target: np.ndarray) -> None:
        """Fills an array of bytes with the next ones.

        Raises:
            DamagedError: the frame is damaged or hasn't so many.
        """
        at = 0
        while at < len(target):
            try:
                read = self._stream.readinto(target[at:].data)
            except self._errors as error:
                raise DamagedError(f"a zstandard frame can't be read: {error}") from error
            if not read:
                raise DamagedError(f"a zstandard frame has less than {self._size} bytes")
            at += read


_ENCODE = {"bits": _bits, "huffman": entropy.huffman, "ans": entropy.ans, "zstd": _zstd}
_DECODE = {
    "bits": _read_bits,
    "huffman": entropy.read_huffman,
    "ans": entropy.read_ans,
    "zstd": _read_zstd,
}
