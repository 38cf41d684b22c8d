"""The user's own model files: those that can't be read say why, in one line."""

import keras
import pytest

from tests.test_run import error_of
from tfcompress.errors import InputError
from tfcompress.models import saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a small model by the ending of its file."""
    folder = tmp_path_factory.mktemp("models")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(300)])
    for ending in (".keras", ".h5"):
        model.save(folder / f"m{ending}")
    return {ending: (folder / f"m{ending}").read_bytes() for ending in (".keras", ".h5")}


def bad_file(folder, ending, content):
    path = folder / f"bad{ending}"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_file_that_is_cut_short(whole, tmp_path, ending, share):
    content = whole[ending]
    name = bad_file(tmp_path, ending, content[: int(share * len(content))])
    with pytest.raises(InputError, match=rf"bad{ending} is cut short or damaged.*; get or save"):
        saved.load(name)


def test_a_file_with_other_bytes(whole, tmp_path):
    content = bytearray(whole[".keras"])
    content[len(content) // 2] ^= 255
    name = bad_file(tmp_path, ".keras", content)
    with pytest.raises(InputError, match=r"is cut short or damaged .*CRC.*; get or save it again"):
        saved.load(name)


def test_the_command_says_so_at_once(whole, tmp_path, capsys):
    name = bad_file(tmp_path, ".keras", whole[".keras"][:-1])
    assert f"{name} is cut short or damaged; get" in error_of(capsys, f"--model={name}")
