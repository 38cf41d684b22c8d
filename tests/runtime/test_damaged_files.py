"""Files that someone cut, flipped or made: an error in words, never a crash or a hang here."""

import json
import random
import subprocess
import sys

import pytest

from tests.printed import assert_one_error_line
from tfcompress import inspect
from tfcompress.errors import InputError
from tfcompress.runtime import Metadata, load, process
from tfcompress.runtime.process import ProcessError

# What the check let through must not crash a process that goes on with it.
GO_ON = """
import json, sys
import numpy as np
from tfcompress.errors import InputError
from tfcompress.benchmark.file_summary import describe, summary_text
from tfcompress.runtime import load
from tfcompress.tflite import content
for path in json.load(sys.stdin):
    print(path, file=sys.stderr, flush=True)
    for work in (
        lambda: summary_text(describe(path, None), all_constants=True),
        lambda: load(path, check=False)(np.full((9, 7, 3), 100, np.uint8)),
    ):
        try:
            work()
        except InputError as error:
            assert "\\n" not in str(error), error
"""


@pytest.fixture(scope="module")
def wholes(tiny, tmp_path_factory):
    """The bytes of a float and an int8 file with metadata."""
    from tfcompress.tflite import metadata_writer

    said = Metadata(name="n", labels=tuple("abcde"), mean=(100.0,), std=(50.0,))
    found = []
    for path in (tiny.path, tiny.int8_path):
        copy = tmp_path_factory.mktemp("whole") / "m.tflite"
        copy.write_bytes(path.read_bytes())
        metadata_writer.write_metadata(copy, said)
        found.append(copy.read_bytes())
    return found


def structure(whole):
    """The places of a file where no weights stand: damage to those is just another net."""
    from ai_edge_litert import schema_py_generated as schema

    left = set(range(8, len(whole) - 4))
    for buffer in schema.ModelT.InitFromPackedBuf(whole, 0).buffers:
        values = bytes(buffer.data) if buffer.data is not None else b""
        if len(values) > 64 and b"M001" not in values:
            start = whole.index(values)
            left -= set(range(start, start + len(values)))
    return sorted(left)


def mutated(whole, places, chance):
    """Bytes with one kind of damage, behind the header, which is checked by itself."""
    data = bytearray(whole)
    kind = chance.randrange(5)
    at = chance.choice(places)
    if kind == 0:  # cut short
        return data[:at]
    if kind == 1:  # some bits
        for _ in range(chance.randrange(1, 9)):
            data[chance.choice(places)] ^= 1 << chance.randrange(8)
    elif kind == 2:  # a number that lies, where numbers stand
        at -= at % 4
        lie = chance.choice([0, 1, 0x7F, 0xFFFF, 2**20, 2**31 - 1, 2**32 - 1])
        data[at : at + 4] = lie.to_bytes(4, "little")
    elif kind == 3:  # a piece of noise
        size = chance.randrange(1, 64)
        data[at : at + size] = chance.randbytes(len(data[at : at + size]))
    else:  # a piece of itself, elsewhere
        size, other = chance.randrange(4, 200), chance.choice(places)
        piece = data[other : other + size]
        data[at : at + len(piece)] = piece
    return data


def outcomes(paths, seconds=30):
    """What the check makes of each file: None, what the runtime said, or how its process ended."""
    if not paths:
        return {}
    try:
        errors = process.ask(process.check_request(paths), timeout_s=seconds)["errors"]
    except ProcessError as error:
        at = [str(path) for path in paths].index(error.last["file"])
        found = {paths[at]: f"ended: {error.cause}"}
        return found | outcomes(paths[:at], seconds) | outcomes(paths[at + 1 :], seconds)
    return dict(zip(paths, errors, strict=True))


def tried(wholes, folder, count, seed):
    """Mutated files, as the check and what comes behind it take them."""
    chance = random.Random(seed)
    places = [structure(whole) for whole in wholes]
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.tflite")
        which = chance.randrange(len(wholes))
        paths[-1].write_bytes(mutated(wholes[which], places[which], chance))
    found = outcomes(paths)
    through = [str(path) for path in paths if found[path] is None]
    done = subprocess.run(
        [sys.executable, "-c", GO_ON], input=json.dumps(through), capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return found


def refused(path):
    """The words of `load` and of `inspect` for a file."""
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_forty(wholes, tmp_path, capsys):
    found = tried(wholes, tmp_path, 40, seed=1)
    bad = [path for path, said in found.items() if said is not None]
    assert 10 < len(bad) < 40
    for path in bad[:3]:
        assert str(path) in refused(path)


@pytest.mark.slow
def test_a_thousand(wholes, tmp_path):
    ended = {}
    for batch in range(10):
        folder = tmp_path / str(batch)
        folder.mkdir()
        found = tried(wholes, folder, 100, seed=100 + batch)
        ended |= {path: said for path, said in found.items() if said and said.startswith("ended")}
    for path in ended:
        assert "corrupt or made to" in refused(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "cut short or corrupt"),
        (lambda data: data[:4] + b"TFL2" + data[8:], "is not a .tflite file"),
        (lambda data: b"\xff\xff\xff\x7f" + data[4:], "cut short or corrupt: its root is at byte"),
        (lambda data: b"", "is empty"),
        (lambda data: b"PK\x03\x04" + bytes(100), "is not a .tflite file"),
    ],
)
def test_by_hand(wholes, tmp_path, capsys, change, message):
    path = tmp_path / "m.tflite"
    path.write_bytes(change(wholes[0]))
    assert message in refused(path)
    assert inspect.main(["inspect", str(path)]) == 2
    assert_one_error_line(capsys.readouterr(), message)
