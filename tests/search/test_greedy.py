"""The engine `greedy`: which widths are measured, which layer a step narrows, a whole search."""

import json
import sys

import pytest

import tfcompress
from tfcompress.errors import InputError
from tfcompress.metric import Metric
from tfcompress.search import greedy
from tfcompress.search import greedy_session as sessions
from tfcompress.search.budget import Costs, parse_budgets
from tfcompress.search.engine import Aim
from tfcompress.search.greedy import Offer, measured_widths, offers, take_step
from tfcompress.search.settings import SearchSettings


def cost(widths):
    """A chain of layers, as its weights: each width by the next."""
    return sum(a * b for a, b in zip([8, *widths.values()], [*widths.values(), 4], strict=True))


class Chain:
    """Networks that are only their widths; what one is worth falls with what each layer lost."""

    def __init__(self, worth, multiple=4):
        self.worth, self.multiple, self.measured = worth, multiple, 0

    def widths(self, model):
        return {
            name: (width, list(range(self.multiple, width, self.multiple)))
            for name, width in model.items()
        }

    def used(self, model, layer, width):
        self.measured += 1
        return cost({**model, layer: width})

    def tuned(self, model, layer, width):
        small = {**model, layer: width}
        return small, sum(self.worth[name] * width for name, width in small.items())


@pytest.mark.parametrize("target", range(5, 100, 7))
@pytest.mark.parametrize("slope", [None, 0.5, 3.0])
def test_the_widest_within_the_target_is_found(target, slope):
    """Against the cost of every width; a line is met at once."""
    counts = list(range(4, 50, 3))
    known = measured_widths(counts, (50, 105), target, lambda count: 2 * count + 5, slope)
    fitting = [count for count in counts if 2 * count + 5 <= target]
    assert [count for count in known if 2 * count + 5 <= target][-1:] == fitting[-1:]
    assert len(known) <= greedy._MOST_MEASURED


