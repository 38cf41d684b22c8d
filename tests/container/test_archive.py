import hashlib
import lzma
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from tests.attacks import attack
from tests.printed import assert_one_error_line
from tests.tflite.flatbuffers import flatbuffer
from tfcompress import pack
from tfcompress.container import archive, ranges, streams, whole
from tfcompress.errors import InputError
from tfcompress.runtime import LiteModel


def like_pruned_and_clustered(data):
    """A file with most floats of each constant zero and the others of eight values."""
    changed = bytearray(data)
    for one in ranges.constants(data, "f"):
        part = slice(one.start, one.start + one.size_bytes)
        values = np.frombuffer(data[part], "<f4" if one.width == 4 else np.int8).copy()
        step = np.abs(values).max() / 4
        values = (np.rint(values / step) * step).astype(values.dtype)
        values[np.abs(values) < 1.5 * step] = 0
        changed[part] = values.tobytes()
    return bytes(changed)


@pytest.fixture(scope="module")
def small():
    """A file that has each form of a constant."""
    rng = np.random.default_rng(0)
    sparse = rng.standard_normal((40, 50)).astype("float32")
    sparse[rng.random(sparse.shape) < 0.9] = 0
    clustered = rng.standard_normal(16).astype("float32")[rng.integers(0, 16, 900)]
    return flatbuffer(
        sparse=sparse,
        clustered=clustered,
        integers=rng.integers(-20, 20, 700).astype("int8"),
        halves=rng.standard_normal(300).astype("float16"),
        shape=np.array([1, 2, 3], "int32"),
    )


@pytest.mark.parametrize("coder", archive.CODERS)
def test_the_same_bits(tiny, tmp_path, coder):
    path, target, again = tmp_path / "m.tflite", tmp_path / "m.tfz", tmp_path / "again.tflite"
    for source in (tiny.path, tiny.int8_path):
        data = source.read_bytes()
        # As it is, pruned and clustered, and with an archive of metadata behind the flatbuffer.
        for variant in (data, like_pruned_and_clustered(data), data + b"PK\x05\x06" + bytes(18)):
            path.write_bytes(variant)
            sizes = archive.pack(path, target, coder=coder)
            assert sizes == (len(variant), target.stat().st_size)
            assert archive.unpack(target, again) == len(variant)
            assert again.read_bytes() == variant


def test_ranges_are_the_constants(small):
    found = {one.name: one for one in ranges.constants(small, "f")}
    assert set(found) == {"sparse", "clustered", "integers", "halves"}  # `shape` is too short.
    assert {name: one.width for name, one in found.items()} == {
        "sparse": 4,
        "clustered": 4,
        "integers": 1,
        "halves": 2,
    }
    one = found["sparse"]
    values = np.frombuffer(small[one.start : one.start + one.size_bytes], "<f4")
    assert np.mean(values == 0) == pytest.approx(0.9, abs=0.03)


def test_says_how_each_constant_is_written(small):
    found, parts = archive.unpack_bytes(archive.pack_bytes(small))
    assert found == small
    places = ranges.constants(small, "f")
    assert [(p.start, p.size_bytes) for p in parts] == [(c.start, c.size_bytes) for c in places]
    forms = {place.name: part for place, part in zip(places, parts, strict=True)}
    assert forms["sparse"].gap_bits
    assert forms["sparse"].written < 300
    assert forms["clustered"].table_values == 16
    assert sum(part.packed_bytes for part in parts) < len(archive.pack_bytes(small))


def test_smaller_than_gzip(tiny):
    data = like_pruned_and_clustered(tiny.path.read_bytes())
    import gzip

    assert len(archive.pack_bytes(data)) < len(gzip.compress(data, 9))


