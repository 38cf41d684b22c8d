"""Whose files an output folder holds."""

import json
import os
import re
from pathlib import Path

import pytest

from tfcompress.errors import InputError
from tfcompress.pipeline import manifest
from tfcompress.pipeline.manifest import Manifest
from tfcompress.pipeline.workspace import Workspace

REPORT = {
    "technique": "xnor",
    "model": "vgg_small",
    "dataset": "d",
    "versions": {},
    "baseline": {"path": "baseline.tflite"},
    "compressed": {"path": "compressed.tflite"},
    "files": {"int8": {"path": "compressed.tflite"}, "xnor": {"path": "compressed-xnor.tflite"}},
}


@pytest.fixture
def written(tmp_path):
    """A folder in which a run wrote two files, and a user one."""
    folder = tmp_path / "out"
    folder.mkdir()
    ours = Manifest(folder, {"seed": 0}, {})
    ours.claim(["baseline.tflite", "compressed.tflite", "compressed-differs.tflite"])
    for name in ("baseline.tflite", "compressed.tflite"):
        (folder / name).write_text(name)
    ours.record(["baseline.tflite", "compressed.tflite", "compressed-differs.tflite"])
    (folder / "compressed-mine.tflite").write_text("a user's")
    return folder


def contents(folder):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(folder, message, **changes):
    """A run, with or without --noresume, is refused in one line and touches no file."""
    before = contents(folder)
    for resume in (True, False):
        space = Workspace(folder, {"seed": 0}, {}, **{"resume": resume, **changes})
        with pytest.raises(InputError, match=message) as caught, space:
            pass
        assert "\n" not in str(caught.value)
    assert contents(folder) == before


def test_removes_what_a_run_wrote_and_nothing_else(written):
    manifest.read(written).remove_files()
    assert {path.name for path in written.iterdir()} == {"compressed-mine.tflite", "config.json"}


def test_a_removal_that_is_cut_short_does_not_look_finished(written, monkeypatch):
    ours = manifest.read(written)
    ours.claim(["report.json"])
    (written / "report.json").write_text("{}")
    usual, removed = Path.unlink, []

    def cut(path, **named):
        if removed:
            raise OSError("killed")
        removed.append(path.name)
        usual(path, **named)

    monkeypatch.setattr(Path, "unlink", cut)
    with pytest.raises(OSError, match="killed"):
        ours.remove_files()
    assert removed == ["report.json"]


def test_a_name_that_no_run_wrote_is_refused(written):
    refused(written, "holds compressed-mine.tflite, which no run of tfcompress made",
            outputs=["compressed-mine.tflite"])  # fmt: skip
    # It was claimed, but never written.
    (written / "compressed-differs.tflite").write_text("a user's")
    refused(written, "which no run of tfcompress made", outputs=["compressed-differs.tflite"])


@pytest.mark.parametrize("change", ["content", "link", "folder"])
def test_a_file_that_its_user_changed_is_refused(written, change):
    path, other = written / "compressed.tflite", written.parent / "other"
    other.write_bytes(path.read_bytes())
    path.unlink()
    if change == "content":
        path.write_text("a user's")
    elif change == "link":
        path.symlink_to(other)
    else:
        path.mkdir()
    refused(written, "holds compressed.tflite, changed since a run of tfcompress wrote it")
    assert os.path.lexists(path)


def test_a_file_of_an_interrupted_stage_is_the_runs(written):
    manifest.read(written).claim(["compressed.tflite"])
    (written / "compressed.tflite").write_text("written, and not yet noted")
    manifest.read(written).remove_files()
    assert not (written / "compressed.tflite").exists()


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "nonsense",
        DEEP,
        '{"model_type": "bert", "files": {"report.json": null}}',
        '{"settings": {}, "versions": {}}',
        '{"settings": {}, "versions": {}, "tfcompress": "other", "files": {}}',
        *(
            json.dumps({"tfcompress": "run", "settings": {}, "versions": {}, "files": {name: None}})
            for name in ("../elsewhere", "/etc/passwd", "a/b", "..", ".hidden", "", "config.json")
        ),
    ],
)
def test_a_config_of_another_program_is_refused(tmp_path, content):
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("a user's")
    for name in ("report.json", "compressed.tflite", "compressed-1.tflite", "x.part"):
        (folder / name).write_text("{}")
    (folder / ".export-1").mkdir()
    (folder / "config.json").write_text(content)
    refused(folder, "holds a config.json, which no run of tfcompress made")
    assert (tmp_path / "elsewhere").exists()


def test_a_config_that_is_no_file_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InputError, match="which no run of tfcompress made"):
        manifest.read(tmp_path)


def test_a_huge_config_is_refused_unread(tmp_path):
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(InputError, match="which no run of tfcompress made"):
        manifest.read(tmp_path)


def test_a_finished_run_of_a_version_without_a_list(tmp_path):
    """It is still known by its report, shown again, and replaced as far as its report goes."""
    ours = {"compressed-xnor.tflite", "compressed-xnor.tfz", "baseline.keras", "report.md"}
    mine = {"compressed-mine.tflite", "compressed-xnor-differs.tflite", "notes.txt"}
    for name in ours | mine:
        (tmp_path / name).write_text("")
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / "config.json").write_text('{"settings": {"seed": 0}, "versions": {}}')
    with (
        Workspace(tmp_path, {"seed": 0}, {}, resume=True) as space,
        # Its report is read, and this short one lacks something.
        pytest.raises(InputError, match=re.escape("report.json is damaged")),
    ):
        space.finished()
    with Workspace(tmp_path, {"seed": 1}, {}, resume=False) as space:
        space.begin()
    assert {path.name for path in tmp_path.iterdir()} == mine | {"config.json", ".tfcompress"}


def test_a_report_cannot_lead_an_old_runs_removal_astray(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "mine.tflite").write_text("a user's")
    (folder / "mine.txt").write_text("a user's")
    paths = ("../mine.tflite", str(tmp_path / "mine.tflite"), "mine.txt", None, ["x"])
    files = {str(number): {"path": path} for number, path in enumerate(paths)}
    (folder / "report.json").write_text(json.dumps({**REPORT, "files": files}))
    (folder / "config.json").write_text('{"settings": {}, "versions": {}}')
    manifest.read(folder).remove_files()
    assert {path.name for path in folder.iterdir()} == {"mine.txt", "config.json"}
    assert (tmp_path / "mine.tflite").exists()
