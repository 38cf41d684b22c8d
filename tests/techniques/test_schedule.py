"""`schedule=iterative`: one layer at a time, each from the weights that were tuned before."""

import dataclasses

import numpy as np
import pytest

import tfcompress
from tfcompress import config, techniques
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.layers import CPConv2D, LowRankConv2D
from tfcompress.pipeline import plan
from tfcompress.training import TrainingContext

SETTINGS = Training(epochs=2, batch_size=16)


def data():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8)
    return from_arrays((pixels, np.arange(32) % 4))


def rounds_of(name, model, settings=SETTINGS, **options):
    technique = techniques.get(name)
    chosen = technique.make_options(schedule="iterative", **options)
    return technique.rounds(techniques.Candidate(model), chosen, settings)


def applied(name, model, fit=None, **options):
    technique = techniques.get(name)
    if fit is not None:
        technique = dataclasses.replace(technique, fit=fit)
    step = techniques.Step(technique, technique.make_options(**options), SETTINGS)
    said, titles = [], []

    def round_context(context, title, candidate, training):
        titles.append((title, training.epochs))
        return context

    candidate = techniques.Candidate(model, say=lambda stage, text: said.append((stage, text)))
    candidate, rows = techniques.apply(
        candidate, [step], data(), TrainingContext(teacher=model), round_context=round_context
    )
    return candidate, rows, titles, said


@pytest.mark.parametrize("name", ["cp", "spatial", "svd", "tt", "tucker"])
def test_a_round_for_each_layer_with_the_rank_that_once_would_choose(name, small):
    whole = techniques.get(name)
    at_once = whole.transform(techniques.Candidate(small()), whole.make_options()).model
    rounds = rounds_of(name, small(), layer_epochs=3)
    assert [[*turn.options.ranks] for turn, _ in rounds] == [["conv2"], ["conv3"]]
    for turn, _ in rounds:
        ((layer, rank),) = turn.options.ranks.items()
        assert rank == at_once.get_layer(layer).rank
        assert not any(getattr(turn.options, rule) for rule in turn.options._rules())
    assert [settings for _, settings in rounds] == [
        dataclasses.replace(SETTINGS, epochs=3),
        SETTINGS,
    ]


def test_rules_and_further_options_stay(small):
    (first, _), _ = rounds_of("cp", small(), iterations=7, rank=3)
    assert (first.options.iterations, first.options.ranks) == (7, {"conv2": 3})
    assert [turn.options.ranks for turn, _ in rounds_of("svd", small(), energy=0.5)] == [
        {"conv2": 5},
        {"conv3": 6},
    ]
    ((only, settings),) = rounds_of("tucker", small(), ranks={"conv3": (2, 3)})
    assert (only.options.ranks, settings) == ({"conv3": (2, 3)}, SETTINGS)


def test_no_epochs_train_nothing(small):
    settings = dataclasses.replace(SETTINGS, epochs=0)
    assert [s.epochs for _, s in rounds_of("cp", small(), settings)] == [0, 0]


def test_trains_after_each_and_says_each_layer_once(small):
    candidate, rows, titles, said = applied("cp", small(), schedule="iterative")
    assert titles == [("cp 1/2", 1), ("cp 2/2", 2)]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert isinstance(candidate.model.get_layer("conv2"), CPConv2D)
    assert isinstance(candidate.model.get_layer("conv3"), CPConv2D)
    assert [(line.name, line.action) for line in candidate.layers] == [
        ("conv1", "kept"),
        ("logits", "kept"),
        ("conv2", "factorised"),
        ("conv3", "factorised"),
    ]
    assert "first weighted layer" in candidate.layers[0].reason
    assert [stage for stage, _ in said] == ["cp", "cp"]
    assert [text.split(":")[0] for _, text in said] == ["conv2", "conv3"]


def test_the_next_layer_is_decomposed_from_the_tuned_weights(small):
    def fit(candidate, options, data, training, context):
        """Doubles conv3's kernel while it is a convolution."""
        layer = candidate.model.get_layer("conv3")
        if not isinstance(layer, LowRankConv2D):
            layer.kernel.assign(2 * np.asarray(layer.kernel))
        return candidate, []

    model = small()
    candidate, *_ = applied("svd", model, fit, schedule="iterative", rank=2, ranks={"conv3": 16})
    found = candidate.model.get_layer("conv3").logical_kernel()
    np.testing.assert_allclose(found, 2 * np.asarray(model.get_layer("conv3").kernel), atol=1e-5)


def test_activations_layer_by_layer(small):
    images = data().representative(32)
    model = small()
    technique = techniques.get("spatial")
    options = technique.make_options(schedule="iterative", reconstruction="activations")
    candidate = techniques.Candidate(model, samples=images)
    for turn, _ in technique.rounds(candidate, options, SETTINGS):
        candidate = technique.transform(candidate, turn)
    done = [line.reason for line in candidate.layers if line.action == "factorised"]
    assert len(done) == 2
    assert all("error of the responses" in reason for reason in done)


def test_what_cannot_be_is_refused_before_anything_is_trained(small):
    with pytest.raises(InputError, match="unknown layer of model 'small' 'conv9'"):
        rounds_of("cp", small(), ranks={"conv9": 4})
    with pytest.raises(InputError, match="no layer of model 'small' gains by cp"):
        rounds_of("cp", small(), rank=400)
    with pytest.raises(InputError, match="schedule takes one of once, iterative; got 'twice'"):
        techniques.get("cp").make_options(schedule="twice")
    with pytest.raises(InputError, match="layer_epochs must be 1 or more; got 0"):
        techniques.get("cp").make_options(layer_epochs=0)


def test_a_transform_replaces_all_at_once(small):
    thin = tfcompress.transform(small(), "cp", schedule="iterative")
    assert {type(thin.get_layer(name)) for name in ("conv2", "conv3")} == {CPConv2D}


def test_by_the_door_and_the_command(small, capsys):
    thin = tfcompress.compress(small(), "cp", data(), schedule="iterative", epochs=1, rank=2)
    assert thin.get_layer("conv3").rank == 2
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in printed] == [
        ["cp", "conv2:"],
        ["cp", "1/2"],
        ["cp", "conv3:"],
        ["cp", "2/2"],
    ]
    tfcompress.compress(small(), "cp", data(), epochs=0, rank=2, verbose=False)
    tfcompress.transform(small(), "cp", rank=2)
    assert capsys.readouterr().out == ""
    chosen = {"schedule": "iterative", "learning_rate_schedule": "constant", "layer_epochs": "2"}
    (step,) = plan.plan(config.RunConfig(technique="cp", options=chosen)).steps
    assert (step.options.schedule, step.options.layer_epochs) == ("iterative", 2)
    assert step.training.learning_rate_schedule == "constant"


@pytest.mark.parametrize("name", techniques.names())
def test_no_option_has_the_name_of_a_trainings(name):
    """`compress` and `--set` take both by their names alone."""
    fields = {field.name for field in dataclasses.fields(Training)}
    assert not fields & {field.name for field in dataclasses.fields(techniques.get(name).options)}