def like_constants(count, kind):
    """A file whose constants are all the same noise."""
    one = np.random.default_rng(0).standard_normal(1000).astype("float32") * 40
    return flatbuffer(**{f"w{number}": one.astype(kind) for number in range(count)})


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_never_larger_than_gzip(kind, count):
    """But for the SHA-256, which gzip hasn't: 24 bytes at most."""
    import gzip

    data = like_constants(count, kind)
    container = archive.pack_bytes(data)
    assert len(container) <= len(gzip.compress(data, 9)) + 24
    assert archive.unpack_bytes(container)[0] == data
    by_constants = archive.pack_bytes(data, coder="ans")
    if count > 1:  # What they have in common is found only where the file is coded as a whole.
        assert container[3] == archive.AS_A_WHOLE
        assert len(container) < len(by_constants) / 2
    assert archive.unpack_bytes(by_constants)[0] == data


@pytest.mark.parametrize("coder", whole.CODERS)
def test_damage_of_a_file_coded_as_a_whole(small, coder):
    made = archive._head(archive.AS_A_WHOLE, small) + whole.encode(coder, small)
    assert archive.unpack_bytes(made) == (small, [])
    chance = random.Random(5)
    for number in range(60):
        damaged = bytearray(made)
        if number % 3 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            damaged[chance.randrange(4, len(damaged))] ^= 1 << chance.randrange(8)
        with pytest.raises(InputError, match=r"^m.tfz"):
            archive.unpack_bytes(bytes(damaged), "m.tfz", max_bytes=2 * len(small))
    with pytest.raises(InputError, match="damaged"):
        archive.unpack_bytes(made + b"x")


def test_a_container_of_version_1_is_still_written_and_read(small):
    """As every release has written it: other programs read the files of most networks."""
    assert archive.pack_bytes(small)[:4] == b"TFZ\x01"


def test_loads_and_predicts(tiny, tmp_path):
    path, restored = tmp_path / "m.tfz", tmp_path / "restored.tflite"
    archive.pack(tiny.path, path)
    archive.unpack(path, restored)
    model = LiteModel(restored, threads=2)
    x = np.random.default_rng(3).standard_normal((3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x), LiteModel(tiny.path).predict(x))


def test_damage(small):
    """No container that was damaged gives a file, an endless wait or another error."""
    chance = random.Random(11)
    whole = {coder: archive.pack_bytes(small, coder=coder) for coder in archive.CODERS}
    messages = set()
    for number in range(250):
        damaged = bytearray(whole[archive.CODERS[number % len(archive.CODERS)]])
        if number % 5 == 4:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            for _ in range(1 + number % 3):
                damaged[chance.randrange(4, len(damaged))] ^= 1 << chance.randrange(8)
        if bytes(damaged) in whole.values():
            continue
        try:
            found, _ = archive.unpack_bytes(bytes(damaged), "m.tfz", max_bytes=2 * len(small))
        except InputError as error:
            messages.add(str(error))
        else:
            assert found == small  # A bit that nothing depends on, such as a frame's flag.
    assert len(messages) > 10
    assert all(text.startswith("m.tfz") and "\n" not in text for text in messages)


def lying(size, count, *rest):
    numbers = [number if isinstance(number, bytes) else _varint(number) for number in rest]
    return b"TFZ\x01" + bytes(32) + _varint(size) + _varint(count) + b"".join(numbers)


