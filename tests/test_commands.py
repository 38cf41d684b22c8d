import errno

import pytest
from absl import flags

from tfcompress import commands, files
from tfcompress.errors import InputError


@pytest.fixture
def values():
    found = commands.new_flags()
    flags.DEFINE_integer("count", 1, "how many", flag_values=found)
    flags.DEFINE_string("a_name", None, "which", flag_values=found)
    return found


def test_arguments_and_flags(values):
    assert commands.parse_arguments(values, ["prog", "x", "--count=3", "y"], "usage") == ["x", "y"]
    assert values.count == 3


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_flags_as_they_were_defined(values, flag, capsys):
    assert commands.parse_arguments(values, ["prog", flag], "usage") is None
    assert capsys.readouterr().out == "usage\n  --count: how many\n  --a_name: which\n"


@pytest.mark.parametrize("word", ["--nope", "--count=many"])
def test_bad_flags(values, word):
    with pytest.raises(InputError, match="see --help"):
        commands.parse_arguments(values, ["prog", word], "usage")


def test_run_command(capsys):
    seen = []
    assert commands.run_command(seen.append, ["prog", "x"]) == 0
    assert seen == [["prog", "x"]]

    def wrong(argv):
        raise InputError("two\n  lines")

    assert commands.run_command(wrong, ["prog"]) == 2
    assert capsys.readouterr().err == "error: two lines\n"


def test_a_full_disk(capsys, tmp_path):
    def full(argv):
        with files.whole(tmp_path / "m.bin"):
            raise OSError(errno.ENOSPC, "anything")

    assert commands.run_command(full, ["prog"]) == 2
    said = f"error: {tmp_path}/m.bin can't be written: No space left on device\n"
    assert capsys.readouterr().err == said
    assert not list(tmp_path.iterdir())

    def other(argv):
        raise OSError(errno.ECHILD, "no child")

    with pytest.raises(OSError, match="no child"):
        commands.run_command(other, ["prog"])
