"""Killed at random moments, a run ends in the files of the undisturbed one, and in no others."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from tfcompress import models

KILLS = 20
# A user's files beside a run's: names that a pattern might take for the run's leftovers.
MINE = ("notes.txt", ".compressed.tflite.part", "compressed-mine.tflite", ".export-mine/a.tflite")
# What differs between two runs that nobody disturbs, by a part of its name.
MEASURED = re.compile(
    r"created|seconds|(^|_)ms(_|$)|latency|memory|benchmarks|notes|settings_changed|load"
)
TIMES = ("step_ms", "seconds")


def started(pictures, folder, **options):
    """A whole run in a process group of its own: training, exports, benchmark, report."""
    command = [
        sys.executable, "-m", "tfcompress.run", f"--dataset=folder:{pictures}", "--image_size=16",
        "--technique=xnor", "--epochs=2", "--batch_size=4", "--set", "width=0.25",
        "--benchmark_runs=20", "--output_dir=out",
    ]  # fmt: skip
    options = {"stdout": subprocess.DEVNULL, **options}
    return subprocess.Popen(command, cwd=folder, start_new_session=True, **options)


def prepared(folder):
    """Puts a user's files into an output folder; returns what they are."""
    for name in MINE:
        path = folder / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (10**9, 10**9))
    return foreign(folder / "out")


def foreign(output):
    return {name: ((output / name).read_text(), (output / name).stat().st_mtime) for name in MINE}


def begun(process, output):
    """Waits until a run has begun to write; returns whether it is still at it."""
    while process.poll() is None and not (output / ".tfcompress" / "run").exists():
        time.sleep(0.02)
    return process.poll() is None


def without_times(value):
    """What a report says but for what was measured."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not MEASURED.search(k)}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def content(output):
    """By name, what an undisturbed run would leave there again."""
    found = {}
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        if path.is_dir() or name in MINE:
            found[name] = None
        elif path.suffix in (".tflite", ".tfz"):
            found[name] = path.read_bytes()
        elif path.suffix == ".keras":
            found[name] = [weight.tobytes() for weight in models.load(str(path)).get_weights()]
        elif name == "history.csv":
            rows = list(csv.DictReader(path.open()))
            found[name] = [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
        elif name == "report.json":
            found[name] = without_times(json.loads(path.read_text()))
        elif name == "config.json":
            config = json.loads(path.read_text())
            found[name] = config["settings"], config["versions"], sorted(config["files"])
        else:
            found[name] = path.stat().st_size > 0
    return found


def compare(whole, killed):
    assert killed.keys() == whole.keys()
    for name, expected in whole.items():
        assert killed[name] == expected, name


@pytest.mark.slow
def test_killed_at_random_moments(picture_folder, tmp_path):
    whole = tmp_path / "whole"
    before = prepared(whole)
    process = started(picture_folder, whole)
    assert begun(process, whole / "out")
    begin = time.monotonic()
    assert process.wait() == 0
    seconds = time.monotonic() - begin
    expected = content(whole / "out")
    assert not any(name.startswith(".tfcompress") for name in expected)
    seed = int(os.environ.get("TFCOMPRESS_KILL_SEED", 0))
    rng, kills, rounds = random.Random(seed), 0, 0
    while kills < KILLS:
        folder = tmp_path / f"round{rounds}"
        prepared(folder)
        moments = []
        while True:
            process = started(picture_folder, folder)
            # A run that was killed once or twice may end undisturbed.
            if kills < KILLS and len(moments) < 3 and rng.random() < (1.0, 0.5, 0.5)[len(moments)]:
                moment = rng.uniform(0, 1) * seconds
                if begun(process, folder / "out"):
                    time.sleep(moment)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    kills += 1
                    there = sorted(p.name for p in (folder / "out").iterdir())
                    moments.append(f"{moment:.1f} s ({len(there)} files)")
            if process.wait() == 0:
                break
            assert process.returncode == -signal.SIGKILL
        compare(expected, content(folder / "out"))
        assert foreign(folder / "out") == before
        rounds += 1
        at = ", ".join(moments) or "none"
        print(f"round {rounds}: kills at {at}, of {seconds:.1f} s; equal", flush=True)


@pytest.mark.slow
def test_two_runs_started_at_once(picture_folder, tmp_path):
    (tmp_path / "both").mkdir()
    pipe = {"stderr": subprocess.PIPE, "text": True}
    both = [started(picture_folder, tmp_path / "both", **pipe) for _ in range(2)]
    said = {process: process.communicate()[1] for process in both}
    good, refused = sorted(both, key=lambda process: process.returncode)
    assert (good.returncode, refused.returncode) == (0, 2)
    (line,) = said[refused].splitlines()
    assert line.startswith(f"error: process {good.pid} on host ")
    assert "has been writing since" in line
    assert "report.json" in content(tmp_path / "both" / "out")
