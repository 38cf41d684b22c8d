"""`iterations`: cut, train, and cut again by new scores."""

import re

import numpy as np
import pytest

from tests.techniques.test_channel_budget import parameters, tower
from tfcompress import graph, techniques
from tfcompress.config import Training
from tfcompress.errors import InputError
from tfcompress.techniques.channels import TECHNIQUE


@pytest.mark.parametrize(
    ("schedule", "shares"), [("linear", [0.8, 0.6, 0.4]), ("cubic", [0.5778, 0.4222, 0.4])]
)
def test_rounds_end_at_the_ratio_and_share_the_epochs(schedule, shares):
    """Cubic: 0.4 + 0.6 * (2/3)^3 and 0.4 + 0.6 * (1/3)^3."""
    options = TECHNIQUE.make_options(macs_ratio=0.4, iterations=3, iteration_schedule=schedule)
    rounds = TECHNIQUE.rounds(techniques.Candidate(tower()), options, Training(epochs=8))
    assert [turn.macs_ratio for turn, _ in rounds] == pytest.approx(shares, abs=1e-4)
    assert [settings.epochs for _, settings in rounds] == [2, 2, 4]


@pytest.mark.parametrize("ratio", ["macs_ratio", "size_ratio"])
def test_each_round_goes_on_from_the_one_before_it(ratio):
    """The shares are those of the whole network, and the report has one line a layer."""
    model = tower()
    options = TECHNIQUE.make_options(**{ratio: 0.4}, iterations=3, round_to=1)
    candidate = techniques.Candidate(model, file_ratio=parameters)
    left = []
    for turn, _ in TECHNIQUE.rounds(candidate, options, Training(epochs=3)):
        candidate = TECHNIQUE.transform(candidate, turn)
        left.append(
            graph.macs(candidate.model) / graph.macs(model)
            if ratio == "macs_ratio"
            else parameters(model, candidate.model, "size")
        )
    for reached, wanted in zip(left, [0.8, 0.6, 0.4], strict=True):
        assert 0.95 * wanted <= reached <= wanted
    reasons = {line.name: line.reason for line in candidate.layers}
    assert [*reasons] == ["dense_64", "dense_48", "dense_32", "scores"]
    for units in (64, 48, 32):
        after = candidate.model.get_layer(f"dense_{units}").units
        assert re.match(f"{units} -> {after} channels", reasons[f"dense_{units}"])


def test_one_round_is_the_default():
    options = TECHNIQUE.make_options()
    settings = Training(epochs=1)
    assert TECHNIQUE.rounds(techniques.Candidate(tower()), options, settings) == [
        (options, settings)
    ]


@pytest.mark.parametrize(
    ("options", "epochs", "message"),
    [
        ({"iterations": 0}, 8, "option iterations must be 1 or more; got 0"),
        ({"iteration_schedule": "step"}, 8, "option iteration_schedule .*'step'"),
        ({"iterations": 4}, 3, "iterations=4 needs 4 epochs or more, one behind each; got 3"),
    ],
)
def test_what_no_rounds_could_be_made_of(options, epochs, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.rounds(
            techniques.Candidate(tower()),
            TECHNIQUE.make_options(**options),
            Training(epochs=epochs),
        )


def test_networks_are_judged_before_and_after_the_repair_in_each_round():
    """By the number of their parameters, here."""
    model = tower()
    x = np.random.default_rng(0).normal(size=(64, 40)).astype("float32")
    candidate = techniques.Candidate(model, samples=x, judge=graph.parameters)
    options = TECHNIQUE.make_options(criterion="l2", iterations=2)
    for turn, _ in TECHNIQUE.rounds(candidate, options, Training(epochs=2)):
        candidate = TECHNIQUE.transform(candidate, turn)
    names, values = zip(*candidate.milestones, strict=True)
    assert names == tuple(
        f"round {number}/2: {done}"
        for number in (1, 2)
        for done in ("channels cut out, not repaired", "repaired, not trained")
    )
    assert values[0] == values[1] > values[2] == values[3] == graph.parameters(candidate.model)
    widths = {width.name: width for width in candidate.widths}
    assert [*widths] == ["dense_64", "dense_48", "dense_32", "scores"]
    assert widths["dense_64"].before == 64
    assert widths["dense_64"].after == candidate.model.get_layer("dense_64").units
    assert (widths["scores"].after, widths["scores"].frozen) == (10, "an output of the model")
