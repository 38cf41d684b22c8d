"""Writes a constant of a file as bytes: its zeros by their distances, its values by a table.

A constant is a run of values of 1, 2 or 4 bytes, and nothing is rounded. It is written dense or
sparse. Sparse, the most frequent value (zero, in a pruned kernel) is left out, and each of the
others has its distance from the one before; where a distance is too long for its bits, a zero
(a filler) is written as if it were another value. The values themselves are written plain, byte by
byte of the value (so that the exponents of floats are together), or shared: a table, and for each
value its place in there.

Reference:
    Han, Mao, Dally 2016, "Deep Compression", arXiv:1510.00149, sections 2 to 4 and figure 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfcompress.container import streams
from tfcompress.container.bytestream import DamagedError, Reader, varint

# Bits of a distance that are tried; the paper has 8 for convolutions and 5 for dense layers, and
# 4 is best from about a quarter of the weights on.
GAP_BITS = (4, 5, 8)
WIDTHS = (1, 2, 4)
# A table of more values is longer than what it saves.
_MOST_SHARED = 4096
_DENSE, _SPARSE = 0, 1
_PLAIN, _SHARED = 0, 1


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """How one constant is written.

    Attributes:
        start: its first byte in the `.tflite`.
        size_bytes: its size in the `.tflite`.
        packed_bytes: all that it takes in the container.
        values: how many values it has.
        written: how many of them are written; all if it is dense, else those that aren't zero and
            the fillers.
        gap_bits: bits of a distance before they are coded; 0 if it is dense.
        gap_bytes: size of the coded distances.
        table_values: how many different values there are, if they share a table; else 0.
        table_bytes: size of the table.
        value_bytes: size of the values, or of their places in the table.
    """

    start: int
    size_bytes: int
    packed_bytes: int
    values: int
    written: int
    gap_bits: int
    gap_bytes: int
    table_values: int
    table_bytes: int
    value_bytes: int


def to_distances(positions: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Turns ascending positions into distances, none longer than `bits` hold.

    Args:
        positions: ascending, from 0.
        bits: of a distance, which from 1 to `2^bits` is written as one less.

    Returns:
        The distances, each less by one, and which of them lead to a filler and not to a position.
    """
    reach = 1 << bits
    distances = np.diff(positions, prepend=-1)
    fillers = (distances - 1) // reach
    ends = np.cumsum(fillers + 1) - 1  # Where each position's own distance stands.
    filler = np.ones(int(fillers.sum()) + len(positions), bool)
    filler[ends] = False
    written = np.full(len(filler), reach - 1, np.uint16)
    written[ends] = distances - fillers * reach - 1
    return written, filler


def to_positions(distances: np.ndarray) -> np.ndarray:
    """Turns distances back into the positions, with those of the fillers among them."""
    return np.cumsum(distances.astype(np.int64) + 1) - 1


def encode(data: bytes, width: int, coder: str = "best", *, sparse: bool = False) -> bytes:
    """Writes a constant in the shortest way.

    Args:
        data: the constant's bytes.
        width: bytes of a value, one of `WIDTHS`; data whose length isn't a multiple of it are taken
            byte by byte.
        coder: as for `streams.encode`.
        sparse: whether a constant most of whose values are equal is written sparse even if dense is
            shorter, as it often is with more than a quarter of other values.
    """
    if len(data) % width:
        width = 1
    values = np.frombuffer(data, f"<u{width}")
    distinct, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    table = distinct if len(distinct) <= _MOST_SHARED else distinct[:0]
    head = bytes([width])
    forms = [head + bytes([_DENSE]) + _values(values, table, places, coder)]
    if width > 1 and not len(table):  # One stream for all bytes: what repeats is found by zstd.
        single = np.frombuffer(data, np.uint8)
        forms.append(bytes([1, _DENSE]) + _values(single, single[:0], single, coder))
    often = int(counts.argmax())
    if 2 * int(counts[often]) > len(values):
        background = distinct[often]
        others = np.flatnonzero(values != background)
        for bits in GAP_BITS:
            gaps, filler = to_distances(others, bits)
            written = np.full(len(gaps), background, values.dtype)
            written[~filler] = values[others]
            written_places = np.full(len(gaps), often, np.int64)
            written_places[~filler] = places[others]
            written_table = table
            if len(table) and not filler.any():  # Zero stands in the table for fillers only.
                written_table = np.delete(table, often)
                written_places -= written_places > often
            body = background.tobytes() + bytes([bits]) + varint(len(gaps))
            body += streams.encode(gaps, 1 << bits, coder)
            body += _values(written, written_table, written_places, coder)
            forms.append(head + bytes([_SPARSE]) + body)
    return min([form for form in forms if form[1] == _SPARSE or not sparse] or forms, key=len)


