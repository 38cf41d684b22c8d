"""Runs on data that are no images with classes."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest

from tfcompress import data, run
from tfcompress.config import RunConfig
from tfcompress.data.as_fit import as_fit
from tfcompress.errors import InputError
from tfcompress.pipeline import inputs, results, stages
from tfcompress.pipeline.plan import plan
from tfcompress.runtime import LiteModel

RNG = np.random.default_rng(0)
COUNT = 60
X = {
    "image": RNG.normal(size=(COUNT, 6, 6, 1)).astype("float32"),
    "table": RNG.normal(size=(COUNT, 4)).astype("float32"),
}
Y = {"kind": np.arange(COUNT) % 3, "price": X["table"].sum(1)}


def test_a_tables_run_starts_with_a_network_that_fits(tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "\n".join(f"{n},{n % 7},{1000.5 + n}" for n in range(20)))
    values = run.parse(["run", f"--dataset=csv:{table}", "--set=target=y", "--technique=int8"])
    job = plan(run.to_config(values))
    assert (job.config.model, job.output_dir.name) == ("mlp", "mlp_t_int8")
    model, loaded = inputs.load(job)
    assert model.output_shape == (None, 1)
    # Untrained, it answers near the mean of the target, not near 0.
    assert abs(np.asarray(model(loaded.train.x)).mean() - 1010) < 20
    preparation = results._preparation(inputs.task_of(job, model, loaded))["preparation"]
    assert [column["name"] for column in preparation["columns"]] == ["a", "b"]
    json.dumps(preparation)


def test_the_users_code_is_run_and_said_so(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def load():\n    print('my words')\n    return [[1.0], [2.0]], [1.5, 2.5]")
    job = plan(RunConfig(dataset=f"{file}:load", model="mlp", technique="int8"))
    assert job.output_dir.name == "mlp_mine_load_int8"
    assert "my words" not in capsys.readouterr().out
    inputs.load(job)
    said = capsys.readouterr().out
    assert f"runs {file}:load, which is code of your own" in said
    assert said.index("which is code of your own") < said.index("my words")


def two_by_two():
    image, table = keras.Input((6, 6, 1), name="image"), keras.Input((4,), name="table")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(image), table])
    x = keras.layers.Dense(32, activation="relu")(x)
    outputs = {
        "kind": keras.layers.Dense(3, activation="softmax", name="kind")(x),
        "price": keras.layers.Dense(1, name="price")(x),
    }
    return keras.Model([image, table], outputs)


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A model file with two inputs and outputs, and its data in place of the embedded ones."""
    keras.utils.set_random_seed(0)
    model = two_by_two()
    model.save(tmp_path / "two.keras")
    found = dataclasses.replace(as_fit((X, Y), inputs=2, outputs=2), name="two")
    monkeypatch.setattr(data, "load", lambda *_, **__: found)
    return {
        "model": str(tmp_path / "two.keras"),
        "technique": "float16",
        "benchmark": ("none",),
        "output_dir": str(tmp_path / "out"),
    }


@pytest.mark.slow
def test_two_inputs_and_outputs_from_file_to_report(two, tmp_path, capsys):
    settings = {**two, "metric": "price_mae", "baseline_epochs": 1}
    result = stages.run(plan(RunConfig(**settings)))
    assert "compressed.tflite on all 12 test examples" in capsys.readouterr().out
    out = tmp_path / "out"
    held_out = next(iter(data.load("two").test_batches(99)))
    outputs = LiteModel(out / "compressed.tflite").predict(held_out.x)
    off = np.abs(outputs["price"][:, 0] - held_out.y["price"]).mean()
    assert result.compressed.accuracy == pytest.approx(off)
    right = (outputs["kind"].argmax(1) == held_out.y["kind"]).mean()
    assert result.compressed.metrics["kind_accuracy"] == pytest.approx(right)
    assert result.compressed.metric_interval_percent is not None
    report = json.loads((out / "report.json").read_text())
    assert (report["metric"], report["test_images"], report["examples"]) == (
        "price_mae", 12, "examples"
    )  # fmt: skip
    with open(out / "history.csv") as file:
        (row,) = csv.DictReader(file)
    assert float(row["test_price_mae"]) == pytest.approx(result.baseline.accuracy, rel=1e-4)
    card = (out / "README.md").read_text()
    assert "predict({'image': ..., 'table': ...})" in card
    assert "classes" not in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": "unit"}, "--normalization is for images with classes; two reaches"),
        ({"augment": "flip"}, "--augment is for images with classes"),
        ({"metric": "mae"}, "has 2 outputs; known are kind_accuracy, price_mae, loss"),
        ({"io": "uint8"}, "io=uint8 is for files that compute in integers"),
        ({"model": "vgg_small"}, "a builder makes a network with one input"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(two, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        stages.run(plan(RunConfig(**{**two, **changes})))
    assert not (tmp_path / "out").exists()


def test_data_of_another_shape_end_in_one_line(two, tmp_path, monkeypatch, capsys):
    narrow = as_fit(({**X, "table": X["table"][:, :3]}, Y), inputs=2, outputs=2)
    monkeypatch.setattr(data, "load", lambda *_, **__: narrow)
    argv = ["run", f"--model={two['model']}", f"--output_dir={tmp_path / 'out'}", "--dry_run"]
    assert run.main(argv) == 2
    assert "takes inputs of shape (4,) as 'table', but those of the data are (3,)" in (
        capsys.readouterr().err
    )


def test_a_compiled_file_keeps_its_loss_metrics_and_optimizer(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(
        keras.optimizers.SGD(0.125),
        "mae",
        metrics=[keras.metrics.RootMeanSquaredError(name="rmse")],
    )
    model.save(tmp_path / "own.keras")
    monkeypatch.setattr(data, "load", lambda *_, **__: as_fit((X["table"], Y["price"])))
    config = RunConfig(model=str(tmp_path / "own.keras"), technique="float16")
    job = plan(config)
    task = inputs.task_of(job, *inputs.load(job))
    assert task.judge.metric.name == "rmse"
    assert not task.judge.metric.higher_is_better
    assert task.objective.users
    assert task.objective.loss == "mae"
    assert float(task.objective.optimizer.learning_rate) == 0.125


def own_loss(y, outputs):
    return keras.ops.mean(keras.ops.abs(y - outputs), -1)


def test_a_loss_that_is_not_known_here_gives_way_and_that_is_said(tmp_path, monkeypatch, capsys):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", own_loss)
    model.save(tmp_path / "own.keras")
    monkeypatch.setattr(data, "load", lambda *_, **__: as_fit((X["table"], Y["price"])))
    job = plan(RunConfig(model=str(tmp_path / "own.keras"), technique="float16"))
    task = inputs.task_of(job, *inputs.load(job))
    assert "own.keras was compiled with isn't known here (" in capsys.readouterr().out
    assert not task.objective.users
    assert task.judge.metric.name == "mae"
