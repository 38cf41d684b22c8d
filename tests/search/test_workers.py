"""Workers that are killed at any moment: the study ends with all trials, none is tried thrice."""

import collections
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

optuna = pytest.importorskip("optuna")

TRIALS = 6


def _worker_numbers(folder):
    """Returns the numbers of the search's worker processes."""
    numbers = [int(path.stem.rpartition("-")[2]) for path in (folder / "workers").glob("*.lock")]
    return [number for number in numbers if f"--join={folder}" in _words_of(number)]


def _words_of(number):
    """Returns the command line of a process; nothing where it has ended."""
    try:
        return pathlib.Path(f"/proc/{number}/cmdline").read_text()
    except OSError:
        return ""


def _study(folder):
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    )
    return optuna.load_study(study_name="tfcompress", storage=storage).get_trials()


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="finds its workers by /proc")
def test_workers_killed_at_random_moments_lose_their_running_trial_at_most(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 6)).round(3)
    lines = [",".join(map(str, row)) + f",{'yes' if row[0] > 0 else 'no'}" for row in rows]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["a,b,c,d,e,f,kind", *lines]) + "\n")
    folder = tmp_path / "search"
    words = [sys.executable, "-m", "tfcompress.search", "--budget=size=0.9", "--workers=2",
             f"--trials={TRIALS}", "--techniques=svd,prune", "--epochs=2", "--finalists=0",
             "--model=mlp", f"--dataset=csv:{table}", "--set=target=kind",
             f"--output_dir={folder}"]  # fmt: skip
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    said = tmp_path / "said.txt"
    with said.open("w") as output:
        search = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
    moments = random.Random(0)
    killed, end = 0, time.monotonic() + 1500
    try:
        while search.poll() is None and time.monotonic() < end:
            time.sleep(moments.uniform(1, 12))
            workers = _worker_numbers(folder)
            if killed < 3 and workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(moments.choice(workers), signal.SIGKILL)
                    killed += 1
    finally:
        search.terminate()  # Its workers end with it; nothing happens where it has ended.
    assert search.wait(timeout=60) == 0, said.read_text()
    assert killed == 3
    trials = _study(folder)
    ended = [trial for trial in trials if "outcome" in trial.user_attrs]
    assert len(ended) >= TRIALS
    retries = collections.Counter(
        trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs
    )
    assert all(count == 1 for count in retries.values())
    again = {trial.number for trial in trials if "retry_of" in trial.user_attrs}
    assert not again & retries.keys()  # What was tried again and killed again is given up.
    assert (folder / "search.html").exists()
