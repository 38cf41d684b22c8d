"""The settings of a search, as its folder keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from tfcompress.config import RunConfig
from tfcompress.errors import one_of, require

Goal = Literal["accuracy", "size", "latency"]
GOALS = get_args(Goal)
Engine = Literal["optuna", "greedy"]
ENGINES = get_args(Engine)
# The technique by which the engine `greedy` narrows layers.
NARROWING = "channels"


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
        engine: `optuna` draws chains of techniques; `greedy` narrows the network's layers, one in
            each step.
        step: of `greedy`: what a step takes off, as a share of what the whole network takes.
        short_steps: of `greedy`: training steps of each narrower network that is looked at.
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
    engine: Engine = "optuna"
    step: float = 0.05
    short_steps: int = 100

    def __post_init__(self) -> None:
        """Refuses numbers that can't be."""
        leasts = {"trials": 1, "finalists": 0, "seeds": 1, "workers": 1, "short_steps": 1}
        for name, least in leasts.items():
            value = getattr(self, name)
            require(value >= least, f"--{name} must be {least} or more; got {value}")
        if self.goal is not None:
            one_of("--goal", self.goal, GOALS)
        one_of("--engine", self.engine, ENGINES)
        require(0 < self.step < 1, f"--step must be above 0 and below 1; got {self.step:g}")
        if self.engine == "greedy":
            require(self.workers == 1, "--engine=greedy works in one process: leave --workers out")
            for name in ("study", "techniques"):
                require(
                    getattr(self, name) is None,
                    f"--engine=greedy narrows layers in one process: leave --{name} out",
                )

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
