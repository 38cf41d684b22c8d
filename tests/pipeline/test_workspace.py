import os
import socket

import pytest

from tfcompress.errors import InputError
from tfcompress.pipeline.workspace import Workspace


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_writes(tmp_path):
    first = Workspace(tmp_path / "out", {"seed": 0}, {}, resume=True)
    second = Workspace(tmp_path / "out", {"seed": 0}, {}, resume=True)
    with first as space:
        space.begin()
        said = rf"process {os.getpid()} on host {socket.gethostname()} has been writing since 20"
        with pytest.raises(InputError, match=said), second:
            pass
    with second:
        second.begin()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".tfcompress", "config.json"}
