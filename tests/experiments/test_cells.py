"""Cells of an experiment among processes: all are measured, each once, whoever dies on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cells
import pytest
from measurements import conduct, parser, single

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

# Each cell notes its process; one kills its process at the first try, one fails as often as told.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from measurements import conduct, parser, single
from page import Page

NOTES = Path(sys.argv[0]).parent / "notes"

def cell(name):
    path = NOTES / f"{name}.txt"
    with path.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    tries = len(path.read_text().split())
    if name == "dies" and tries == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "fails" and tries <= int(os.environ["FAILURES"]):
        raise RuntimeError("on purpose")
    time.sleep(0.2)
    return {"tries": tries}

def page_of(results):
    rows = [([key, str(row["tries"])], [key]) for key, row in results.rows.items()]
    return Page("Title", "Note.", ["cell", "tries"], rows)

NAMES = ["a", "dies", "b", "fails", "c", "d"]
conduct(parser("Toy.").parse_args(), [single(name, cell, name) for name in NAMES], page_of,
        timed=False)
"""


class Toy:
    """An experiment of six cells in a folder of its own."""

    def __init__(self, folder):
        self.folder, self.results = folder, folder / "results"
        (folder / "toy.py").write_text(SCRIPT)
        (folder / "notes").mkdir()

    def run(self, *flags, failures=0):
        paths = f"{EXPERIMENTS}:{EXPERIMENTS.parent}"
        return subprocess.run(
            [sys.executable, "toy.py", f"--output={self.results}", *flags],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": paths, "FAILURES": str(failures)},
            capture_output=True,
            text=True,
        )

    def tries(self):
        notes = (self.folder / "notes").iterdir()
        return {path.stem: len(path.read_text().split()) for path in notes}

    def rows(self):
        return json.loads((self.results / "runs.json").read_text())["rows"]


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


def counts(**more):
    return {"a": 1, "b": 1, "c": 1, "d": 1, "dies": 2, **more}


def test_all_cells_are_measured_once_but_what_died_or_failed(toy):
    failed = toy.run("--workers=2", failures=2)
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("error: 1 of 6 cells failed 2 times (fails)")
    assert f"one ended with status {-signal.SIGKILL}; another takes its place" in failed.stdout
    assert toy.tries() == counts(fails=2)
    assert set(toy.rows()) == {"a", "b", "c", "d", "dies"}
    # The same command tries what is missing.
    done = toy.run("--workers=2", failures=2)
    assert done.returncode == 0, done.stderr
    assert toy.tries() == counts(fails=3)
    # The record is that of the command that was given.
    for record in json.loads((toy.results / "runs.json").read_text())["made"]:
        assert record["command"].endswith("--workers=2")
    again = toy.run("--workers=2", "--again")
    assert again.returncode == 0, again.stderr
    assert toy.tries() == {"a": 2, "b": 2, "c": 2, "d": 2, "dies": 3, "fails": 4}
    assert toy.rows()["d"]["tries"] == 2
    assert sorted(path.name for path in toy.results.iterdir()) == ["README.md", "runs.json"]


def test_one_process_at_a_time_makes_what_several_need(tmp_path):
    path = tmp_path / "net.keras"
    with cells.making(path), cells.claim(tmp_path / ".net.keras.making") as second:
        assert not second
    with cells.claim(tmp_path / ".net.keras.making") as again:
        assert again
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "timed", "line"),
    [
        (["--workers=0"], False, "argument --workers: it takes a number from 1 on; got '0'"),
        (["--wrokers=2"], False, "unrecognized arguments: --wrokers=2"),
        (["--workers=2"], True, "takes times, which other work would disturb"),
        (["--study=nothing"], True, "takes times, which other work would disturb"),
        (["--study=nothing"], False, "--study=nothing: Could not parse SQLAlchemy URL"),
        (["--study=sqlite://", "--again"], False, "leave --again or --study out"),
    ],
)
def test_wrong_requests_are_one_line(tmp_path, capsys, flags, timed, line):
    steps = [single("a", pytest.fail, "measured")]

    def run():
        given = parser("Measures.").parse_args([f"--output={tmp_path}", *flags])
        conduct(given, steps, pytest.fail, timed=timed)

    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert line in said


def test_a_study_gives_each_cell_to_one_of_two_machines(toy, tmp_path):
    pytest.importorskip("optuna")
    # A file in place of a server; what happens between processes is the same.
    url = f"--study=sqlite:///{tmp_path}/study.db"
    (toy.folder / "notes" / "dies.txt").write_text("before\n")
    first = toy.run(url, "--workers=2", failures=1)
    assert first.returncode == 0, first.stderr
    tries = toy.tries()
    assert tries == counts(fails=2)
    # Another machine has another folder, and takes the rows of the first.
    other = toy.rows()
    toy.results = toy.folder / "other"
    second = toy.run(url)
    assert second.returncode == 0, second.stderr
    assert toy.rows() == other
    assert toy.tries() == tries
