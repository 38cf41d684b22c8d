import dataclasses

import numpy as np
import pytest

from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.layers import HashedDense, LowRankConv2D
from tfcompress.techniques import chain, distribute
from tfcompress.techniques.base import STRUCTURES
from tfcompress.training import TrainingContext


def test_a_single_name_is_a_chain_of_one():
    assert [t.name for t in chain("cp")] == ["cp"]
    assert [t.name for t in chain("cp+hashed")] == ["cp", "hashed"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cp+svd+cp", "has cp twice"),
        ("cp+baseline", "baseline is the control"),
        ("cp+xnro", "unknown technique 'xnro': did you mean 'xnor'"),
        ("cp+", "unknown technique ''"),
    ],
)
def test_refusals(name, message):
    with pytest.raises(InputError, match=message):
        chain(name)


def test_what_would_be_undone_is_refused_with_what_works(monkeypatch):
    cp, xnor = techniques.get("cp"), techniques.get("xnor")
    filling = dataclasses.replace(cp, preserves=frozenset())
    found = {"cp": filling, "xnor": xnor}
    monkeypatch.setattr("tfcompress.techniques.chains.get", found.__getitem__)
    assert [t.name for t in chain("cp+xnor")] == ["cp", "xnor"]
    with pytest.raises(InputError, match=r"cp can't follow xnor: .* 'cp\+xnor' works"):
        chain("xnor+cp")


@pytest.mark.parametrize("name", techniques.names())
def test_leaves_and_keeps_are_known_words(name):
    known = STRUCTURES | {"sparsity", "clusters", "quantised"}
    technique = techniques.get(name)
    assert technique.produces <= known
    assert technique.preserves <= known


def test_options_go_to_all_that_have_them_or_to_one():
    both = chain("cp+svd")
    given, taken = distribute(both, {"rank": 8, "svd.rank": 4, "iterations": 50, "epochs": 3})
    assert given == {"cp": {"rank": 8, "iterations": 50}, "svd": {"rank": 4}}
    assert taken == {"rank", "svd.rank", "iterations"}


def test_applies_in_order_and_counts_the_epochs_through(small):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8)
    data = from_arrays((pixels, np.arange(32) % 4))
    steps = [
        techniques.Step(t, t.make_options(), Training(epochs=2, batch_size=16))
        for t in chain("svd+hashed")
    ]
    titles = []

    def round_context(context, title, candidate, training):
        titles.append((title, training.epochs, len(candidate.layers)))
        return context

    model = small()
    candidate, rows = techniques.apply(
        techniques.Candidate(model),
        steps,
        data,
        TrainingContext(teacher=model),
        round_context=round_context,
    )
    kinds = {type(layer) for layer in candidate.model.layers}
    assert {LowRankConv2D, HashedDense} <= kinds
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [title for title, *_ in titles] == ["svd", "hashed"]
    assert titles[0][2] < titles[1][2] == len(candidate.layers)
