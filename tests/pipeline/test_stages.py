import csv
import dataclasses
import json
import re

import keras
import numpy as np
import pytest

from tfcompress import run, training
from tfcompress.bridge import legacy
from tfcompress.config import RunConfig
from tfcompress.container import archive
from tfcompress.errors import InputError
from tfcompress.export import storages
from tfcompress.pipeline import inputs, stages
from tfcompress.pipeline.plan import plan
from tfcompress.runtime import LiteModel, load
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import weighted_pairs

# What others rely on, from the design.
TOP = {"technique", "model", "dataset", "seed", "versions", "baseline", "compressed", "ratio"}
FILE = {
    "accuracy",
    "accuracy_keras",
    "parameters",
    "macs",
    "size_bytes",
    "gzip_bytes",
    "packed_bytes",
    "latency_ms_p50",
    "latency_ms_p90",
    "latency_runs",
    "peak_memory_bytes",
    "train_step_ms",
    "path",
}


def config(folder, output, **changes):
    """A run of seconds: two classes of 16x16 pictures, a quarter of the channels."""
    settings = {
        "dataset": f"folder:{folder}",
        "image_size": 16,
        "epochs": 2,
        "batch_size": 16,
        "options": {"width": "0.25"},
        "benchmark_runs": 20,
        "storage": "int8",
        "output_dir": str(output),
    }
    return RunConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def finished(picture_folder, tmp_path_factory):
    """A finished xnor run: its config, result and folder."""
    output = tmp_path_factory.mktemp("runs") / "deep" / "xnor"
    settings = config(picture_folder, output)
    return settings, stages.run(plan(settings)), output


def test_writes_everything_and_nothing_else(finished):
    _, _, output = finished
    names = {path.name for path in output.iterdir()}
    wanted = {"baseline.tflite", "compressed.tflite", "baseline.keras", "compressed.keras"}
    wanted |= {"baseline.tfz", "compressed.tfz", "README.md"}
    wanted |= {"report.json", "report.md", "report.html", "history.csv", "config.json"}
    assert wanted <= names
    assert {name for name in names - wanted if not re.fullmatch(r"\w+\.(svg|png)", name)} == set()


def test_report_has_the_promised_keys(finished):
    _, _, output = finished
    report = json.loads((output / "report.json").read_text())
    assert report.keys() >= TOP | {"accuracy_change_points", "schema"}
    for title, layers in (("baseline", "layers_before"), ("compressed", "layers_after")):
        assert sum(row.get("macs", 0) for row in report[layers]) == report[title]["macs"]
        assert 0 < sum(row["bytes"] for row in report[layers]) < report[title]["size_bytes"]
    for entry in report["benchmarks"]:
        assert entry["profile"]["ops"] or entry["profile"]["unavailable"]
    assert report["baseline"].keys() >= FILE
    assert report["compressed"].keys() >= FILE | {"parity_max_abs_diff"}
    assert report["ratio"].keys() == {"size", "latency", "parameters", "macs"}
    assert report["technique"] == "xnor"
    assert {line["action"] for line in report["layers"]} == {"kept", "binarised"}


def test_report_says_what_the_files_are(finished, picture_folder):
    settings, result, output = finished
    for title in ("baseline", "compressed"):
        path = output / f"{title}.tflite"
        assert getattr(result, title).size_bytes == path.stat().st_size
        packed = output / f"{title}.tfz"
        assert getattr(result, title).packed_bytes == packed.stat().st_size
        assert archive.unpack_bytes(packed.read_bytes())[0] == path.read_bytes()
    job = plan(settings)
    images = inputs.load_data(job, None)
    right = []
    lite = LiteModel(output / "compressed.tflite")
    for batch, labels in images.batches("test", 4):
        right += list(lite.predict(batch).argmax(1) == labels)
    assert result.compressed.accuracy == pytest.approx(np.mean(right))
    assert result.ratio["size"] < 1


def test_files_take_images_as_they_are(finished, picture_folder):
    """Labels and normalisation stand in them, and no path of this machine does."""
    settings, _, output = finished
    images = inputs.load_data(plan(settings), None)
    pixels = images.test.images.batch(np.arange(8))
    for title, how in (("baseline", "float weights"), ("compressed", "by xnor")):
        path = output / f"{title}.tflite"
        classify = load(path, check=False)
        assert classify.labels == images.class_names
        expected = LiteModel(path).predict(images.normalization(pixels))
        for image, outputs in zip(pixels, expected, strict=True):
            assert classify(image, top=1)[0].index == outputs.argmax()
        said = classify.metadata.description
        assert how in said
        assert str(picture_folder) not in said
        assert str(picture_folder).encode() not in path.read_bytes()


def test_history_has_every_epoch_of_both(finished):
    _, _, output = finished
    rows = list(csv.DictReader((output / "history.csv").open()))
    assert [(row["stage"], row["epoch"]) for row in rows] == [
        ("baseline", "1"),
        ("baseline", "2"),
        ("compressed", "1"),
        ("compressed", "2"),
    ]


