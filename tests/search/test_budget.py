"""Budgets: what is read, what is refused, and what a file takes of them."""

import pytest

from tfcompress.errors import InputError
from tfcompress.metric import Metric
from tfcompress.search.budget import Budget, Costs, overruns, parse_budgets

FLOATS = Costs(size=1000, tfz=800, latency_ms=4.0, latency_ratio=1.0, memory=5000, value=0.90)


@pytest.mark.parametrize(
    ("text", "limit", "share"),
    [
        ("size=100KiB", 102400, False),
        ("size=2kB", 2000, False),
        ("size=0.1", 0.1, True),
        ("size=4096", 4096, False),
        ("tfz=1MiB", 1024**2, False),
        ("latency=0.5", 0.5, True),
        ("latency=2ms", 2.0, False),
        ("memory=0.5", 0.5, True),
        ("drop=0", 0.0, False),
        ("drop = 1.5", 1.5, False),
    ],
)
def test_reads(text, limit, share):
    budget = Budget.parse(text)
    assert (budget.limit, budget.share) == (limit, share)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bytes=3", "unknown budget 'bytes'.*size"),
        ("size", "--budget size takes the file's bytes.*got 'size'"),
        ("size=-3", "--budget size takes"),
        ("size=0", "--budget size must be positive; got 'size=0'"),
        ("size=3ms", "--budget size takes"),
        ("latency=3KiB", "--budget latency takes"),
        ("drop=1%", "--budget drop takes"),
        ("size=1e999", "--budget size must be positive"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        Budget.parse(text)


def test_refuses_a_kind_twice():
    with pytest.raises(InputError, match="--budget size is given twice"):
        parse_budgets(["size=0.1", "size=3KiB"])


def test_what_a_file_takes():
    file = Costs(size=150, tfz=90, latency_ms=3.0, latency_ratio=0.75, memory=2500, value=0.893)
    limits = ["size=0.1", "tfz=100", "latency=0.5", "memory=0.5", "drop=0.5"]
    budgets = parse_budgets(limits)
    taken = [budget.used(file, FLOATS) for budget in budgets]
    assert taken == pytest.approx([1.5, 0.9, 1.5, 1.0, 1.2])
    over = overruns(budgets, file, FLOATS)
    assert over == pytest.approx({"size": 0.5, "latency": 0.5, "drop": 0.2})
    assert not overruns(budgets, Costs(), FLOATS)  # What wasn't measured is over nothing.


def test_a_metric_of_which_less_is_better():
    metric = Metric(name="mae", higher_is_better=False, share=False)
    drop = Budget.parse("drop=5")
    assert drop.used(Costs(value=2.2), Costs(value=2.0), metric) == pytest.approx(1 + 10 - 5)
    assert drop.used(Costs(value=1.8), Costs(value=2.0), metric) < 1
