import pytest

from tfcompress.errors import InputError
from tfcompress.pipeline.workspace import Workspace


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_writes(tmp_path):
    first = Workspace(tmp_path / "out", {"seed": 0}, {}, resume=True)
    second = Workspace(tmp_path / "out", {"seed": 0}, {}, resume=True)
    with first as space:
        space.begin()
        (space.folder / ".export-beside").mkdir()
        with pytest.raises(InputError, match="another run is writing into"), second:
            pass
        assert (space.folder / ".export-beside").exists()
    with second:
        second.begin()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".tfcompress", "config.json"}


def test_a_lock_that_a_killed_run_left_holds_nobody_off(tmp_path):
    (tmp_path / ".tfcompress.lock").write_text("")
    with Workspace(tmp_path, {}, {}, resume=True) as space:
        space.begin()
    assert not (tmp_path / ".tfcompress.lock").exists()