def test_file_equals_the_saved_keras_model(finished, picture_folder):
    settings, _, output = finished
    job = plan(settings)
    images = inputs.load_data(job, None)
    x = images.representative(40)
    model = keras.saving.load_model(output / "compressed.keras", compile=False)
    expected = training.logits(model, x)
    np.testing.assert_allclose(
        LiteModel(output / "compressed.tflite").predict(x), expected, atol=1e-4
    )


def test_a_finished_run_is_only_shown(finished, capsys):
    settings, result, output = finished
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    again = stages.run(plan(settings))
    assert again.to_json() == result.to_json()
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before
    assert "--noresume repeats it" in capsys.readouterr().out


def test_other_settings_do_not_overwrite(finished, picture_folder):
    _, _, output = finished
    job = plan(config(picture_folder, output, seed=5))
    with pytest.raises(InputError, match=r"other settings \(seed\).*--noresume"):
        stages.run(job)


def test_files_are_written_as_flags_say(finished, picture_folder, tmp_path):
    _, _, output = finished
    own = {"model": str(output / "baseline.keras"), "options": {}, "benchmark": ("none",)}
    own |= {"technique": "int8", "normalization": "symmetric"}
    own |= {"storage": "int8,int8_int4", "rounding": "gptq", "ranges": "mse", "short_names": True}
    settings = config(picture_folder, tmp_path / "int8", io="uint8", **own)
    result = stages.run(plan(settings))
    made = LiteModel(tmp_path / "int8" / "compressed.tflite")
    assert (made.input_dtype, made.output_dtype) == ("uint8", "uint8")
    assert LiteModel(tmp_path / "int8" / "baseline.tflite").input_dtype == "float32"
    assert "--io=uint8 --ranges=mse --rounding=gptq --short_names" in result.command
    card = (tmp_path / "int8" / "README.md").read_text()
    assert "--io=uint8 --ranges=mse --rounding=gptq --short_names" in card
    both = "compressed.tflite, compressed-int8_int4.tflite"
    for start, end in (
        (f"{both}: integer activations have ranges of least", "(--ranges=mse)."),
        ("compressed-int8_int4.tflite: weights of few bits are", "(--rounding=gptq)."),
        (f"{both}: the tensors inside", "(--short_names)."),
    ):
        assert any(note.startswith(start) and note.endswith(end) for note in result.notes)
    names = ("baseline.tflite", "compressed-int8_int4.tflite")
    floats, few = (Editor(tmp_path / "int8" / name) for name in names)
    shares = [
        few.graph.tensors[after.inputs[1]].quantization.scale * 7
        / np.abs(floats.values(before.inputs[1])).max(axis=(1, 2, 3))
        for before, after in weighted_pairs(floats, few)
        if floats.name(before) == "CONV_2D"
    ]  # fmt: skip
    assert np.concatenate(shares).min() < 0.9
    assert any("takes and gives uint8" in note for note in result.notes)
    assert result.compressed.accuracy >= result.compressed.accuracy_keras - 0.1
    others = {"io": "int8", "ranges": "minmax", "rounding": "nearest", "short_names": False}
    other = plan(dataclasses.replace(settings, **others))
    words = ", ".join(others)
    with pytest.raises(InputError, match=rf"other settings \({words}\).*--noresume"):
        stages.run(other)


def test_a_refused_file_leaves_the_models(finished, picture_folder, tmp_path, monkeypatch, capsys):
    _, _, output = finished
    folder = tmp_path / "out"
    words = [
        "run", f"--dataset=folder:{picture_folder}", "--image_size=16", "--epochs=1",
        f"--model={output / 'baseline.keras'}", "--benchmark=none", f"--output_dir={folder}",
    ]  # fmt: skip
    from tfcompress.export.storage import Tolerance

    method = dataclasses.replace(storages.get("float32").usual, tolerance=Tolerance(-1.0, 1.0))
    strict = dataclasses.replace(storages.get("float32"), method=lambda traits: method)
    monkeypatch.setattr(storages.float32, "STORAGE", strict)
    assert run.main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert [
        line for line in said if line.startswith("error: the baseline's file: the file differs")
    ]
    assert "Traceback" not in said
    names = {path.name for path in folder.iterdir()}
    assert names == {".tfcompress", "baseline.keras", "compressed.keras", "config.json"}


def test_the_users_own_model(finished, picture_folder, tmp_path):
    _, _, output = finished
    settings = config(
        picture_folder,
        tmp_path / "own",
        model=str(output / "baseline.keras"),
        technique="bwn",
        storage=None,
        options={},
        benchmark=("none",),
        normalization="standardize",
    )
    result = stages.run(plan(settings))
    assert result.histories["baseline"] == []
    assert result.baseline.latency_ms_p50 is None
    assert result.ratio["latency"] is None
    first = json.loads((output / "report.json").read_text())
    assert result.baseline.accuracy == first["baseline"]["accuracy"]


