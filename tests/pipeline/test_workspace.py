"""A run's folder: one run at a time, killed at any call, beside files of others."""

import dataclasses
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from tests.children import KILL_AT
from tfcompress.config import Distillation, Training
from tfcompress.errors import InputError
from tfcompress.pipeline.workspace import Workspace


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_writes(tmp_path):
    first = Workspace(tmp_path / "out", {"seed": 0}, {}, resume=True)
    # The same folder by another name.
    (tmp_path / "link").symlink_to(tmp_path / "out")
    second = Workspace(tmp_path / "link", {"seed": 0}, {}, resume=True)
    with first as space:
        space.begin()
        said = (
            rf"process {os.getpid()} on host {socket.gethostname()} has been writing since 20.* "
            r"into .*/link: wait for it, or choose another --output_dir"
        )
        with pytest.raises(InputError, match=said), second:
            pass
    with second:
        second.begin()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".tfcompress", "config.json"}


def test_a_run_that_does_not_begin_leaves_nothing(tmp_path):
    with Workspace(tmp_path / "deep" / "out", {}, {}, resume=True):
        assert (tmp_path / "deep" / "out" / ".tfcompress").exists()
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_whose_settings_are_gone_are_not_gone_on_with(tmp_path):
    for expected in (False, True, False):
        with Workspace(tmp_path, {"seed": 0}, {}, resume=True) as space:
            space.begin()
            assert space.checkpoint("baseline").exists() == expected
            space.checkpoint("baseline").write_text("weights")
        if expected:
            (tmp_path / "config.json").unlink()


def test_work_of_another_program_is_refused_and_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "run").write_text("a user's")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".tfcompress").symlink_to(tmp_path / "elsewhere")
    for resume in (True, False):
        with (
            pytest.raises(InputError, match="isn't a folder of this version of tfcompress"),
            Workspace(tmp_path / "out", {}, {}, resume=resume),
        ):
            pass
    assert (tmp_path / "elsewhere" / "run").read_text() == "a user's"
    assert (tmp_path / "out" / ".tfcompress").is_symlink()


def test_an_output_folder_that_is_a_broken_link(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "missing")
    with (
        pytest.raises(InputError, match="out can't be written"),
        Workspace(tmp_path / "out", {}, {}, resume=True),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# A run without its trainings, killed at the n-th call that changes the disk, for n in steps; then
# the same command again. What it leaves must be what an undisturbed run leaves.
KILLED_EVERYWHERE = """
    import fcntl, os, shutil, signal, sys
    from pathlib import Path
    from tfcompress import files, report
    from tfcompress.pipeline.workspace import Workspace

    folder, resume = Path(sys.argv[1]), sys.argv[2] == "resume"
    NAMES = ("baseline.tflite", "baseline.tfz")
    MINE = {"notes.txt", "mine.part", "compressed-mine.tflite"}

    def write_all(result, folder):
        for name in ("report.md", "report.json"):
            files.write(folder / name, '"report"')

    class Model:
        def save(self, path):
            path.write_text("model")

    report.write_all = write_all
    report.RunResult.from_json = lambda content: content

    def run(kind):
        with Workspace(folder, {}, {}, resume=resume, outputs=("baseline.keras", *NAMES)) as space:
            if space.finished():
                return
            space.begin()
            state = space.checkpoint("baseline")
            if not state.exists():
                files.write(state, "weights")
            assert state.read_text() == "weights"
            space.save_model(Model(), "baseline.keras")
            with space.writing(NAMES):
                for name in NAMES:
                    files.write(folder / name, name)
            space.finish(None)

    def content():
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def times():
        return {name: (folder / name).stat().st_mtime_ns for name in MINE}

    def forked(count):
        pid = os.fork()
        if pid:
            return os.waitpid(pid, 0)[1]
        os.fsync = lambda file: None  # The system isn't killed.
        calls = [(os, n) for n in ("mkdir", "replace", "rename", "fsync", "unlink", "rmdir")]
        kill_at(count, [*calls, (fcntl, "flock")])
        try:
            run("")
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(3)
        os._exit(0)

    folder.mkdir()
    for name in MINE:
        (folder / name).write_text("a user's")
    before = times()
    assert forked(10**9) == 0
    whole = content()
    assert whole.keys() == MINE | {"baseline.keras", *NAMES, "report.md", "report.json",
                                   "config.json"}
    for count in range(0, 1000, int(sys.argv[3])):
        if resume:
            for name in whole.keys() - MINE:
                (folder / name).unlink()
        first = forked(count)
        assert first in (0, signal.SIGKILL), (count, first)
        assert forked(10**9) == 0, count
        assert content() == whole, (count, content().keys() ^ whole.keys())
        assert not (folder / ".tfcompress").exists(), count
        assert times() == before
        if first == 0:
            print(count)
            break
"""


@pytest.mark.parametrize(
    ("how", "step"),
    [
        ("resume", 29),
        ("noresume", 29),
        *(pytest.param(how, 1, marks=pytest.mark.slow) for how in ("resume", "noresume")),
    ],
)
def test_killed_at_its_calls_a_run_ends_as_if_undisturbed(tmp_path, how, step):
    code = KILL_AT + textwrap.dedent(KILLED_EVERYWHERE)
    command = [sys.executable, "-c", code, str(tmp_path / "out"), how, str(step)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 100


def test_a_run_of_a_version_with_other_names_for_its_settings_goes_on(tmp_path):
    values = dataclasses.asdict(Training(epochs=3, distillation=Distillation(weight=0.4)))
    old = {key: value for key, value in values.items() if key != "distillation"}
    old |= {"distillation_weight": 0.4, "distillation_temperature": 4.0}
    settings = {"baseline_training": values, "compressed_training": {"prune": values}}
    recorded = {"baseline_training": old, "compressed_training": {"prune": old}}
    with Workspace(tmp_path, recorded, {}, resume=True) as space:
        space.begin()
    settings |= {"ranges": "minmax", "rounding": "nearest", "short_names": False}  # As before.
    with Workspace(tmp_path, settings, {}, resume=True):
        pass
    settings["compressed_training"]["prune"]["epochs"] = 4
    other = pytest.raises(InputError, match=r"other settings .baseline_training, compressed_train")
    with other, Workspace(tmp_path, settings, {}, resume=True):
        pass
