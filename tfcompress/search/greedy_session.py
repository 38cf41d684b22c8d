"""Runs the engine `greedy`: narrows the network until its file keeps the budgets, and trains that.

It keeps each step in the search's folder, so that a search that was killed goes on from there, and
it needs no further package.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping

import keras

from tfcompress import files, models
from tfcompress.bounded_json import read_json
from tfcompress.errors import InputError, require
from tfcompress.search.bench import Bench, Outcome
from tfcompress.search.budget import Budget, Costs, overruns
from tfcompress.search.engine import Aim, Trial
from tfcompress.search.greedy import Step, take_step
from tfcompress.search.narrower import Narrower
from tfcompress.search.session import Found, front, said_of
from tfcompress.search.settings import NARROWING
from tfcompress.search.space import Choice
from tfcompress.training.progress import say

STEPS = "steps.json"
_KEY = {"tfcompress": "steps of a search"}
_LONGEST = 1 << 24
_MODELS = "steps"
# Points, or percent of another metric, that a storage may lose of the whole network and be
# searched in, unless `drop` is budgeted: about what a thousand examples can tell.
_STORAGE_DROP = 1.0


class GreedySession:
    """Searches by narrowing the layers of one network.

    Args:
        bench: makes files and trains.
        aim: which files are wanted.
        step: what a step takes off, as a share of what the whole network takes.
        short_steps: training steps of each narrower network that is offered.
        options: of the technique `channels`, as texts: how channels are chosen and what is rounded.

    Raises:
        InputError: an option that can't be, no layer that can be narrowed, or budgets that
            narrower layers don't help to keep.
    """

    def __init__(
        self,
        bench: Bench,
        aim: Aim,
        *,
        step: float,
        short_steps: int,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.bench, self.aim, self._step = bench, aim, step
        self._given = dict(options or {})
        self._networks = Narrower(bench, aim, self._given, short_steps)
        self._file = bench.folder / STEPS
        self._steps: list[Step] = []
        # Of the steps that were trained to the end, by their numbers.
        self._trained: dict[int, Outcome] = {}
        self._ended = False
        self._slopes: dict[str, float] = {}
        self._early = [budget for budget in aim.budgets if budget.kind != "drop"]
        require(
            bool(self._early) or aim.goal != "accuracy",
            "--engine=greedy lowers what is budgeted: give size, latency, memory or tfz, or "
            "--goal=size or latency",
        )
        self._read()

    def run(self, trials: int) -> None:
        """Narrows until the budgets are kept, or so many steps were taken, and trains the result.

        Args:
            trials: how many steps at most.
        """
        if not self._steps:
            self._begin()
        while True:
            if self._goes_on() and len(self._steps) <= trials and not self._ended:
                self._take_step()
                continue
            step = self._next_to_train()
            if step is None:
                return
            self._train(step)

    def trials(self) -> list[Trial]:
        """Returns the steps, and behind them what was trained to the end."""
        steps = [Trial(step.number, self._choice(step), self._as_outcome(step))
                 for step in self._steps]  # fmt: skip
        trained = [Trial(len(steps) + place, self._choice(self._steps[number]), outcome)
                   for place, (number, outcome) in enumerate(self._trained.items())]  # fmt: skip
        return steps + trained

    def front(self) -> list[Found]:
        """Returns the best files, as `session.front` does."""
        return front(self.trials(), self.aim)

    def importance(self) -> dict[str, float]:
        """Returns nothing: nothing is drawn."""
        return {}

    def _choice(self, step: Step) -> Choice:
        """Returns what makes a step's network of the whole one, in one cut."""
        narrower = {name: width for name, width in step.widths.items()
                    if width < self._steps[0].widths[name]}  # fmt: skip
        if not narrower:
            return Choice("", {})
        widths = ",".join(f"{name}:{width}" for name, width in narrower.items())
        return Choice(NARROWING, {f"{NARROWING}.widths": widths})

    def _as_outcome(self, step: Step) -> Outcome:
        before, able = self._steps[max(step.number - 1, 0)].widths, self._able()
        what = "the whole network"
        if step.narrowed:
            what = (
                f"{step.narrowed} {before[step.narrowed]} -> {step.widths[step.narrowed]}, the "
                f"best of {len(step.offers)}"
            )
        return Outcome(
            state="step",
            reason=what,
            untrained={name: costs for name, costs in step.costs.items() if name in able},
            by_epoch=(step.value,),
            epochs=1,
            seconds=step.seconds,
        )

    def _within(self, step: Step) -> bool:
        """Says whether one of a step's files keeps what is known before the long training."""
        outcome = self._trained.get(step.number)
        if outcome is not None and outcome.state == "over":  # Timed again it was too slow.
            return False
        able, floats = self._able(), self.aim.floats
        return any(
            not overruns(self._early, costs, floats)
            for name, costs in step.costs.items()
            if name in able
        )

    def _goes_on(self) -> bool:
        """Says whether the last network is to be narrowed further."""
        last = self._steps[-1]
        if not self._within(last):
            return True
        # All are kept: what is asked for besides is the least that doesn't lose too much.
        return self.aim.goal != "accuracy" and not self._trained and self._keeps_drop(last)

    def _keeps_drop(self, step: Step) -> bool:
        costs, aim = Costs(value=step.value), self.aim
        drop = [budget for budget in aim.budgets if budget.kind == "drop"]
        return bool(drop) and not overruns(drop, costs, aim.floats, aim.metric)

    def _next_to_train(self) -> Step | None:
        """Returns the narrowest network that may keep all budgets and wasn't trained; or None."""
        for step in reversed(self._steps):
            if not self._within(step):
                continue
            outcome = self._trained.get(step.number)
            if outcome is None:
                return step
            kept = any(not self.aim.overrun(file) for file in outcome.files.values())
            if kept or self.aim.goal == "accuracy":
                return None
        return None

    def _begin(self) -> None:
        """Weighs the whole network, and chooses the storage whose file is narrowed."""
        started = time.perf_counter()
        bench = self.bench
        costs = self._networks.all_files(bench.model, judged=True)
        first = Step(
            number=0,
            widths={name: size for name, (size, _) in self._networks.widths(bench.model).items()},
            costs=costs,
            value=bench.value(bench.model),
            seconds=time.perf_counter() - started,
        )
        self._keep(first, bench.model)

    def _able(self) -> dict[str, Costs]:
        """Returns the files of the whole network that lose no more than is budgeted, or is chance.

        Others aren't looked at on the way: their bits would decide, not the widths.
        """
        aim, costs = self.aim, self._steps[0].costs
        most = max([_STORAGE_DROP, *(b.limit for b in aim.budgets if b.kind == "drop")])
        drop = [Budget("drop", most, share=False, text=f"drop={most:g}")]
        return {n: c for n, c in costs.items() if not overruns(drop, c, aim.floats, aim.metric)}

    def _storage(self) -> str:
        """Returns the storage of the whole network that is nearest to the budgets."""
        early = dataclasses.replace(self.aim, budgets=tuple(self._early))
        return early.best(self._able()) or "float32"

    def _binding(self, costs: Costs) -> Budget:
        """Returns the budget that a file is furthest over, or what is to be the least."""
        over = overruns(self._early, costs, self.aim.floats)
        if over:
            worst = max(over, key=lambda kind: over[kind])
            return next(each for each in self._early if each.kind == worst)
        goal = self.aim.goal if self.aim.goal != "accuracy" else self._early[0].kind
        return Budget(goal, 1.0, share=True, text=f"{goal}=1")

    def _take_step(self) -> None:
        """Narrows one layer of the last network."""
        started = time.perf_counter()
        last, storage, floats = self._steps[-1], self._storage(), self.aim.floats
        budget = self._binding(last.costs[storage])
        used = budget.used(last.costs[storage], floats)
        whole = budget.used(self._steps[0].costs[storage], floats)
        require(used is not None and whole is not None, f"{budget.text} can't be measured here")
        assert used is not None
        assert whole is not None
        target = used - self._step * whole
        if used > 1:  # Not further than the budget.
            target = max(target, 1.0)
        say("step", f"{last.number + 1}: {storage} takes {used:.3f} of {budget.text}, to be "
            f"{target:.3f}")  # fmt: skip
        self._networks.measures(storage, budget)
        model = self._last_model()
        sign = 1 if self.aim.metric.higher_is_better else -1
        slopes = self._slopes
        taken = take_step(self._networks, model, used, target, slopes,
                          lambda a, b: sign * a > sign * b)  # fmt: skip
        if taken is None:
            self._ended = True
            say("step", "no layer can be narrowed any further")
            return
        small, offer, values = taken
        step = Step(
            number=last.number + 1,
            narrowed=offer.layer,
            widths={name: size for name, (size, _) in self._networks.widths(small).items()},
            costs=self._networks.all_files(small),
            value=values[offer.layer],
            offers=values,
            seconds=time.perf_counter() - started,
        )
        self._keep(step, small)
        cost = budget.used(step.costs[storage], floats)
        say("step", f"{step.number}: {self._as_outcome(step).reason}: {cost:.3f} of {budget.text}, "
            f"{self.aim.metric.text(step.value)}; {step.seconds:.0f} s")  # fmt: skip

    def _train(self, step: Step) -> None:
        """Makes a step's network of the whole one and trains it by the technique's recipe."""
        choice = self._choice(step)
        say("training", f"step {step.number}: {choice}")
        given = {f"{NARROWING}.{key}": text for key, text in self._given.items()}
        if choice.chain:
            choice = Choice(choice.chain, {**given, **choice.options})
        outcome = self.bench.try_out(choice, lambda by_epoch, epochs: False)
        say("training", said_of(outcome, self.aim))
        self._trained[step.number] = outcome
        self._write()

    def _keep(self, step: Step, model: keras.Model) -> None:
        """Keeps a step and its network; first the network, which the step's line stands for."""
        folder = self.bench.folder / _MODELS
        folder.mkdir(exist_ok=True)
        with files.whole(folder / f"{step.number}.keras") as beside:
            model.save(beside)
        self._steps.append(step)
        self._write()
        for old in folder.glob("*.keras"):
            if old.stem != str(step.number):
                old.unlink()

    def _last_model(self) -> keras.Model:
        step = self._steps[-1]
        if step.number == 0:
            return self.bench.model
        return models.load(str(self.bench.folder / _MODELS / f"{step.number}.keras"))

    def _write(self) -> None:
        stored = {
            **_KEY,
            "steps": [dataclasses.asdict(step) for step in self._steps],
            "trained": {number: each.to_json() for number, each in self._trained.items()},
        }
        files.write(self._file, json.dumps(stored, indent=1, default=list) + "\n")

    def _read(self) -> None:
        """Reads what an earlier call kept.

        Raises:
            InputError: the file is damaged.
        """
        if not self._file.exists():
            return
        try:
            stored = read_json(self._file, _LONGEST)
            self._steps = [Step.from_json(each) for each in stored["steps"]]
            self._trained = {
                int(number): Outcome.from_json(each) for number, each in stored["trained"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self._file} is damaged: remove it, or choose another --output_dir"
            ) from error
