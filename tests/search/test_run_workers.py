"""A process that has others work ends them before it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

# Behind a shell's & Ctrl-C would be ignored.
PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tfcompress.search.workers import run_workers
run_workers([sys.executable, "-c", sys.argv[1]], 2)
"""
# Leaves a file by its number, and would go on for a minute.
WORKER = "import os, pathlib, time; pathlib.Path(str(os.getpid())).touch(); time.sleep(60)"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of other systems")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_workers_first(number, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, WORKER], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2:
            assert time.monotonic() < end
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(number)
        assert parent.wait(timeout=60) != 0
    finally:
        parent.kill()
    for file in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.name), 0)
