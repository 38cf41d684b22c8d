"""A chain whose files are over the budgets, or far below, is tried again as it fits."""

from tests.search.test_engine import aim
from tfcompress.search.bench import Outcome
from tfcompress.search.budget import Costs
from tfcompress.search.fitting import fitted
from tfcompress.search.space import Choice

# The float file takes 1000 bytes.
CHOICE = Choice("channels", {"channels.macs_ratio": 0.5})


def outcome(state="over", **sizes):
    files = {name: Costs(size=size, latency_ratio=0.1) for name, size in sizes.items()}
    return Outcome(state=state, untrained=files)


def ratio(found):
    return None if found is None else found.texts["channels.macs_ratio"]


def test_cuts_what_is_over():
    # The nearest takes 1.6 of its budget: a ratio of 0.5 / 1.6 = 0.31 would fit.
    assert ratio(fitted(CHOICE, outcome(int8=640, int4=320), aim("size=0.2"))) == "0.3"


def test_time_is_a_budget_too():
    assert ratio(fitted(CHOICE, outcome(int8=100), aim("size=0.2", "latency=0.05"))) == "0.2"


def test_grows_what_leaves_room():
    wanted = aim("size=0.2")
    assert ratio(fitted(CHOICE, outcome("trained", int8=150), wanted)) == "0.65"
    # Of the files that keep the budget one leaves none.
    assert fitted(CHOICE, outcome("trained", int8=190, int4=100), wanted) is None
    assert fitted(CHOICE, outcome("trained", int8=150), aim("size=0.2", goal="size")) is None


def test_leaves_alone_what_nobody_knows_yet():
    assert fitted(CHOICE, outcome(sparse=900), aim("size=0.2")) is None
    assert fitted(CHOICE, outcome(int8=900), aim("drop=1")) is None
    assert fitted(CHOICE, Outcome(state="impossible"), aim("size=0.2")) is None
