import dataclasses
import re

import numpy as np
import pytest

import tfcompress
from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.layers import HashedDense, LowRankConv2D
from tfcompress.techniques import chain, distribute
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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["cp", "prune"], "as in 'cp+prune'; got ['cp', 'prune']"),
        ((), "as in 'cp+prune'; got ()"),
        (None, "got None"),
    ],
)
def test_names_that_are_no_text(given, message):
    with pytest.raises(InputError, match="^technique takes a name.*" + re.escape(message)):
        chain(given)


def test_what_would_be_undone_is_refused_with_what_works(monkeypatch):
    cp, xnor = techniques.get("cp"), techniques.get("xnor")
    filling = dataclasses.replace(cp, preserves=frozenset())
    found = {"cp": filling, "xnor": xnor}
    monkeypatch.setattr("tfcompress.techniques.chains.get", found.__getitem__)
    assert [t.name for t in chain("cp+xnor")] == ["cp", "xnor"]
    with pytest.raises(InputError, match=r"cp can't follow xnor: .* 'cp\+xnor' works"):
        chain("xnor+cp")


@pytest.mark.parametrize("name", techniques.names())
def test_what_is_produced_and_preserved_are_known_words(name):
    known = {"binary", "buckets", "sparsity", "clusters", "grids", "quantised"}
    assert {*techniques.Property} == known
    technique = techniques.get(name)
    assert technique.produces <= known
    assert technique.preserves <= known


@pytest.mark.parametrize("field", ["produces", "preserves"])
def test_another_word_is_refused_as_the_technique_is_made(field):
    message = f"unknown word in {field} of technique cp: 'sparsty': did you mean 'sparsity'?"
    with pytest.raises(InputError, match=re.escape(message)):
        dataclasses.replace(techniques.get("cp"), **{field: frozenset({"sparsty"})})


def test_plain_words_become_properties():
    technique = dataclasses.replace(techniques.get("cp"), produces=frozenset({"sparsity"}))
    (one,) = technique.produces
    assert one is techniques.Property.SPARSITY


def test_a_chain_adds_what_each_technique_produces(small):
    """Behind the technique's last round, whatever its own functions say."""
    seen = []

    def watch(context, title, candidate, training):
        seen.append((title, set(candidate.properties)))
        return context

    def fit(candidate, options, data, training, context):
        return candidate, []

    names = {"hashed": frozenset({"buckets"}), "deep_compression": {"sparsity", "clusters"}}
    steps = []
    for name in names:
        technique = dataclasses.replace(techniques.get(name), fit=fit)
        steps.append(techniques.Step(technique, technique.make_options(), Training(epochs=1)))
    candidate = techniques.Candidate(small(), properties=frozenset({"binary"}))
    candidate, _ = techniques.apply(
        candidate, steps, data=None, context=TrainingContext(), round_context=watch
    )
    assert seen == [
        ("hashed", {"binary"}),
        ("deep_compression 1/2", {"binary", "buckets"}),
        ("deep_compression 2/2", {"binary", "buckets"}),
    ]
    assert candidate.properties == {"binary", "buckets", "sparsity", "clusters"}


def steps_of(name, **options):
    return techniques.make_steps(chain(name), options, {})


def refusal_of(name, model, **options):
    with pytest.raises(InputError) as caught:
        techniques.check(techniques.Candidate(model), steps_of(name, **options))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("xnor+bwn", "conv2, conv3: binary already; conv1: first weighted layer"),
        ("cp+tucker", "conv2, conv3: CPConv2D has no TuckerConv2D form: only Conv1D and Conv2D "),
        ("cp+separable", "conv2, conv3: CPConv2D: only Conv1D and Conv2D are "),
        ("tucker+xnor", "conv2, conv3: TuckerConv2D has no binary form: only "),
    ],
)
def test_a_step_that_finds_nothing_to_do_is_refused_before_any_training(name, reason, small):
    first, later = name.split("+")
    got = refusal_of(name, small())
    assert got.startswith(f"chain '{name}': {later} finds nothing to do behind {first}: no layer ")
    assert reason in got
    assert got.endswith(f"; what works: '{first}' or '{later}'")
    with pytest.raises(InputError, match="finds nothing to do behind"):
        tfcompress.compress(small(), name, data=from_arrays(noise()), verbose=False)


def noise():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8)
    return pixels, np.arange(32) % 4


def test_layers_that_a_step_leaves_are_the_next_ones(small):
    """Whether a chain works depends on the network and on the layers that are named."""
    names = {"cp.ranks": {"conv2": 4}, "tucker.ranks": {"conv3": 6}}
    techniques.check(techniques.Candidate(small()), steps_of("cp+tucker", **names))
    candidate = techniques.Candidate(small())
    techniques.check(candidate, steps_of("cp+hashed+int8"))
    # Ranks that depend on the trained weights: nothing can be said yet of what comes behind.
    techniques.check(candidate, steps_of("svd+tucker", **{"svd.energy": 0.9}))


def test_a_longer_chain_works_without_the_step(small):
    got = refusal_of("cp+tucker+int8", small())
    assert got.endswith("; what works: 'cp+int8' or 'tucker'")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("int8+float16", "each says how the file's weights are written, and they are written once"),
        ("int8+xnor", "int8 rounds as the file is written, so it comes last"),
        ("qat+float16", "it only says how the file's weights are written, and qat says that itse"),
        ("xnor+prune", "it would turn the binary layers into float ones"),
        ("minmax8+cp", "it would change the quantised weights; 'cp+minmax8' works"),
    ],
)
def test_the_reason_fits_the_two(name, reason):
    first, later = name.split("+")
    with pytest.raises(InputError) as caught:
        chain(name)
    assert f"{later} can't follow {first}: {reason}" in str(caught.value)


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


def test_every_round_transforms_and_trains_from_the_seed(small):
    seeds, kernels = [], {}

    def fit(candidate, options, data, training, context):
        seeds.append(context.seed)
        kernels.setdefault(context.seed, candidate.model.get_layer("conv2").get_weights()[0])
        return candidate, []

    xnor = dataclasses.replace(techniques.get("xnor"), fit=fit)
    hashed = dataclasses.replace(techniques.get("hashed"), fit=fit)
    steps = [
        techniques.Step(xnor, xnor.make_options(init="scratch"), Training()),
        techniques.Step(hashed, hashed.make_options(), Training()),
    ]
    for seed in (5, 0):
        techniques.apply(
            techniques.Candidate(small()), steps, data=None, context=TrainingContext(seed=seed)
        )
    assert seeds == [5, 5, 0, 0]
    assert not np.array_equal(kernels[5], kernels[0])
