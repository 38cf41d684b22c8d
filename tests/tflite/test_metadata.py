import random

import pytest

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
