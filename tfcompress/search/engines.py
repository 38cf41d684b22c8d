"""Makes the engine that a search's settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from tfcompress import techniques
from tfcompress.data.protocol import Data
from tfcompress.errors import InputError
from tfcompress.search.bench import silent
from tfcompress.search.budget import parse_budgets
from tfcompress.search.database import optuna_package
from tfcompress.search.engine import usual_goal
from tfcompress.search.greedy_session import GreedySession
from tfcompress.search.session import Searcher, Session, prepared
from tfcompress.search.settings import NARROWING, SearchSettings
from tfcompress.search.space import Space
from tfcompress.tflite.metadata import Metadata
from tfcompress.training.objective import Objective


def check(settings: SearchSettings) -> None:
    """Refuses what the engine can't do before anything is loaded or trained.

    Raises:
        InputError: a technique that can't be drawn, or Optuna isn't installed.
    """
    Space.of(settings.techniques)
    if settings.engine == "greedy":
        return
    try:
        optuna_package()
    except InputError as error:
        raise InputError(f"{error}; --engine=greedy needs none") from error


def searcher(
    model: keras.Model,
    data: Data,
    folder: Path,
    settings: SearchSettings,
    *,
    training: Mapping[str, Any],
    objective: Objective | None,
    describe: Callable[[str | None], Metadata | None] = silent,
) -> Searcher:
    """Returns what searches, with the float network's file written and weighed.

    Args:
        model: trained.
        data: whose held-out examples choose.
        folder: keeps what was tried.
        settings: of the search.
        training: fields of `Training` in place of each recipe's.
        objective: what is trained for; None for what follows from model and data.
        describe: as `Bench` has it.

    Raises:
        InputError: a budget, technique or option that can't be, a database that can't be reached,
            or Optuna isn't installed.
    """
    budgets = parse_budgets(settings.budget)
    common: dict[str, Any] = {
        "budgets": budgets,
        "goal": settings.goal or usual_goal(budgets),
        "settings": training,
        "objective": objective,
        "metric": settings.config.metric,
        "seed": settings.config.seed,
        "describe": describe,
    }
    if settings.engine == "greedy":
        given, _ = techniques.distribute([techniques.get(NARROWING)], settings.config.options)
        bench, aim = prepared(model, data, folder, **common)
        return GreedySession(
            bench,
            aim,
            step=settings.step,
            short_steps=settings.short_steps,
            options=given[NARROWING],
        )
    return Session(
        model,
        data,
        folder,
        **common,
        space=Space.of(settings.techniques),
        url=settings.study,
        beside=settings.workers > 1 or settings.study is not None,
    )
