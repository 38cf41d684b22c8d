"""The settings of a search, as its folder keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from tfcompress.config import RunConfig
from tfcompress.errors import one_of, require

Goal = Literal["accuracy", "size", "latency"]
GOALS = get_args(Goal)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Says what is searched, in what, and for how long.

    Attributes:
        config: model, data and training, as a run has them.
        budget: what files may cost, as texts.
        goal: what is best beyond that; None for what fits the budgets.
        trials: how many are made.
        techniques: what is tried; None for all that say what to try of their options.
        finalists: how many of the best are trained on all training examples.
        seeds: with how many seeds each of them.
        workers: processes that try at once.
        study: the URL of a database in place of a file.
    """

    config: RunConfig = dataclasses.field(default_factory=RunConfig)
    budget: tuple[str, ...] = ()
    goal: Goal | None = None
    trials: int = 40
    techniques: tuple[str, ...] | None = None
    finalists: int = 3
    seeds: int = 3
    workers: int = 1
    study: str | None = None

    def __post_init__(self) -> None:
        """Refuses numbers that can't be."""
        for name, least in (("trials", 1), ("finalists", 0), ("seeds", 1), ("workers", 1)):
            value = getattr(self, name)
            require(value >= least, f"--{name} must be {least} or more; got {value}")
        if self.goal is not None:
            one_of("--goal", self.goal, GOALS)

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SearchSettings:
        """Reads what `to_json` made."""
        config: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values["config"].items()
        }
        techniques = values["techniques"]
        return cls(
            **{
                **values,
                "config": RunConfig(**config),
                "budget": tuple(values["budget"]),
                "techniques": None if techniques is None else tuple(techniques),
            }
        )
