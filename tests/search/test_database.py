"""Where studies are kept: what several processes ask of one database at once."""

import concurrent.futures
from pathlib import Path

import pytest

from tfcompress.search.database import storage

optuna = pytest.importorskip("optuna")
TRIALS, WORKERS = 60, 4


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_waiting_trial_of_a_file_is_taken_by_one(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    queue = optuna.create_study(storage=storage(Path(), url), study_name="queue")
    for _ in range(TRIALS):
        queue.enqueue_trial({})

    def taken(worker):
        study = optuna.load_study(storage=storage(Path(), url), study_name="queue")
        return list(iter(study._pop_waiting_trial_id, None))

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        found = [trial for trials in pool.map(taken, range(WORKERS)) for trial in trials]
    assert len(found) == len(set(found)) == TRIALS