def test_times_in_steps_are_found_too():
    """Time steps up at each 16 channels, as vectors have them."""
    counts = list(range(4, 64))
    known = measured_widths(counts, (64, 4.0), 3.5, lambda count: -(-count // 16))
    assert 44 <= max(count for count, taken in known.items() if taken <= 3.5) <= 48


def test_offers_are_those_of_every_layer_by_brute_force():
    model, networks = {"a": 32, "b": 24, "c": 16}, Chain({})
    used = cost(model)
    target = used - 200
    expected = []
    for name, (_, counts) in networks.widths(model).items():
        fitting = [n for n in counts if cost({**model, name: n}) <= target]
        if fitting:
            width = max(fitting)
            expected.append(Offer(name, width, cost({**model, name: width})))
    slopes = {}
    assert offers(networks, model, used, target, slopes) == expected
    first, networks.measured = networks.measured, 0
    assert offers(networks, model, used, target, slopes) == expected
    assert networks.measured < first  # What was measured before tells where to look.


def test_where_no_layer_gives_enough_each_gives_what_it_can():
    model, networks = {"a": 8, "b": 8}, Chain({})
    offered = offers(networks, model, cost(model), 1, {})
    assert [(each.layer, each.width) for each in offered] == [("a", 4), ("b", 4)]
    assert offers(networks, {"a": 4, "b": 4}, cost({"a": 4, "b": 4}), 1, {}) == []


def test_the_layer_that_is_missed_least_is_narrowed():
    model, networks = {"a": 32, "b": 24, "c": 16}, Chain({"a": 5.0, "b": 1.0, "c": 9.0})
    small, offer, values = take_step(
        networks, model, cost(model), cost(model) - 200, {}, lambda a, b: a > b
    )
    assert offer.layer == "b" == max(values, key=values.get)
    assert small == {**model, "b": offer.width}
    assert len(values) == 3
    # Where less is better the other end wins.
    _, offer, _ = take_step(networks, model, cost(model), cost(model) - 200, {}, lambda a, b: a < b)
    assert offer.layer == min(values, key=values.get)
    assert take_step(networks, {"a": 4}, 48, 1, {}, lambda a, b: a > b) is None


def search(task, folder, **changes):
    settings = {"budget": "size=0.35", "engine": "greedy", "epochs": 1, "folder": folder}
    return tfcompress.search(*task, **{**settings, **changes})


@pytest.fixture
def quick(monkeypatch):
    """Steps of a fifth of the whole, trained for three batches."""
    new = SearchSettings.__init__
    monkeypatch.setattr(
        SearchSettings,
        "__init__",
        lambda self, **values: new(self, **{**values, "step": 0.2, "short_steps": 3}),
    )


def test_steps_until_the_budget_is_kept_without_optuna(task, tmp_path, quick, monkeypatch):
    """Killed in the third step it goes on with that; what is found is made again by its widths."""
    monkeypatch.setitem(sys.modules, "optuna", None)  # As where it isn't installed.
    taken, real = [], sessions.take_step

    def killed(*arguments):
        taken.append(arguments)
        if len(taken) == 2:
            raise SystemError("killed")
        return real(*arguments)

    monkeypatch.setattr(sessions, "take_step", killed)
    # Only the float file, so that several steps are needed.
    monkeypatch.setattr("tfcompress.search.bench.OTHERS", ())
    with pytest.raises(SystemError, match="killed"):
        search(task, tmp_path)
    kept = json.loads((tmp_path / sessions.STEPS).read_text())["steps"]
    assert [step["number"] for step in kept] == [0, 1]
    found = search(task, tmp_path)
    states = [trial.outcome.state for trial in found.trials]
    assert states == ["step"] * (len(states) - 1) + ["trained"]
    steps = [trial.outcome for trial in found.trials if trial.outcome.state == "step"]
    assert [step["number"] for step in kept] == [0, 1]
    sizes = [step.untrained["float32"].size for step in steps]
    assert sizes == sorted(sizes, reverse=True)
    limit = 0.35 * found.floats.size
    assert sizes[-1] <= limit < sizes[-2]
    assert found.best.costs.size <= limit
    assert found.best.choice.chain == "channels"
    small = tfcompress.transform(task[0], "channels", **found.best.choice.options)
    widths = dict(
        part.split(":") for part in found.best.choice.options["channels.widths"].split(",")
    )
    assert {name: small.get_layer(name).units for name in widths} == {
        name: int(width) for name, width in widths.items()
    }
    # Nothing is left to do.
    taken.clear()
    monkeypatch.setattr(sessions, "take_step", None)
    assert len(search(task, tmp_path).trials) == len(found.trials)


def test_with_a_drop_the_least_that_keeps_it(task, tmp_path, quick, monkeypatch):
    """The walk goes on below what is budgeted, and back to where the drop is kept."""
    monkeypatch.setattr("tfcompress.search.bench.OTHERS", ())
    found = search(task, tmp_path, budget=["drop=100"], trials=1)
    steps = [trial for trial in found.trials if trial.outcome.state == "step"]
    assert len(steps) == 2
    assert str(found.best.choice) == str(steps[-1].choice)


def test_a_storage_that_loses_too_much_ends_no_walk():
    """Of two files within the budget the one of 4 bits loses 5 points of the whole network."""
    whole = {"int8": Costs(size=300, value=0.90), "int4": Costs(size=150, value=0.85)}
    session = object.__new__(sessions.GreedySession)
    floats = Costs(size=1000, value=0.90)
    session.aim = Aim(parse_budgets(["size=0.2"]), "accuracy", floats, Metric())
    session._early, session._trained = list(session.aim.budgets), {}
    session._steps = [greedy.Step(number=0, widths={"a": 64}, costs=whole, value=0.9)]
    assert session._storage() == "int8"
    assert session._goes_on()
    small = {"int8": Costs(size=199), "int4": Costs(size=99)}
    session._steps.append(greedy.Step(number=1, widths={"a": 32}, costs=small, value=0.9))
    assert not session._goes_on()
    assert str(session._choice(session._steps[1])) == "channels channels.widths=a:32"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 2}, "^--engine=greedy works in one process: leave --workers out$"),
        ({"study": "sqlite:///x"}, "^--engine=greedy narrows .*: leave --study out$"),
        ({"techniques": ("cp",)}, "^--engine=greedy narrows .*: leave --techniques out$"),
        ({"step": 1.0}, "^--step must be above 0 and below 1; got 1$"),
        ({"engine": "random"}, "^--engine"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        SearchSettings(**{"engine": "greedy", **settings})


def test_a_goal_that_lowers_nothing(task):
    with pytest.raises(InputError, match="--engine=greedy lowers what is budgeted: give size"):
        search(task, None, budget="drop=1", goal="accuracy")
