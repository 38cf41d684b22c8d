"""Containers that are written by the format's rules, with numbers that no packer writes."""

import random

import numpy as np

SIZES = [0, 1, 2, 7, 100, 4096, 2**16, 2**20, 2**24, 2**26, 2**26 + 1, 2**31, 2**40]


def container(rng: random.Random) -> bytes:
    """A container of version 1 of a few constants; its file's SHA-256 is wrong."""
    from tfcompress.container.bytestream import varint

    lengths = [rng.choice(SIZES[:10]) for _ in range(rng.choice((1, 1, 2, 5)))]
    gaps = [rng.choice((0, 0, 1, 100)) for _ in lengths]
    size = sum(lengths) + sum(gaps) + rng.choice((0, 8))
    if rng.random() < 0.2:
        size = rng.choice(SIZES)
    count = len(lengths) if rng.random() < 0.9 else rng.choice(SIZES)
    content = b"TFZ\1" + rng.randbytes(32) + varint(size) + varint(count)
    for gap, length in zip(gaps, lengths, strict=True):
        content += varint(gap) + varint(length) + _constant(length, rng)
    frame = _zstd(max(0, size - sum(lengths)) % 2**20, rng)
    return content + varint(len(frame)) + frame


def _constant(length, rng):
    from tfcompress.container.bytestream import varint

    width = rng.choice([width for width in (1, 2, 4) if length % width == 0])
    count = length // width
    if rng.random() < 0.5:
        return bytes([width, 0]) + _values(count, width, rng)
    gap_bits = rng.choice((4, 5, 8))
    written = rng.choice((0, 1, count // 2, count, max(0, count - 1), min(count, 1000)))
    head = bytes([width, 1]) + bytes(width) + bytes([gap_bits]) + varint(written)
    return head + _stream(written, 1 << gap_bits, rng) + _values(written, width, rng)


def _values(count, width, rng):
    from tfcompress.container.bytestream import varint

    if rng.random() < 0.5:
        return b"\0" + b"".join(_stream(count, 256, rng) for _ in range(width))
    entries = rng.choice((1, 2, 16, 255, 4096))
    table = b"".join(_stream(entries, 256, rng) for _ in range(width))
    return b"\1" + varint(entries) + table + _stream(count, entries, rng)


def _stream(count, alphabet, rng):
    """A stream that is right for so many symbols, or for fewer."""
    from tfcompress.container import streams
    from tfcompress.container.bytestream import varint

    if count > 5000 or rng.random() < 0.3:
        kind = rng.randrange(3)
        if kind == 0:  # One symbol, as often as it is asked for.
            return b"\0\0" + varint(rng.randrange(alphabet))
        if kind == 1:
            frame = _zstd(min(count, 2**24) * (1 if alphabet <= 256 else 2), rng)
            return b"\3" + varint(len(frame)) + frame
        count = min(count, 5000)
    shape = np.random.default_rng(rng.randrange(2**32)).integers(0, alphabet, max(count, 1))
    if rng.random() < 0.5:
        shape //= 1 + alphabet // 3
    return streams.encode(shape, alphabet, rng.choice(streams.CODERS))


def _zstd(size, rng):
    """A frame of zeros, or of what can't be compressed, of this size or of another."""
    from tfcompress.container import streams

    if rng.random() < 0.1:
        size = rng.choice(SIZES[:9])
    data = bytes(size) if size > 2**16 or rng.random() < 0.5 else rng.randbytes(size)
    return streams.compress(data, 1)