def _varint(number):
    from tfcompress.container.bytestream import varint

    return varint(number)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short or damaged"),
        (b"TFL3abcdefgh", "is not a .tfz container: it should begin with TFZ"),
        (b"TFZ\x03" + bytes(60), "container of version 3; this program reads versions up to 2"),
        (b"TFZ\x00" + bytes(60), "container of version 0; this program reads versions up to 2"),
        (b"TFZ\x02" + bytes(32) + b"\x09", "the file.s coder should take 1 bytes"),
        (b"TFZ\x02" + bytes(32) + b"\x09\x02abc", "file's coder is number 2 of 2"),
        (b"TFZ\x02" + bytes(32) + b"\x09\x00\xff\xff", "file's deflate stream can't be read"),
        (b"TFZ\x02" + bytes(32) + b"\x09\x01\x01\x00\x00\x7f", "file's lzma stream"),
        (b"TFZ\x02" + bytes(32) + b"\x09" + whole.encode("lzma", bytes(800)), "isn't one of 9 byt"),
        (b"TFZ\x02" + bytes(32) + b"\x09" + whole.encode("deflate", bytes(8)), "isn't one of 9 "),
        (lying(1 << 40, 0), r"holds a file of 1,099,511,627,776 bytes, more than 1,000"),
        # No constant of less than 256 bytes is packed by itself.
        (lying(1000, 4), "number of constants is 4, which is more than 3"),
        (lying(1000, 1, 950, 60), "constant's size is 60, which is more than 50"),
        (lying(1000, 1, 1001), "constant's place is 1001, which is more than 1000"),
        # Bytes of zeros that nothing in the file vouches for.
        (lying(300, 1, 0, 300, b"\x01\x00\x00\x00\x00\x00"), "zstandard frame"),
        (b"TFZ\x02" + bytes(32) + b"\xe8\x07\x00", "file's deflate stream isn't one of 1000 bytes"),
    ],
)
def test_lies(data, message):
    with pytest.raises(InputError, match=message):
        archive.unpack_bytes(data, "m.tfz", max_bytes=1000)


def test_another_file_than_was_packed(small):
    made = bytearray(archive.pack_bytes(small))
    made[4:36] = hashlib.sha256(b"another").digest()
    with pytest.raises(InputError, match="hasn't the SHA-256 of what was packed"):
        archive.unpack_bytes(bytes(made))


