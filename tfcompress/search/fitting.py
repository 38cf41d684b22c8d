"""Cuts a chain to what the budgets leave, where its files are over them or far below."""

from __future__ import annotations

from tfcompress.export import storages
from tfcompress.search.bench import Outcome
from tfcompress.search.engine import Aim
from tfcompress.search.space import Choice

# A file that takes less of each budget than this leaves room for a larger network.
_ROOM = 0.8
# Bytes and times are nearly, not quite, in proportion to the options that they follow.
_MARGIN = 0.98


def fitted(choice: Choice, outcome: Outcome, aim: Aim) -> Choice | None:
    """Returns the same chain, made smaller or larger so that its files just keep the budgets.

    By what the untrained files take: smaller if all of them are over a budget. Larger if those
    that keep them all leave a fifth of each, and more accuracy is what is wanted.

    Args:
        choice: what was tried.
        outcome: what came of it.
        aim: which files are wanted.

    Returns:
        What to try next; None if this one fits, or has no option that bytes and time follow.
    """
    early = [budget for budget in aim.budgets if not budget.needs_training]
    used = []
    for name, costs in outcome.untrained.items():
        if storages.get(name).by_values:  # Their bytes aren't known yet.
            continue
        shares = [budget.used(costs, aim.floats, aim.metric) for budget in early]
        known = [share for share in shares if share is not None]
        if known:
            used.append(max(known))
    if not used:
        return None
    if min(used) > 1:
        return choice.scaled(_MARGIN / min(used))
    nearest = max(share for share in used if share <= 1)
    if aim.goal == "accuracy" and outcome.state in ("trained", "stopped") and nearest < _ROOM:
        return choice.scaled(_MARGIN / nearest)
    return None