def _values(values: np.ndarray, table: np.ndarray, places: np.ndarray, coder: str) -> bytes:
    """Writes values plain or by their table, whichever is shorter; by an empty table never."""
    forms = [bytes([_PLAIN]) + _plain(values, coder)]
    if 0 < len(table) < 256**values.dtype.itemsize:
        shared = bytes([_SHARED]) + varint(len(table)) + _plain(table, coder)
        forms.append(shared + streams.encode(places, len(table), coder))
    return min(forms, key=len)


def _plain(values: np.ndarray, coder: str) -> bytes:
    """Writes a stream for each byte of the values, the lowest first."""
    planes = values.astype(values.dtype.newbyteorder("<")).view(np.uint8)
    planes = planes.reshape(-1, values.dtype.itemsize)
    return b"".join(streams.encode(plane, 256, coder) for plane in planes.T)


def decode(reader: Reader, start: int, target: np.ndarray) -> Part:
    """Reads a constant, and how it was written.

    Beside the constant's own bytes it takes at most one for each value, and a few MiB.

    Args:
        reader: stands at its first byte.
        start: the constant's first byte in the `.tflite`.
        target: the constant's bytes, which are written.

    Raises:
        DamagedError: no packer writes such a constant.
    """
    begin = reader.at
    width = reader.byte("a constant's bytes a value")
    if width not in WIDTHS or len(target) % width:
        raise DamagedError(f"a constant of {len(target)} bytes has {width} bytes a value")
    count = len(target) // width
    values = target.view(f"<u{width}")
    form = reader.byte("a constant's form")
    if form == _DENSE:
        written, gap_bits, gap_bytes = count, 0, 0
        shared = _read_values(reader, values, None)
    elif form == _SPARSE:
        values[:] = np.frombuffer(reader.take(width, "a constant's zero"), values.dtype)[0]
        gap_bits = reader.byte("the bits of a distance")
        if gap_bits not in GAP_BITS:
            raise DamagedError(f"the bits of a distance are {gap_bits}")
        written = reader.number("the values that are written", count)
        gap_bytes = reader.at
        distances = np.empty(written, np.uint8)
        _fill(distances, streams.decode(reader, written, 1 << gap_bits))
        gap_bytes = reader.at - gap_bytes
        last = int(distances.sum(dtype=np.int64)) + written - 1
        if last >= count:
            raise DamagedError(f"a distance leads to value {last} of {count}")
        shared = _read_values(reader, values, distances)
    else:
        raise DamagedError(f"a constant's form is number {form} of 2")
    packed = reader.at - begin
    return Part(
        start,
        len(target),
        packed,
        count,
        written,
        gap_bits,
        gap_bytes,
        *shared[:2],
        value_bytes=shared[2],
    )


def _fill(target: np.ndarray, chunks: Iterator[np.ndarray]) -> None:
    """Writes the chunks of a stream one behind the other."""
    at = 0
    for chunk in chunks:
        target[at : at + len(chunk)] = chunk
        at += len(chunk)


def _put(target: np.ndarray, distances: np.ndarray | None, chunks: Iterator[np.ndarray]) -> None:
    """Writes the chunks of a stream at the places that the distances lead to, or at all places."""
    if distances is None:
        _fill(target, chunks)
        return
    at, last = 0, -1
    for chunk in chunks:
        places = to_positions(distances[at : at + len(chunk)]) + last + 1
        target[places] = chunk
        at += len(chunk)
        last = int(places[-1])


def _read_values(
    reader: Reader, values: np.ndarray, distances: np.ndarray | None
) -> tuple[int, int, int]:
    """Reads values into their places.

    Args:
        reader: stands at their first byte.
        values: all of the constant's.
        distances: of those that are written; None if all are.

    Returns:
        Their table's length and bytes, and the bytes of the values.
    """
    count = len(values if distances is None else distances)
    form = reader.byte("the form of values")
    begin = reader.at
    if form == _PLAIN:
        for plane in _planes(values):
            _put(plane, distances, streams.decode(reader, count, 256))
        return 0, 0, reader.at - begin
    if form != _SHARED:
        raise DamagedError(f"the form of values is number {form} of 2")
    entries = reader.number("a table's length", _MOST_SHARED)
    if entries == 0:
        raise DamagedError("a table is empty")
    table = np.empty(entries, values.dtype)
    for plane in _planes(table):
        _fill(plane, streams.decode(reader, entries, 256))
    table_bytes = reader.at - begin
    chunks = (table[places] for places in streams.decode(reader, count, entries))
    _put(values, distances, chunks)
    return entries, table_bytes, reader.at - begin - table_bytes


def _planes(values: np.ndarray) -> np.ndarray:
    """Returns the values' lowest bytes, the second ones, and so on; what is written there stays."""
    return values.view(np.uint8).reshape(-1, values.dtype.itemsize).T
