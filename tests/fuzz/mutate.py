"""Changes to bytes: bits, numbers, offsets, lengths, pieces; all from one seeded generator."""

import random
import struct

ODD = [0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 65535, 65536, 2**20, 2**24, 2**28, 2**30,
       2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip
# Runs of bytes longer than this are values of weights, where a change is just another net.
_WEIGHTS = 64


def changed(data: bytes, others: list[bytes], rng: random.Random, places: list[int]) -> bytes:
    """Bytes with one to four changes of any kind.

    Args:
        data: what is changed.
        others: what pieces are taken from.
        rng: decides all.
        places: where numbers stand, as `structure` gives them; changes happen there above all.
    """
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if not content:
            break
        near = rng.random() < 0.85 and places
        at = min(rng.choice(places) if near else rng.randrange(len(content)), len(content) - 1)
        rng.choice(_CHANGES)(content, at, others, rng)
    return bytes(content)


def flip(content, at, others, rng):
    for _ in range(rng.choice((1, 1, 2, 8))):
        content[min(at + rng.randrange(8), len(content) - 1)] ^= 1 << rng.randrange(8)


def put_number(content, at, others, rng):
    size = rng.choice((1, 2, 4, 4, 4, 8))
    at -= at % size
    number = rng.choice(ODD) if rng.random() < 0.8 else rng.randrange(2 ** (8 * size))
    content[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")


def nudge(content, at, others, rng):
    at -= at % 4
    if at + 4 <= len(content):
        (number,) = struct.unpack_from("<I", content, at)
        number += rng.choice((-256, -8, -4, -2, -1, 1, 2, 4, 8, 256, len(content)))
        struct.pack_into("<I", content, at, number % 2**32)


def point_elsewhere(content, at, others, rng):
    """Makes an offset of a flatbuffer lead to where another one leads, or anywhere."""
    offsets = [place for place in range(0, len(content) - 3, 4) if leads(content, place)]
    if not offsets:
        return
    place = min(offsets, key=lambda offset: abs(offset - at))
    other = rng.choice(offsets)
    target = other + struct.unpack_from("<I", content, other)[0]
    if rng.random() < 0.3:
        target = rng.randrange(len(content))
    struct.pack_into("<I", content, place, (target - place) % 2**32)


def leads(content, place):
    """Whether a number could be the offset of a flatbuffer."""
    (number,) = struct.unpack_from("<I", content, place)
    return 4 <= number <= len(content) - place - 4


def cut(content, at, others, rng):
    del content[at:]


def leave_out(content, at, others, rng):
    del content[at : at + rng.choice((1, 2, 4, 8, 64, 1024))]


def repeat(content, at, others, rng):
    piece = bytes(content[at : at + rng.choice((1, 4, 16, 256))])
    content[at:at] = piece * rng.choice((1, 2, 100))


def noise(content, at, others, rng):
    size = rng.choice((1, 4, 16, 64))
    content[at : at + size] = rng.randbytes(size)


def fill(content, at, others, rng):
    size = min(rng.choice((4, 16, 64)), len(content) - at)
    content[at : at + size] = bytes([rng.choice((0, 1, 127, 128, 255))]) * size


def splice(content, at, others, rng):
    """Goes on with another file, from the same place or another."""
    other = rng.choice(others)
    start = at if rng.random() < 0.5 else rng.randrange(len(other) + 1)
    content[at:] = other[start:]


def transplant(content, at, others, rng):
    """Writes a piece of another file over this one's."""
    other = rng.choice(others)
    start = rng.randrange(len(other) + 1)
    piece = other[start : start + rng.choice((4, 8, 32, 128))]
    content[at : at + len(piece)] = piece


_CHANGES = (
    flip, flip, put_number, put_number, put_number, nudge, nudge, point_elsewhere,
    point_elsewhere, cut, leave_out, repeat, noise, fill, splice, transplant,
)  # fmt: skip


def structure(data: bytes) -> list[int]:
    """The places of a `.tflite` file where no weights stand."""
    from ai_edge_litert import schema_py_generated as schema

    left = bytearray(b"\1" * len(data))
    for buffer in schema.ModelT.InitFromPackedBuf(data, 0).buffers:
        values = bytes(buffer.data) if buffer.data is not None else b""
        if len(values) > _WEIGHTS and b"M001" not in values:
            start = data.index(values)
            left[start : start + len(values)] = bytes(len(values))
    return [place for place, free in enumerate(left) if free]
