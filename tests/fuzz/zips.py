"""Changes to zip files: fields of their headers, other members, and members that unpack to much."""

import functools
import io
import random
import struct
import zipfile
import zlib

from tests.fuzz.mutate import ODD

# Of each kind of header: the places and sizes of its numbers, by its signature.
_FIELDS = {
    b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\1\2": ((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2),
                (42, 4)),
    b"PK\5\6": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}  # fmt: skip
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_BLOCK = 1 << 20
# More than the memory that a reader may take.
BOMB_BYTES = 768 << 20


def fields_changed(data: bytes, rng: random.Random) -> bytes:
    """A zip with one to three numbers of its headers changed."""
    content = bytearray(data)
    places = [
        (at + offset, size)
        for name, fields in _FIELDS.items()
        for at in _all(data, name)
        for offset, size in fields
        if at + offset + size <= len(data)
    ]
    for at, size in rng.sample(places, min(len(places), rng.choice((1, 1, 2, 3)))):
        (old,) = struct.unpack_from({2: "<H", 4: "<I"}[size], content, at)
        new = rng.choice((*ODD, old + 1, old - 1, old ^ 8, old * 2, 8, 12, 14))
        content[at : at + size] = (new % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(content)


def _all(data: bytes, name: bytes):
    at = data.find(name)
    while at >= 0:
        yield at
        at = data.find(name, at + 1)


def rezipped(members: list[tuple[str, bytes]], rng: random.Random, before: bytes = b"") -> bytes:
    """A right zip of these members, by any method, behind other bytes."""
    packed = io.BytesIO()
    packed.write(before)
    with zipfile.ZipFile(packed, "a", rng.choice(_METHODS)) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, archive.compression)
    return packed.getvalue()


def members_of(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


@functools.cache
def zeros(start: bytes = b"") -> tuple[bytes, int]:
    """What deflates to a start and `BOMB_BYTES` of zeros behind it, and the CRC of that."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = coder.compress(start) + coder.flush(zlib.Z_FULL_FLUSH)
    piece = coder.compress(bytes(_BLOCK)) + coder.flush(zlib.Z_FULL_FLUSH)
    crc = zlib.crc32(start)
    for _ in range(BOMB_BYTES // _BLOCK):
        crc = zlib.crc32(bytes(_BLOCK), crc)
    return head + piece * (BOMB_BYTES // _BLOCK) + coder.flush(), crc


def bomb(name: str, *, start: bytes = b"", said: int | None = None, before: bytes = b"") -> bytes:
    """A zip of one member that unpacks to a start and `BOMB_BYTES` of zeros.

    Args:
        name: of the member.
        start: of the member.
        said: the size that the headers say; None for the right one.
        before: what stands before the zip.
    """
    packed, crc = zeros(start)
    size = len(start) + BOMB_BYTES if said is None else said
    numbers = struct.pack("<HHHHIII", 0, 8, 0, 0, crc, len(packed), size)
    name_bytes = name.encode()
    local = b"PK\3\4" + struct.pack("<H", 20) + numbers + struct.pack("<HH", len(name_bytes), 0)
    central = b"PK\1\2" + struct.pack("<HH", 20, 20) + numbers
    central += struct.pack("<HHHHHII", len(name_bytes), 0, 0, 0, 0, 0, len(before)) + name_bytes
    content = before + local + name_bytes + packed
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(content), 0)
    return content + central + end
