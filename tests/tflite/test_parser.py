import threading

import pytest

from tests.attacks import attack
from tests.printed import assert_one_error_line
from tests.tflite.flatbuffers import flatbuffer, sharing
from tfcompress import inspect
from tfcompress.container import archive, ranges
from tfcompress.errors import InputError
from tfcompress.tflite import content, metadata, parser
from tfcompress.tflite.editor import Editor

SHARED = "its tables share their places and unfold to more than 2 times its size"
MIB = 2**20


def test_files_of_a_converter_are_read_as_ever(tiny):
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    for path in (tiny.path, tiny.int8_path):
        data = path.read_bytes()
        ours = parser.unpack(data, path)
        assert flatbuffer_utils.convert_object_to_bytearray(ours) == (
            flatbuffer_utils.convert_object_to_bytearray(schema.ModelT.InitFromPackedBuf(data, 0))
        )


@pytest.mark.parametrize("count", [95, 400])
def test_tables_that_share_their_places(tmp_path, count):
    """1,316 bytes took 8 s, and grew with the cube."""
    path = tmp_path / "m.tflite"
    path.write_bytes(sharing(count))
    assert path.stat().st_size < 13 * count + 200
    said, grown_bytes = attack(
        "content.read(sys.argv[1])", path, "from tfcompress.tflite import content"
    )
    assert said == f"{path} is corrupt or made to fill the memory: {SHARED}; " + (
        "export or download it again"
    )
    assert grown_bytes < 64 * MIB


def test_a_text_that_many_share():
    """Nearly a gigabyte of names, of 130 KB."""
    with pytest.raises(InputError, match=SHARED):
        parser.unpack(sharing(90, b"n" * 120_000), "m")


def test_all_who_parse(tmp_path, capsys):
    path = tmp_path / "m.tflite"
    data = sharing(90, b"n" * 20_000, metadata=1000)
    path.write_bytes(data)
    for parse in (
        content.read,
        metadata.read,
        Editor,
        lambda path: ranges.constants(data, str(path)),
        lambda path: archive.pack(path, tmp_path / "m.tfz"),
    ):
        with pytest.raises(InputError, match=SHARED):
            parse(path)
    assert inspect.main(["inspect", str(path)]) == 2
    assert_one_error_line(capsys.readouterr(), str(path))


def test_two_files_at_once_are_counted_apart():
    whole, errors = flatbuffer(), []

    def parse():
        try:
            for _ in range(50):
                parser.unpack(whole, "m")
        except InputError as error:
            errors.append(error)

    threads = [threading.Thread(target=parse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