def test_command(small, tmp_path, capsys):
    path, target, again = tmp_path / "m.tflite", tmp_path / "m.tfz", tmp_path / "again.tflite"
    path.write_bytes(small)
    assert pack.main(["pack", str(path), str(target)]) == 0
    assert "times smaller" in capsys.readouterr().out
    assert pack.main(["pack", "--unpack", str(target), str(again)]) == 0
    assert again.read_bytes() == small
    capsys.readouterr()
    link = tmp_path / "link.tflite"
    link.symlink_to(path)
    for words, message in (
        ([], "give a file to read and one to write; got 0"),
        ([str(tmp_path / "none.tflite"), str(target)], "no such file"),
        ([str(target), str(again)], "m.tfz is a .tfz container already: --unpack"),
        ([str(path), str(path)], "m.tflite is the file that is read: give another name to write"),
        ([str(path), str(link)], "link.tflite is the file that is read: give another name"),
        (["--unpack", str(target), str(target)], "m.tfz is the file that is read: give another"),
        (["--unpack", str(path), str(again)], "is not a .tfz container"),
        (["--unpack", str(target), str(tmp_path / "no" / "m.tflite")], "can't be written"),
        (["--coder=lzma", str(path), str(target)], "coder must be one of best, bits"),
        (["--unpack", "--max_bytes=99", str(target), str(again)], "more than 99"),
    ):
        assert pack.main(["pack", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
    assert path.read_bytes() == again.read_bytes() == small


def test_unpacking_needs_neither_keras_nor_tensorflow_nor_the_runtime(small, tmp_path):
    path = tmp_path / "m.tfz"
    path.write_bytes(archive.pack_bytes(small))
    code = (
        "import sys\n"
        "from tfcompress.container import archive\n"
        "archive.unpack(sys.argv[1], sys.argv[1] + '.tflite')\n"
        "print([n for n in ('keras', 'tensorflow', 'ai_edge_litert') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


MIB = 2**20
CLAIM = 64 * MIB
# A stream of one symbol, which takes no bits; and one of ANS, whose first takes next to none.
SAME = b"\x00\x00\x07"
ANS = b"\x02" + _varint(2) + _varint(7) + bytes([0b00000011, 0b00001000]) + _varint(1) + b"\1\0\0\0"


def zstd(size):
    frame = streams.compress(bytes(size), 1)
    return _varint(len(frame)) + frame


def claiming(constant, rest=0):
    """A container that claims a file of 64 MiB; one constant is all but `rest` bytes of it."""
    frame = zstd(rest)
    return lying(CLAIM, 1, 0, CLAIM - rest, constant, frame)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("dense bytes", 1),
        ("dense values", 1),
        ("sparse bytes", 2),
        ("sparse values", 1.25),
        ("shared values", 1),
        ("ans", 1),
        ("zstd", 1),
        ("rest", 1),
        ("deflate", 1),
        ("lzma", 2),
    ],
)
def test_small_containers_that_claim_a_large_file(tmp_path, kind, most):
    """71 bytes took 1,185 MB for 64 MiB."""
    sparse = b"\x01\x01\x00\x04" + _varint(CLAIM) + b"\x00\x00\x00\x00" + SAME
    wide = b"\x04\x01" + bytes(4) + b"\x04" + _varint(CLAIM // 4) + b"\x00\x00\x00\x00" + 4 * SAME
    made = {
        "dense bytes": lambda: claiming(b"\x01\x00\x00" + SAME),
        "dense values": lambda: claiming(b"\x04\x00\x00" + 4 * SAME),
        "sparse bytes": lambda: claiming(sparse),
        "sparse values": lambda: claiming(wide),
        "shared values": lambda: claiming(b"\x04\x00\x01" + _varint(2) + 4 * SAME + b"\0\0\1"),
        "ans": lambda: claiming(b"\x01\x00\x00" + ANS),
        "zstd": lambda: claiming(b"\x01\x00\x00\x03" + zstd(CLAIM)),
        "rest": lambda: claiming(b"\x01\x00\x00" + SAME, CLAIM - 256),
        "deflate": lambda: _whole("deflate"),
        "lzma": lambda: _whole("lzma"),
    }[kind]()
    assert len(made) < 70_000
    path = tmp_path / "m.tfz"
    path.write_bytes(made)
    said, grown_bytes = attack(
        "archive.unpack(sys.argv[1], sys.argv[1] + '.tflite')",
        path,
        "import constriction, zstandard\nfrom tfcompress.container import archive",
    )
    assert said.startswith(f"{path} is damaged: what it holds hasn't the SHA-256")
    assert grown_bytes < most * CLAIM + 24 * MIB
    assert os.listdir(tmp_path) == ["m.tfz"]


def _whole(coder):
    made = b"\x00" + whole.deflate(bytes(CLAIM))
    if coder == "lzma":  # Its quickest level, which the same reader takes.
        quick = [{**whole._filters(CLAIM)[0], "preset": 0}]
        made = b"\x01" + lzma.compress(bytes(CLAIM), lzma.FORMAT_RAW, filters=quick)
    return b"TFZ\x02" + bytes(32) + _varint(CLAIM) + made


def test_a_few_bytes_for_a_file_of_any_size(tmp_path, capsys):
    path, target = tmp_path / "m.tfz", tmp_path / "m.tflite"
    path.write_bytes(lying(2**31, 1, 0, 2**31, b"\x01\x00\x00" + SAME))
    assert pack.main(["pack", "--unpack", str(path), str(target)]) == 2
    assert_one_error_line(capsys.readouterr(), "2,147,483,648 bytes, more than 67,108,864; --max_")
    zeros = flatbuffer(zeros=np.zeros(1 << 16, "int8"))
    path.write_bytes(archive.pack_bytes(zeros))
    assert archive.unpack(path, target) == len(zeros)
    with open(path, "r+b") as file:
        file.truncate(3000 * MIB)
    with pytest.raises(InputError, match="has 3,145,728,000 bytes, more than the container of"):
        archive.unpack(path, target, max_bytes=MIB)


def test_what_is_no_file(tmp_path, capsys):
    """A pipe that nobody writes to, and a device that never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero", str(tmp_path)):
        for words in (["--unpack", path], [path]):
            assert pack.main(["pack", *words, str(tmp_path / "m")]) == 2
            assert_one_error_line(capsys.readouterr(), f"{path} is not a file")
