import heapq

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from tfcompress.container import entropy, streams
from tfcompress.container.bytestream import CHUNK, DamagedError, Reader, pack_bits, varint


def through(symbols, alphabet, coder):
    data = streams.encode(symbols, alphabet, coder)
    reader = Reader(data)
    found = np.concatenate([[], *streams.decode(reader, len(symbols), alphabet)])
    assert reader.left == 0
    np.testing.assert_array_equal(found, symbols)
    return len(data)


@pytest.mark.parametrize("coder", ["best", *streams.CODERS])
@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1),
    count=strategies.integers(0, 2000),
    alphabet=strategies.sampled_from([1, 2, 3, 16, 255, 256, 257, 4096]),
    skew=strategies.sampled_from([0.1, 1.0, 30.0]),
)
def test_what_goes_in_comes_out(coder, seed, count, alphabet, skew):
    rng = np.random.default_rng(seed)
    symbols = np.minimum(rng.exponential(alphabet / skew, count), alphabet - 1).astype(int)
    through(symbols, alphabet, coder)


def test_more_than_a_chunk():
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 7, 2 * CHUNK + 5)
    for coder in streams.CODERS:
        through(symbols, 8, coder)


def naive_huffman_bits(counts):
    """The bits of a Huffman code, by merging the two rarest over and over."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        bits += both
        heapq.heappush(heap, both)
    return bits


@pytest.mark.parametrize("seed", range(4))
def test_huffman_against_merging_by_hand(seed):
    rng = np.random.default_rng(seed)
    symbols = np.minimum(rng.geometric(0.05 * (seed + 1), 20_000) - 1, 255)
    counts = np.bincount(symbols, minlength=256)
    lengths = entropy.code_lengths(counts)
    assert int(lengths.astype(int) @ counts) == naive_huffman_bits(counts)
    used = lengths[lengths > 0].astype(float)
    assert np.sum(2.0**-used) == 1
    # The payload is the codes and nothing else.
    table = 255 * int(lengths.max()).bit_length() / 8
    size = through(symbols, 256, "huffman")
    assert 0 <= size - naive_huffman_bits(counts) / 8 <= table + 10


def test_a_code_of_extreme_depth():
    # Fibonacci's numbers make the deepest of all Huffman trees.
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    lengths = entropy.code_lengths(np.array(counts))
    assert lengths.max() == 23
    through(np.repeat(np.arange(24), counts), 24, "huffman")


@pytest.mark.parametrize("shape", [0.02, 0.3, 0.9])
def test_ans_against_the_entropy(shape):
    rng = np.random.default_rng(1)
    symbols = np.minimum(rng.geometric(shape, 200_000) - 1, 255)
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / len(symbols)
    entropy = -np.sum(shares * np.log2(shares)) * len(symbols) / 8
    size = through(symbols, 256, "ans")
    assert entropy <= size <= 1.002 * entropy + 256


def test_fixed_width_by_hand():
    assert pack_bits(np.array([1, 2, 3, 0]), 2) == bytes([0b01101100])
    assert through(np.array([1, 2, 3, 0, 1]), 4, "bits") == 1 + 1 + 2
    # One symbol over and over takes nothing, whatever the coder.
    for coder in streams.CODERS:
        assert through(np.full(1000, 9), 16, coder) == 3


def test_best_is_the_shortest():
    rng = np.random.default_rng(2)
    for symbols in (
        rng.integers(0, 256, 3000),
        np.minimum(rng.geometric(0.2, 3000), 255),
        np.tile(rng.integers(0, 256, 100), 30),
    ):
        sizes = [through(symbols, 256, coder) for coder in streams.CODERS]
        assert through(symbols, 256, "best") == min(sizes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "where 0 are left"),
        (b"\x09", "coder is number 9 of 4"),
        (b"\x00\x08abc", "should take 10 bytes where 3 are left"),
        (b"\x00\x00\x07", "only symbol is 7, which is more than 3"),
        (b"\x00\x04" + b"\xff" * 5, "symbol 15 of 4"),
        (b"\x00" + b"\xff" * 12, "without an end"),
        # Two codes of two bits are no complete code.
        (b"\x01\x02\x02" + bytes([0b10100000]) + b"\x01a", "no complete code"),
        (b"\x01\x02\x01" + bytes([0b11000000]) + b"\x01a", "10 symbols in 1 bytes"),
        (b"\x02\x02\x01" + bytes([0b11000000]) + varint(1) + bytes(4), "can't be read"),
        (b"\x03\x04abcd", "can't be read"),
    ],
)
def test_damaged(data, message):
    with pytest.raises(DamagedError, match=message):
        list(streams.decode(Reader(data), 10, 4))


def test_a_frame_that_would_grow_is_not_unpacked():
    frame = streams.compress(bytes(10**7))
    with pytest.raises(DamagedError, match="isn't one of 100 bytes"):
        streams.Frame(Reader(varint(len(frame)) + frame), 100)
