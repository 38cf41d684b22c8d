"""This room's tests without their cached converter, which could hide that a second call differs."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.export.conftest import UNCACHED
from tfcompress.export import convert

ROOT = pathlib.Path(__file__).parents[2]


def test_the_switch_turns_the_cache_off():
    """Runs in both ways: with the cache here, without it below."""
    asked_each_time = convert.float_file.__module__ == "tfcompress.export.convert"
    assert asked_each_time == bool(os.environ.get(UNCACHED))


@pytest.mark.slow
def test_all_others_pass_when_each_asks_the_converter():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/export", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, UNCACHED: "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
