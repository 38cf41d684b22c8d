"""Codes a container's streams by Huffman's method and by ANS, with the library `constriction`.

A stream holds a table of whole numbers, from which packer and reader make the same model: lengths
of the Huffman codes, or the symbols' frequencies in quarter octaves. So the same bytes mean the
same symbols on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfcompress.container.bytestream import (
    CHUNK,
    DamagedError,
    Reader,
    chunk_sizes,
    pack_bits,
    unpack_bits,
    varint,
)

# ANS takes frequencies 2^(-level / 4): a quarter octave costs 0.1% of the bytes, and a level six
# bits or less. Integers, for powers of floats may differ from one C library to the next.
_QUARTERS = (1 << 24, 14107901, 11863283, 9975792)
_LEVELS = 4 * 24


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Returns the bits of each symbol's Huffman code; 0 for symbols that never come."""
    from constriction import symbol as symbols

    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.uint8)
    tree = symbols.huffman.EncoderHuffmanTree(counts[used].astype(np.float64))
    for place, symbol in enumerate(used):
        coder = symbols.QueueEncoder()
        coder.encode_symbol(place, tree)
        lengths[symbol] = coder.get_compressed()[1]
    return lengths


def _trees(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the symbols that come, and probabilities that give a code of these lengths."""
    used = np.flatnonzero(lengths)
    return used, 2.0 ** -lengths[used].astype(np.float64)


def _table(values: np.ndarray) -> bytes:
    """Writes a coder's table: its length, the bits of a value, and the values."""
    last = int(np.flatnonzero(values)[-1]) + 1
    width = int(values.max()).bit_length()
    return varint(last) + varint(width) + pack_bits(values[:last], width)


def _read_table(reader: Reader, alphabet: int, what: str) -> np.ndarray:
    """Reads a coder's table."""
    last = reader.number(f"{what} table's length", alphabet)
    width = reader.number(f"{what} table's bits", 8)
    if last < 2 or width < 1:
        raise DamagedError(f"{what} table is empty")
    data = reader.take(-(-last * width // 8), f"{what} table")
    values = np.concatenate(list(unpack_bits(data, width, last)))
    if np.count_nonzero(values) < 2:
        raise DamagedError(f"{what} table has one symbol")
    return values


def huffman_bytes(counts: np.ndarray) -> int:
    """Estimates the bytes that `huffman` writes."""
    lengths = code_lengths(counts)
    return len(_table(lengths)) - (-int(counts @ lengths) // 8) + 4


def huffman(symbols: np.ndarray, counts: np.ndarray) -> bytes:
    """Writes table and payload of a stream.

    Args:
        symbols: the stream, with at least two different symbols.
        counts: how often each symbol of the alphabet comes.
    """
    from constriction import symbol as constriction

    lengths = code_lengths(counts)
    used, shares = _trees(lengths)
    tree = constriction.huffman.EncoderHuffmanTree(shares)
    place = np.zeros(len(counts), np.uint16)
    place[used] = np.arange(len(used))
    coder = constriction.QueueEncoder()
    for start in range(0, len(symbols), CHUNK):
        for symbol in place[symbols[start : start + CHUNK]].tolist():
            coder.encode_symbol(symbol, tree)
    words, bits = coder.get_compressed()
    payload = words.astype("<u4").tobytes()[: -(-bits // 8)]
    return _table(lengths) + varint(len(payload)) + payload


def read_huffman(reader: Reader, count: int, alphabet: int) -> Iterator[np.ndarray]:
    """Reads a stream of `count` symbols, in chunks.

    Raises:
        DamagedError: no packer writes such a stream.
    """
    from constriction import symbol as constriction

    lengths = _read_table(reader, alphabet, "a Huffman")
    used, shares = _trees(lengths)
    # Of exact powers of two, so that the sum is exact as well.
    if int(lengths.max()) > 52 or shares.sum() != 1.0:
        raise DamagedError("a Huffman table is no complete code")
    tree = constriction.huffman.DecoderHuffmanTree(shares)
    payload = reader.take(reader.number("a Huffman payload", reader.left), "a Huffman payload")
    if count > 8 * len(payload):
        raise DamagedError(f"{count} symbols in {len(payload)} bytes of Huffman code")
    words = np.frombuffer(payload + bytes(-len(payload) % 4), "<u4").astype(np.uint32)
    coder = constriction.QueueDecoder(words)
    used = used.astype(np.uint16)
    for part in chunk_sizes(count):
        try:
            places = [coder.decode_symbol(tree) for _ in range(part)]
        except ValueError as error:
            raise DamagedError(f"a Huffman payload ends too early: {error}") from error
        yield used[places]


def _levels(counts: np.ndarray) -> np.ndarray:
    """Returns each symbol's frequency in quarter octaves below 1, plus 1; 0 if it never comes."""
    with np.errstate(divide="ignore"):
        below = np.rint(-4 * np.log2(counts / counts.sum()))
    return np.where(counts > 0, np.clip(below, 0, _LEVELS) + 1, 0).astype(np.uint8)


def _frequencies(levels: np.ndarray) -> np.ndarray:
    """Returns the frequencies that levels stand for, as exact whole numbers."""
    below = np.maximum(levels.astype(np.int64) - 1, 0)
    sizes = np.maximum(np.asarray(_QUARTERS)[below % 4] >> below // 4, 1)
    return np.where(levels > 0, sizes, 0).astype(np.float64)


def ans_bytes(counts: np.ndarray) -> int:
    """Estimates the bytes that `ans` writes."""
    levels = _levels(counts)
    frequencies = _frequencies(levels)
    used = counts > 0
    bits = -(counts[used] @ np.log2(frequencies[used] / frequencies.sum()))
    return len(_table(levels)) + int(bits / 8) + 8


def _model(levels: np.ndarray) -> Any:
    """Makes the library's model of frequencies."""
    from constriction import stream

    return stream.model.Categorical(_frequencies(levels), perfect=False)


def ans(symbols: np.ndarray, counts: np.ndarray) -> bytes:
    """Writes table and payload of a stream, as `huffman` does."""
    from constriction import stream

    levels = _levels(counts)
    model = _model(levels[: int(np.flatnonzero(levels)[-1]) + 1])
    coder = stream.stack.AnsCoder()
    coder.encode_reverse(symbols.astype(np.int32), model)
    words = coder.get_compressed()
    return _table(levels) + varint(len(words)) + words.astype("<u4").tobytes()


def read_ans(reader: Reader, count: int, alphabet: int) -> Iterator[np.ndarray]:
    """Reads a stream of `count` symbols, in chunks.

    Raises:
        DamagedError: no packer writes such a stream.
    """
    from constriction import stream

    levels = _read_table(reader, alphabet, "an ANS")
    if int(levels.max()) > _LEVELS + 1:
        raise DamagedError("an ANS table has a frequency below the smallest")
    words = reader.number("an ANS payload", reader.left // 4)
    payload = np.frombuffer(reader.take(4 * words, "an ANS payload"), "<u4")
    try:
        coder, model = stream.stack.AnsCoder(payload.astype(np.uint32)), _model(levels)
        for part in chunk_sizes(count):
            yield coder.decode(model, part).astype(np.uint16)
    except ValueError as error:
        raise DamagedError(f"an ANS payload can't be read: {error}") from error