def test_resumes_to_the_same_weights_and_logs_for_tensorboard(
    finished, picture_folder, tmp_path, monkeypatch
):
    _, _, output = finished
    again = config(picture_folder, tmp_path / "again", benchmark=("none",), tensorboard=True)
    steps = []

    class Killed(BaseException):
        pass

    def die(self, epoch, step, count):
        steps.append(step)
        if len(steps) == 11:  # in the second stage's first epoch
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tfcompress.training.progress.Progress.step", die)
        with pytest.raises(Killed):
            stages.run(plan(again))
    assert (tmp_path / "again" / ".tfcompress" / "run" / "baseline.npz").exists()
    assert not (tmp_path / "again" / "report.json").exists()
    stages.run(plan(again))
    weights = [
        keras.saving.load_model(folder / "compressed.keras", compile=False).get_weights()
        for folder in (output, tmp_path / "again")
    ]
    for undisturbed, resumed in zip(*weights, strict=True):
        np.testing.assert_array_equal(undisturbed, resumed)
    for stage in ("baseline", "compressed-xnor"):
        assert list((tmp_path / "again" / "tensorboard" / stage).rglob("events.out.tfevents*"))


def test_the_control_is_not_trained_again(picture_folder, tmp_path):
    job = plan(config(picture_folder, tmp_path, technique="baseline", epochs=3))
    assert (job.baseline.epochs, job.steps[0].training.epochs) == (3, 0)


def test_a_users_model_is_trained_only_if_asked(finished, picture_folder, tmp_path):
    _, _, output = finished
    own = {"model": str(output / "baseline.keras"), "options": {}, "technique": "bwn"}
    job = plan(config(picture_folder, tmp_path, epochs=3, **own))
    assert (job.baseline.epochs, job.steps[0].training.epochs) == (0, 3)
    job = plan(config(picture_folder, tmp_path, baseline_epochs=2, **own))
    assert job.baseline.epochs == 2


def test_an_old_model_of_keras_2(picture_folder, tmp_path, capsys):
    old = legacy.tf_keras()
    x = inputs = old.Input((16, 16, 3))
    x = old.layers.Conv2D(8, 3, padding="same")(x)
    x = old.layers.ReLU()(x * 2.0 + x)  # Keras 3 can't load what this is saved as.
    x = old.layers.GlobalAveragePooling2D()(x)
    old.Model(inputs, old.layers.Dense(2)(x)).save(tmp_path / "old.h5")
    settings = config(
        picture_folder,
        tmp_path / "run",
        model=str(tmp_path / "old.h5"),
        technique="int8",
        options={},
        benchmark=("none",),
        baseline_epochs=1,
    )
    result = stages.run(plan(settings))
    assert "isn't a model of Keras 3: loading it by tf_keras" in capsys.readouterr().out
    assert result.compressed.storage == "int8"


def test_a_chain_of_two(finished, picture_folder, tmp_path):
    _, _, output = finished
    settings = config(
        picture_folder,
        tmp_path / "chain",
        model=str(output / "baseline.keras"),
        normalization="standardize",
        technique="svd+hashed",
        storage=None,
        options={"svd.macs_ratio": "0.5", "compression_ratio": "0.5"},
        benchmark=("none",),
    )
    result = stages.run(plan(settings))
    assert {line["action"] for line in result.layers} >= {"factorised", "hashed"}
    assert [row["epoch"] for row in result.histories["compressed"]] == [1, 2, 3, 4]
    assert result.technique == "svd+hashed"
    assert result.ratio["parameters"] < 1


def test_quantised_without_training(picture_folder, tmp_path):
    """The layers that keep more bits, the floats that stay and each layer's error are reported."""
    settings = config(
        picture_folder,
        tmp_path / "mixed",
        technique="mixed",
        storage=None,
        benchmark=("none",),
        options={"width": "0.25", "max_drop": "100"},
    )
    result = stages.run(plan(settings))
    assert [len(result.histories[title]) for title in ("baseline", "compressed")] == [2, 0]
    report = json.loads((tmp_path / "mixed" / "report.json").read_text())
    assert report["compressed"]["storage"] == "int8_int4"
    quantised = [line["name"] for line in report["layers"] if line["action"] == "quantised"]
    assert list(report["layer_errors"]) == quantised
    reasons = {line["name"]: line["reason"] for line in report["layers"]}
    rows = {row["name"]: row for row in report["layers_after"]}
    for name in quantised:
        assert rows[name]["bits"] == 4
        assert "; 4 bits a weight, " in reasons[name]
    assert all(0 < error < 1 for error in report["layer_errors"].values())
    assert not any("in floats" in note for note in report["notes"])
