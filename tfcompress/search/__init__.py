"""Finds the compressions of a network that keep a budget, measured on the files themselves.

The package itself can be called: `tfcompress.search(model, data, budget=["size=100KiB"])`. The
command is `python -m tfcompress.search`.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfcompress.config import RunConfig
from tfcompress.search.settings import SearchSettings

if TYPE_CHECKING:
    import keras

    from tfcompress.search.budget import Costs
    from tfcompress.search.engine import Trial
    from tfcompress.search.session import Found
    from tfcompress.search.settings import Engine, Goal

__all__ = ["SearchResult", "search"]


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        front: the files within the budgets that no other one beats in bytes, time and accuracy, by
            the examples held out to choose by; the best by the goal first.
        trials: all that was tried, with what came of it.
        floats: what the float network's file costs.
    """

    front: Sequence[Found]
    trials: Sequence[Trial]
    floats: Costs

    @property
    def best(self) -> Found | None:
        """The first file of the front; None if none keeps the budgets."""
        return self.front[0] if self.front else None


def search(
    model: keras.Model,
    data: Any,
    *,
    budget: str | Iterable[str],
    trials: int = 40,
    goal: Goal | None = None,
    engine: Engine = "optuna",
    techniques: Iterable[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
    **settings: Any,
) -> SearchResult:
    """Tries compressions of a trained model, and returns the files that keep a budget.

    One that is over the budget untrained isn't trained; the others are trained on the examples but
    some thousand, by which they are chosen. The best are then yours to train on all, by
    `compress(model, best.choice.chain, data, **best.choice.options)`.

    Args:
        model: trained, functional or Sequential; it stays as it is.
        data: arrays, as `tfcompress.compress` takes them, or a `tfcompress.data.Dataset`.
        budget: one limit or several: `size=100KiB` or `size=0.1` (of the float file's bytes),
            `latency=0.5` (of its time), `memory=2MiB`, `tfz=60KiB`, `drop=0.5` (points of accuracy
            lost, or percent of another metric).
        trials: how many to make; of the engine `greedy`, steps at most.
        goal: what is best among files within the budget: `accuracy`, `size` or `latency`. None for
            `size` where `drop` is among the budgets, else `accuracy`.
        engine: `optuna` draws chains of techniques; `greedy` narrows layers one by one.
        techniques: names of what `optuna` tries; None for all whose options say what to try.
        folder: keeps the study: a later call goes on with it. None keeps nothing.
        seed: of draws and trainings.
        settings: fields of `Training` in place of each recipe's, as `epochs=5`.

    Raises:
        InputError: what is given can't be or doesn't fit, or Optuna isn't installed.

    Example:
        >>> found = tfcompress.search(model, (x, y), budget="size=0.2")  # doctest: +SKIP
    """
    from tfcompress.api.compression import data_for, training_objective
    from tfcompress.data.held_out import without_test
    from tfcompress.search.engines import searcher

    chosen = SearchSettings(
        config=RunConfig(seed=seed),
        budget=(budget,) if isinstance(budget, str) else tuple(budget),
        trials=trials,
        goal=goal,
        engine=engine,
        techniques=None if techniques is None else tuple(techniques),
    )
    read = without_test(data_for(model, data))
    objective = training_objective(model, read, settings)
    with tempfile.TemporaryDirectory(prefix="tfcompress_") as temporary:
        place = Path(folder or temporary)
        place.mkdir(parents=True, exist_ok=True)
        session = searcher(model, read, place, chosen, training=settings, objective=objective)
        session.run(trials)
        return SearchResult(session.front(), session.trials(), session.aim.floats)


# What `inspect.signature` and `help` of the package itself tell.
__signature__ = inspect.signature(search)
__doc__ = f"{__doc__}\nsearch{__signature__}\n\n{inspect.getdoc(search)}"


class _Room(ModuleType):
    """Lets the package be called: importing it binds its name to the module, not the function."""

    __call__ = staticmethod(search)


sys.modules[__name__].__class__ = _Room
