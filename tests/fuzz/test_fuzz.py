"""A few hundred inputs of the fuzzer, and that it finds what it is there to find."""

import os
import random
import subprocess
import sys

import pytest

from tests.fuzz import campaign, inputs, targets
from tfcompress.errors import InputError

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="measures memory in /proc"
)


def test_a_few_hundred_inputs(tmp_path):
    """In a process of its own, which forks: this one has threads."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inputs=300", "--seed=1", f"--keep={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "KERAS_BACKEND": "numpy"},  # Its import takes half as long.
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 inputs of seed 1" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def hungry(path, rng):
    return str(bytearray(600 << 20)[:1])


def busy(path, rng):
    while True:
        pass


def crash(path, rng):
    os.abort()


def traceback(path, rng):
    raise KeyError("no key")


def two_lines(path, rng):
    def read():
        raise InputError("one\ntwo")

    return targets.call(read)


def steering(path, rng):
    return targets.command(lambda argv: print("\x1b[2J") or 0)


def good(path, rng):
    assert path.read_bytes() == b"input"
    return "accepted"


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (hungry, "more than 512 MB"),
        (busy, "more than 0.2 s"),
        (crash, "the process ended with SIGABRT"),
        (traceback, "KeyError at test_fuzz.py"),
        (two_lines, "Broken not one short line"),
        (steering, "Broken control characters"),
    ],
)
def test_what_is_found(tmp_path, monkeypatch, read, kind):
    monkeypatch.setattr(campaign, "SECONDS", 0.2 if read is busy else 20.0)
    target = targets.Target("one", 100, "m.bin", lambda rng: b"input", read)
    summary = campaign.run(target, seed=3, numbers=[5], seconds=60, keep=tmp_path)
    assert (summary.inputs, summary.found) == (1, 1)
    assert [name.startswith(kind) for name in summary.kinds] == [True]
    assert (tmp_path / "one-3-5.bin").read_bytes() == b"input"
    assert "-m tests.fuzz --target=one --seed=3 --only=5" in (tmp_path / "one-3-5.txt").read_text()


def test_the_next_worker_goes_on_behind_a_crash(tmp_path):
    def sometimes(path, rng):
        return crash(path, rng) if rng.random() < 0.3 else good(path, rng)

    target = targets.Target("some", 100, "m.bin", lambda rng: b"input", sometimes)
    summary = campaign.run(target, seed=0, numbers=range(20), seconds=60, keep=tmp_path)
    assert summary.inputs == 20
    assert 0 < summary.found < 20
    assert summary.accepted == 20 - summary.found


def test_no_more_inputs_than_the_time_allows(tmp_path):
    target = targets.Target("one", 100, "m.bin", lambda rng: b"input", good)
    summary = campaign.run(target, seed=0, numbers=range(20), seconds=0, keep=tmp_path)
    assert (summary.inputs, summary.wanted) == (0, 20)


@pytest.mark.parametrize("name", ["load", "metadata", "unpack", "report", "settings", "checkpoint"])
def test_an_input_is_made_again_alone(name):
    make = targets.TARGETS[name].make
    first = [make(campaign.rng_of(name, 0, number)) for number in range(6)]
    assert [make(campaign.rng_of(name, 0, number)) for number in reversed(range(6))] == first[::-1]
    assert len(set(first)) > 3


def test_every_seed_is_accepted_as_it_is(tmp_path):
    """Else the fuzzer would change what is refused anyway."""
    for name, seeds in (
        ("inspect", [inputs.models()[name] for name in ("int8", "xnor_int8", "bit_ops_5")]),
        ("metadata", inputs.models().values()),
        ("unpack", inputs.containers()),
        ("checkpoint", [inputs.checkpoint()]),
    ):
        target = targets.TARGETS[name]
        for data in seeds:
            folder = tmp_path / "input"
            targets.clear(folder)
            path = folder / target.file
            path.write_bytes(data)
            assert target.read(path, random.Random(0)) == "accepted"
