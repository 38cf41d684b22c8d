"""Cuts channels out in several rounds, with a training behind each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfcompress.config import Training
from tfcompress.errors import require
from tfcompress.techniques.base import Candidate, shared
from tfcompress.techniques.channels import ChannelOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round(ChannelOptions):
    """Says what stays after one round, as a share of the network before the first.

    Attributes:
        first: the candidate with that network.
        number: of the round, from 1.
    """

    first: Candidate
    number: int

    @property
    def title(self) -> str:
        """Which round it is."""
        return f"round {self.number}/{self.iterations}: "

    def start(self, candidate: Candidate) -> Candidate:
        """Returns the candidate before the first round."""
        return self.first

    def relative(self, candidate: Candidate) -> ChannelOptions:
        """Returns the options with the share of what earlier rounds left."""
        from tfcompress.graph import macs

        name, asked = self.ratio()
        budget, left = self.budget(), 1.0
        if budget is None:
            left = macs(candidate.model) / (macs(self.first.model) or 1)
        elif candidate.file_ratio is not None and candidate.model is not self.first.model:
            left = candidate.file_ratio(self.first.model, candidate.model, budget.of)
        ratio = min(asked / left, 1.0)
        candidate.say(
            "channels",
            f"{name}={asked:.3f} of the whole network is {ratio:.3f} of what is left of it",
        )
        changed: dict[str, Any] = {name: ratio}
        return dataclasses.replace(self, **changed)


def rounds(
    candidate: Candidate, options: ChannelOptions, settings: Training
) -> Sequence[tuple[ChannelOptions, Training]]:
    """Returns one round, or `iterations` of them, which share the epochs.

    Args:
        candidate: before the first round.
        options: with the ratio that the last round ends at.
        settings: of all trainings together.

    Raises:
        InputError: there are fewer epochs than rounds.
    """
    count = options.iterations
    if count == 1:
        return [(options, settings)]
    require(
        settings.epochs == 0 or settings.epochs >= count,
        f"iterations={count} needs {count} epochs or more, one behind each; got {settings.epochs}",
    )
    name, ratio = options.ratio()
    result: list[tuple[ChannelOptions, Training]] = []
    for number, training in enumerate(shared(settings, count), 1):
        values = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
        values[name] = share_after(number / count, ratio, options.iteration_schedule)
        turn = Round(**values, first=candidate, number=number)
        result.append((turn, training))
    return result


def share_after(part: float, ratio: float, schedule: str) -> float:
    """Returns the share that stays after a part of the rounds.

    Args:
        part: of the rounds, above 0 and at most 1.
        ratio: what stays in the end.
        schedule: `linear`, or `cubic`, which cuts most out in the first rounds (Zhu, Gupta 2017,
            arXiv:1710.01878, section 3).
    """
    left = (1 - part) ** (3 if schedule == "cubic" else 1)
    return ratio + (1 - ratio) * left
