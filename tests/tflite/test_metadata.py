import io
import random
import zipfile

import pytest

from tests.attacks import attack
from tfcompress.errors import InputError
from tfcompress.tflite.metadata import Metadata, read


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"mean": (1.0,)}, "as many means as positive deviations"),
        ({"mean": (1.0,), "std": (0.0,)}, "as many means as positive deviations"),
        ({"mean": (float("nan"),), "std": (1.0,)}, "as many means as positive deviations"),
        ({"labels": ("a", "b\nc")}, "a label is one line of text"),
        ({"labels": ("",)}, "a label is one line of text"),
    ],
)
def test_refused(said, message):
    with pytest.raises(InputError, match=message):
        Metadata(**said)


def test_lists_become_tuples():
    assert Metadata(labels=["a"], mean=[1], std=[2]) == Metadata(labels=("a",), mean=(1,), std=(2,))


def test_a_file_without(tiny):
    assert read(tiny.path) is None


@pytest.fixture(scope="module")
def said(tiny, tmp_path_factory):
    """A file with metadata."""
    from tfcompress.tflite import metadata_writer

    path = tmp_path_factory.mktemp("said") / "said.tflite"
    path.write_bytes(tiny.path.read_bytes())
    metadata_writer.write_metadata(
        path, Metadata(name="n", labels=tuple("abcde"), mean=(1.0,), std=(2.0,))
    )
    return path


def test_any_corruption_is_an_input_error(said, tmp_path):
    """Bytes of the metadata, and of the labels behind the model."""
    whole = said.read_bytes()
    start = whole.index(b"M001") - 4
    places = [*range(start, start + 600), *range(len(whole) - 200, len(whole))]
    chance = random.Random(3)
    path = tmp_path / "flipped.tflite"
    messages = []
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[chance.choice(places)] = chance.randrange(256)
        path.write_bytes(flipped)
        try:
            read(path)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert not any("\n" in message for message in messages)


def test_a_label_file_that_would_fill_the_memory(said, tmp_path):
    whole = bytearray(said.read_bytes())
    at = whole.index(b"PK\x01\x02")  # The zip's directory: the unpacked size is at byte 24.
    whole[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    path = tmp_path / "bomb.tflite"
    path.write_bytes(whole)
    with pytest.raises(InputError, match="the label file has 2,147,483,648 bytes"):
        read(path)


def with_zip(said, path, text, method=zipfile.ZIP_DEFLATED, more=0):
    """Writes the model with another zip of labels behind it."""
    whole = said.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("labels.txt", text)
        for number in range(more):
            archive.writestr(f"{number}", "")
    path.write_bytes(whole[: whole.rindex(b"PK\x03\x04")] + packed.getvalue())
    return path


def test_labels_that_are_packed_are_read(said, tmp_path):
    path = with_zip(said, tmp_path / "m.tflite", "v\nw\nx\ny\nz")
    assert read(path).labels == tuple("vwxyz")


def test_a_label_file_that_is_larger_than_it_says(said, tmp_path):
    """612 KB of deflated zeros that say that they are ten bytes took 1.2 GB."""
    path = with_zip(said, tmp_path / "m.tflite", bytes(2**27))
    whole = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = whole.rindex(mark) + at
        whole[start : start + 4] = (10).to_bytes(4, "little")
    path.write_bytes(whole)
    call = "metadata.read(sys.argv[1])"
    text, grown_bytes = attack(call, path, "from tfcompress.tflite import metadata")
    assert text.startswith(f"{path} is cut short or corrupt (its metadata: Bad CRC-32")
    assert grown_bytes < 64 * 2**20


def test_zips_that_no_reader_of_metadata_takes(said, tmp_path):
    """`zipfile` unpacks these methods without a limit; each file of a zip takes half a kilobyte."""
    path = with_zip(said, tmp_path / "m.tflite", "a\nb", zipfile.ZIP_BZIP2)
    with pytest.raises(InputError, match="packed by method 12, not stored or deflated"):
        read(path)
    with pytest.raises(InputError, match="its zip has more than 1000 files"):
        read(with_zip(said, path, "a\nb", more=1000))
