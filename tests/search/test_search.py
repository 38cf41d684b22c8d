"""A whole search of a tiny network: what is over a budget isn't trained, what is found keeps it."""

import types

import keras
import numpy as np
import pytest

import tfcompress
from tfcompress import training
from tfcompress.config import RunConfig
from tfcompress.errors import InputError
from tfcompress.metric import Metric
from tfcompress.report import FileResult
from tfcompress.search import __main__ as main
from tfcompress.search import command
from tfcompress.search.bench import Outcome
from tfcompress.search.budget import Costs, parse_budgets
from tfcompress.search.engine import Aim, Trial
from tfcompress.search.finalists import Finalist
from tfcompress.search.page import counted, rank_correlations
from tfcompress.search.settings import SearchSettings

pytest.importorskip("optuna")


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.batch = x, y

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


def test_finds_files_within_the_budget(task, tmp_path):
    model, data = task
    weights = model.get_weights()
    wanted = {"budget": ["size=0.7"], "techniques": ["svd"], "epochs": 1, "folder": tmp_path}
    found = tfcompress.search(model, data, trials=1, **wanted)
    assert len(found.trials) == 1
    assert found.front
    for file in found.front:
        assert file.costs.size <= 0.7 * found.floats.size
    assert found.best.costs.value == max(file.costs.value for file in found.front)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)
    # The file that was found, made again by the public functions, is as large.
    best = found.best
    if best.choice.chain:
        model = tfcompress.compress(model, best.choice.chain, data, epochs=1, verbose=False,
                                    **best.choice.options)  # fmt: skip
    written = tfcompress.export(model, tmp_path / "m.tflite", storage=best.storage,
                                representative=data[0][:50])  # fmt: skip
    assert abs(written.size_bytes - best.costs.size) < 512
    # It goes on where it was: there is nothing left to do.
    again = tfcompress.search(model, data, trials=1, **wanted)
    assert [str(each.choice) for each in again.trials] == [str(found.trials[0].choice)]


def test_never_trains_what_is_over_the_budget(task, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("a network over the budget is trained")

    monkeypatch.setattr(training.fit, "__code__", refuse.__code__)
    found = tfcompress.search(*task, budget="size=10", trials=1, techniques=["svd"])
    assert not found.front
    assert found.best is None
    assert [each.outcome.state for each in found.trials] == ["over"]
    assert "takes of its budget: size" in found.trials[0].outcome.reason


def test_streams_have_nothing_to_hold_out(task):
    model, (x, y) = task
    with pytest.raises(InputError, match="is a stream, of which no examples can be held out"):
        tfcompress.search(model, Batches(x, y), budget="size=0.5")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give what a file may cost, as in --budget size=100KiB"),
        (["--budget=speed=2"], "unknown budget 'speed'"),
        (["--budget=size=-1"], "--budget size takes"),
        (["--budget=size=0.5", "--trials=0"], "--trials must be 1 or more; got 0"),
        (["--budget=size=0.5", "--techniques=cq"], "unknown technique 'cq'"),
        (["--budget=size=0.5", "--set=rank=3"], "unknown option 'rank'"),
        (["--budget=size=0.5", "fast"], "'fast' isn't a flag"),
        (["--budget=size=0.5", "--goal=beauty"], "--goal"),
        (["--join=nowhere"], "no search was begun there"),
    ],
)
def test_bad_usage_is_one_line(flags, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main(["search", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_folder_of_others_is_left_alone(tmp_path, capsys):
    (tmp_path / "search.html").write_text("mine")
    assert main.main(["search", "--budget=size=0.5", f"--output_dir={tmp_path}"]) == 2
    assert "holds search.html, which no search wrote" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["search.html"]


def test_a_moved_folder_goes_on(tmp_path):
    def settings(folder, **changes):
        return SearchSettings(
            budget=("size=0.5",), config=RunConfig(output_dir=folder, **changes), trials=2
        )

    command._claim(tmp_path, settings("there"))
    command._claim(tmp_path, settings("elsewhere"))
    with pytest.raises(InputError, match=r"with other settings \(config\)"):
        command._claim(tmp_path, settings("there", seed=1))


def test_finalists_are_judged_by_what_their_files_take_of_the_memory():
    """The mean over the seeds: 500 and 700 of 1000 are a fifth more than half of it."""
    file = FileResult(path="m.tflite", parameters=1, accuracy=0.9, size_bytes=100)
    result = types.SimpleNamespace(baseline=file, files=[file])
    finalist = Finalist(
        found=None,
        results=[result, result],
        folders=[],
        command="",
        budgets=parse_budgets(["memory=0.5", "size=1"]),
        memory=[(1000, 500), (1000, 700)],
    )
    assert finalist.over() == pytest.approx({"memory": 0.2})
    assert finalist.keeping() == 1


def test_rank_correlations_by_hand():
    ends = [(0.1, 0.2, 0.9), (0.2, 0.3, 0.7), (0.3, 0.1, 0.8), (0.4, 0.4, 0.6)]
    trials = [
        Trial(n, None, Outcome(state="trained", repaired=before, by_epoch=[first, last]))
        for n, (before, first, last) in enumerate(ends)
    ]
    lines = rank_correlations(trials)
    # Ranks 1 2 3 4 against 4 2 3 1, and 2 3 1 4 against 4 2 3 1: 1 - 6 * 18 / 60 and -0.8.
    assert [line.rpartition(": ")[2] for line in lines] == [
        "-0.80, 4 trainings",
        "-0.80, 4 trainings",
    ]


def test_chains_that_the_model_cannot_have_are_no_trials():
    aim = Aim(parse_budgets(["size=100"]), "size", Costs(size=300), Metric())
    files = {"int8": Costs(size=90, value=0.9), "float16": Costs(size=150, value=0.9)}
    states = ["trained", "over", "impossible", "over", "impossible", "impossible"]
    trials = [
        Trial(n, None, Outcome(state=state, files=files if state == "trained" else {}))
        for n, state in enumerate(states)
    ]
    assert counted(trials, aim) == (
        "3 trials: 1 trained, 2 over a budget untrained, and never trained; 1 files within the "
        "budgets; 3 chains drawn that this model can't have"
    )
    assert counted(trials[:2], aim).endswith("1 files within the budgets")
