"""What the command does: the float network, the trials, the finalists, the page."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfcompress import files, models, training
from tfcompress.bounded_json import read_json
from tfcompress.console import table
from tfcompress.data.held_out import without_test
from tfcompress.errors import InputError, PathError, require
from tfcompress.pipeline import inputs
from tfcompress.pipeline.exporting import metadata
from tfcompress.pipeline.inputs import Task
from tfcompress.pipeline.plan import Plan, default_output_dir, plan
from tfcompress.search import finalists, page
from tfcompress.search.engines import check, searcher
from tfcompress.search.greedy_session import STEPS
from tfcompress.search.session import Found, Searcher
from tfcompress.search.settings import NARROWING, SearchSettings
from tfcompress.search.workers import run_workers
from tfcompress.tflite.metadata import Metadata
from tfcompress.training import TrainingContext
from tfcompress.training.progress import say, with_progress
from tfcompress.work import held

SETTINGS = "search.json"
_KEY = {"tfcompress": "search"}
_LONGEST = 1 << 24
_BASELINE = "baseline.keras"
# What a search writes into its folder.
_OUTPUTS = (_BASELINE, "baseline.tflite", "study.journal", STEPS, "search.html", finalists.FOLDER)
# A later call may ask for more of these.
_CHANGEABLE = ("trials", "finalists", "seeds", "workers")


def search(settings: SearchSettings) -> None:
    """Searches, and prints what was found.

    Raises:
        InputError: something that the user gave can't be used.
    """
    require(
        len(settings.budget) > 0,
        "give what a file may cost, as in --budget size=100KiB --budget drop=0.5",
    )
    job = _job(settings)
    check(settings)
    folder = Path(settings.config.output_dir or _default_folder(settings))
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder))
        except (OSError, PathError) as error:
            raise InputError(f"{error}; choose another --output_dir") from error
        _claim(folder, settings)
        session, task = _session(job, settings, folder)
        if settings.workers == 1:
            session.run(settings.trials)
        else:
            _work(folder, settings)
        found = session.front()
        say("search", page.counted(session.trials(), session.aim))
        for line in page.rank_correlations(session.trials()):
            say("search", f"rank correlation with the last epoch of {line}")
        runs = finalists.run(found, settings, folder)
        page.write(folder, settings, session, found, runs, task.judge.metric)
        _print(found, runs, session, folder)


def join(path: str) -> None:
    """Tries beside others for a search whose folder is there already.

    Raises:
        InputError: the folder holds no search.
    """
    folder = Path(path)
    settings = _read(folder)
    if settings is None:
        raise InputError(f"--join={path}: no search was begun there")
    with files.quiet():
        session, _ = _session(_job(settings), settings, folder)
    session.run(settings.trials)


def _job(settings: SearchSettings) -> Plan:
    """Returns the plan of the float network's run, by which model and data are loaded."""
    # Its options are the user's to give.
    name = NARROWING if settings.engine == "greedy" else "baseline"
    config = dataclasses.replace(settings.config, technique=name, output_dir=None)
    return plan(config)


def _default_folder(settings: SearchSettings) -> str:
    return default_output_dir(dataclasses.replace(settings.config, technique="search"))


def _session(job: Plan, settings: SearchSettings, folder: Path) -> tuple[Searcher, Task]:
    """Returns the search with its float network, which is trained if it wasn't yet."""
    model, loaded = inputs.load(job)
    chosen_by = without_test(loaded)
    task = inputs.task_of(job, model, chosen_by)
    kept = folder / _BASELINE
    if kept.exists():
        model = models.load(str(kept))
    else:
        context = TrainingContext(
            seed=job.config.seed,
            objective=task.objective,
            augmentation=job.config.augment,
            checkpoint=folder / "baseline.npz",
        )
        context = with_progress(context, "baseline", job.baseline.epochs)
        training.fit(model, task.data, job.baseline, context)
        with files.whole(kept) as beside:
            model.save(beside)
        (folder / "baseline.npz").unlink(missing_ok=True)

    def describe(chain: str | None) -> Metadata:
        """Returns what a run's file says of itself, so that the finalists' have these bytes."""
        made = dataclasses.replace(job.config, technique=chain or "baseline")
        title = "baseline" if chain is None else "compressed"
        return metadata(dataclasses.replace(job, config=made), task, title)

    session = searcher(
        model,
        task.data,
        folder,
        settings,
        training=job.settings,
        objective=task.objective,
        describe=describe,
    )
    return session, task


def _claim(folder: Path, settings: SearchSettings) -> None:
    """Notes the settings in the folder.

    Raises:
        InputError: it holds another search, or files in the way that no search wrote.
    """
    old = _read(folder)
    if old is not None:
        before, now = _comparable(old), _comparable(settings)
        changed = [key for key, value in now.items() if before[key] != value]
        require(
            not changed,
            f"{folder} holds a search with other settings ({', '.join(changed)}): choose another "
            "--output_dir",
        )
    else:
        there = [name for name in (SETTINGS, *_OUTPUTS) if (folder / name).exists()]
        require(
            not there,
            f"{folder} holds {', '.join(there)}, which no search wrote: choose another "
            "--output_dir",
        )
    stored = {**_KEY, "settings": settings.to_json()}
    files.write(folder / SETTINGS, json.dumps(stored, indent=1, default=list) + "\n")


def _comparable(settings: SearchSettings) -> dict[str, Any]:
    """Returns what two calls of one search have in common: the folder may have been moved."""
    moved = dataclasses.replace(settings.config, output_dir=None)
    values = dataclasses.replace(settings, config=moved).to_json()
    return {key: value for key, value in values.items() if key not in _CHANGEABLE}


def _read(folder: Path) -> SearchSettings | None:
    """Returns the settings that a folder's search was begun with; None if there is none."""
    path = folder / SETTINGS
    if not path.exists():
        return None
    try:
        stored = read_json(path, _LONGEST)
        if stored.get("tfcompress") != "search":
            return None
        return SearchSettings.from_json(stored["settings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged: remove it, or choose another --output_dir") from error


def _work(folder: Path, settings: SearchSettings) -> None:
    """Starts the workers and waits for them; one that died is started again."""
    run_workers([sys.executable, "-m", "tfcompress.search", f"--join={folder}"], settings.workers)


def _print(
    found: Sequence[Found], runs: list[finalists.Finalist], session: Searcher, folder: Path
) -> None:
    """Prints what was found."""
    if not found:
        print(f"\n{page.nearest(session.trials(), session.aim)}")
    elif runs:
        headers = page.final_headers(session.aim.metric)
        print(f"\n{table(page.final_rows(runs), headers)}")
        print(f"\nThe best again: {runs[0].command}")
    print(f"\nAll trials: {folder / 'search.html'}")
