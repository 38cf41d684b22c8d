import json
import os
import subprocess
import sys

import pytest

from tfcompress.benchmark import checkout
from tfcompress.benchmark.machine import int8_note, machine, machine_line

EPYC = {
    "cpu": "AMD EPYC 7B13",
    "features": ["AVX2"],
    "int8_dot_product": False,
    "cores": 2,
    "cores_total": 8,
    "commit": "0123456789ab+changes",
}


def test_machine_is_json_without_anybodys_paths():
    here = machine()
    assert json.loads(json.dumps(here)) == here
    assert {"cpu", "features", "int8_dot_product", "cores", "cores_total", "commit"} <= set(here)
    assert os.path.expanduser("~") not in json.dumps(here)
    assert os.getcwd() not in json.dumps(here)


def test_line():
    assert machine_line(EPYC) == "AMD EPYC 7B13 (AVX2), 2 of 8 cores, commit 0123456789ab+changes"
    # As a report of an older version has it, and as a system that says little.
    assert machine_line({"cpu": "AMD EPYC", "cores": 2}) == "AMD EPYC, 2 cores"
    assert machine_line({"cpu": None, "cores": None, "features": None}) == "an unnamed CPU, ? cores"


def test_int8_note():
    note = int8_note(EPYC)
    for words in ("int8 gains little or no time", "--storage=xnor", "cp, separable", "VNNI"):
        assert words in note
    fast = int8_note({**EPYC, "int8_dot_product": True, "features": ["AVX2", "VNNI", "AMX"]})
    assert "depends on the processor's 8-bit dot products (VNNI, AMX)" in fast
    assert "gains" not in fast
    assert int8_note({**EPYC, "int8_dot_product": None}) is None
    assert int8_note({"cpu": "AMD EPYC", "cores": 2}) is None  # Of an older version.
    arm = int8_note({**EPYC, "features": ["NEON"]})
    assert "little or no" not in arm


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A checkout of tfcompress with one commit."""
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    (tmp_path / "tfcompress" / "kernels" / "src").mkdir(parents=True)
    (tmp_path / "tfcompress" / "file.py").write_text("1\n")
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    (tmp_path / "experiments" / "results" / "runs.json").write_text("{}\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
    return tmp_path


def git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_commit(repository):
    head = git(repository, "rev-parse", "HEAD")
    assert checkout.commit_of(repository) == head[:12]
    # What an experiment wrote isn't what ran.
    (repository / "experiments" / "results" / "runs.json").write_text('{"a": 1}\n')
    (repository / "note.txt").write_text("a user's\n")
    assert checkout.commit_of(repository) == head[:12]
    (repository / "tfcompress" / "new.py").write_text("2\n")
    assert checkout.commit_of(repository) == f"{head[:12]}+changes"


def test_a_hooks_repository_is_not_asked(repository, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert checkout.commit_of(repository) is not None


def test_no_commit_of_somebody_elses_program(repository):
    """Such as a virtual environment within it, or a folder of the same name."""
    packages = repository / ".venv" / "lib" / "site-packages"
    (packages / "tfcompress" / "kernels" / "src").mkdir(parents=True)
    assert checkout.commit_of(packages) is None
    git(repository, "mv", "tfcompress", "other")
    assert checkout.commit_of(repository) is None


def test_no_commit_without_git_or_before_the_first(tmp_path, repository, monkeypatch):
    new = tmp_path / "new"
    (new / "tfcompress" / "kernels" / "src").mkdir(parents=True)
    git(new, "init", "-q")
    assert checkout.commit_of(new) is None
    monkeypatch.setenv("PATH", "/nonexistent")
    assert checkout.commit_of(repository) is None


def test_git_is_not_asked_at_import():
    code = (
        "import subprocess\n"
        "def refuse(*a, **k): raise AssertionError(a)\n"
        "subprocess.run = subprocess.Popen = refuse\n"
        "import tfcompress.benchmark, tfcompress.benchmark.machine"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
