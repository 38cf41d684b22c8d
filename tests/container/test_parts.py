import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from tfcompress.container import parts
from tfcompress.container.bytestream import DamagedError, Reader, varint
from tfcompress.container.streams import CODERS


def through(values, coder="best", width=None):
    data = parts.encode(values.tobytes(), width or values.dtype.itemsize, coder)
    reader = Reader(data)
    found = np.empty(values.nbytes, np.uint8)
    part = parts.decode(reader, 0, found)
    assert reader.left == 0
    assert found.tobytes() == values.tobytes()
    assert part.packed_bytes == len(data)
    return part


def test_distances_of_the_papers_figure_2():
    # Weights 1, 4 and 15 counted from 1, three bits: 1, 3, a filler after 8, 3.
    distances, filler = parts.to_distances(np.array([0, 3, 14]), 3)
    assert (distances + 1).tolist() == [1, 3, 8, 3]
    assert filler.tolist() == [False, False, True, False]
    assert parts.to_positions(distances).tolist() == [0, 3, 11, 14]


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    positions=strategies.lists(strategies.integers(0, 3000), unique=True, max_size=60),
    bits=strategies.sampled_from([1, 3, 4, 5, 8]),
)
def test_distances_by_counting(positions, bits):
    positions = sorted(positions)
    expected, at = [], -1
    for position in positions:  # As figure 2 has it: fill up while the distance is too long.
        while position - at > 2**bits:
            at += 2**bits
            expected.append((2**bits, True))
        expected.append((position - at, False))
        at = position
    distances, filler = parts.to_distances(np.array(positions, int), bits)
    assert list(zip((distances + 1).tolist(), filler.tolist(), strict=True)) == expected
    assert parts.to_positions(distances)[~filler].tolist() == positions


@pytest.mark.parametrize("coder", ["best", *CODERS])
@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1),
    count=strategies.integers(1, 3000),
    kind=strategies.sampled_from(["float32", "float16", "int8", "uint8"]),
    zeros=strategies.sampled_from([0.0, 0.3, 0.9, 0.99, 1.0]),
    shared=strategies.sampled_from([0, 1, 2, 32, 256]),
)
def test_sparse_and_clustered(coder, seed, count, kind, zeros, shared):
    rng = np.random.default_rng(seed)
    table = (40 * rng.standard_normal(shared or count)).astype(kind)
    values = table[rng.integers(0, len(table), count)]
    values[rng.random(count) < zeros] = 0
    through(values, coder)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_bytes_that_are_no_values(width):
    through(np.frombuffer(bytes(range(251)), np.uint8), width=width)
    # Not a number, infinity and negative zero are bits like others.
    odd = np.array([np.nan, np.inf, -0.0, 0.0, -np.nan] * 50, "<f4")
    through(odd)


def test_sizes_of_the_papers_arithmetic():
    """A pruned and clustered layer in fixed widths takes what section 3 counts for it."""
    rng = np.random.default_rng(0)
    count, kept = 40_000, 3600
    values = np.zeros(count, "<f4")
    table = rng.standard_normal(31).astype("<f4")
    values[rng.choice(count, kept, replace=False)] = table[rng.integers(0, 31, kept)]
    part = through(values, "bits")
    assert part.gap_bits == 5
    gaps, _ = parts.to_distances(np.flatnonzero(values), 5)
    assert part.written == len(gaps)
    assert part.table_values == 32
    assert part.gap_bytes == 2 + -(-5 * part.written // 8)
    assert part.value_bytes == 2 + -(-5 * part.written // 8)
    coded = through(values, "huffman")
    # Distances of 9% are far from even, values of an even table aren't.
    assert coded.gap_bytes < part.gap_bytes
    assert coded.packed_bytes < part.packed_bytes


def test_a_pruned_layer_without_sharing():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(30_000).astype("<f4")
    values[rng.random(30_000) < 0.9] = 0
    part = through(values)
    assert part.gap_bits
    assert part.table_values == 0
    assert part.packed_bytes < 0.14 * values.nbytes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x03", "has 3 bytes a value"),
        (b"\x04\x07", "form is number 7"),
        (b"\x04\x01\0\0\0\0\x06", "bits of a distance are 6"),
        (b"\x04\x01\0\0\0\0\x05" + varint(11), "written is 11, which is more than 10"),
        # Ten distances of 32 lead out of ten values.
        (b"\x04\x01\0\0\0\0\x05\x0a\x00\x00\x1f", "leads to value 319 of 10"),
        (b"\x04\x00\x05", "form of values is number 5"),
        (b"\x04\x00\x01\x00", "a table is empty"),
        (b"\x04\x00\x01" + varint(5000), "length is 5000, which is more than 4096"),
    ],
)
def test_damaged(data, message):
    with pytest.raises(DamagedError, match=message):
        parts.decode(Reader(data), 0, np.empty(40, np.uint8))
