"""A run that writes several files, one that can't write any, and what a user sees of it."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from tests.pipeline.test_stages import config
from tfcompress import run, training
from tfcompress.errors import InputError
from tfcompress.export import storages
from tfcompress.export.storage import Tolerance
from tfcompress.pipeline import inputs, stages
from tfcompress.pipeline.plan import plan
from tfcompress.runtime import LiteModel
from tfcompress.runtime.accuracy import change_interval


@pytest.fixture(scope="module")
def three(picture_folder, tmp_path_factory):
    """One training, three files: its plan, result and folder."""
    output = tmp_path_factory.mktemp("runs") / "three"
    settings = config(picture_folder, output, storage="int8, xnor,xnor+int8", epochs=1)
    job = plan(settings)
    return job, stages.run(job), output


def test_one_training_three_files_timed_in_turns(three):
    _, result, output = three
    assert [file.path for file in result.files] == [
        "compressed.tflite",
        "compressed-xnor.tflite",
        "compressed-xnor_int8.tflite",
    ]
    assert [file.needs for file in result.files] == ["", "1-bit kernels", ""]
    assert len(result.histories["compressed"]) == 1
    # One entry for each file, the baseline's first.
    assert len(result.benchmarks) == 4
    assert {entry["block_runs"] for entry in result.benchmarks} != {None}
    for file, entry in zip(result.files, result.benchmarks[1:], strict=True):
        assert file.size_bytes == (output / file.path).stat().st_size
        assert file.latency_ratio == entry["ratio"] > 0
    report = json.loads((output / "report.json").read_text())
    assert list(report["files"]) == ["int8", "xnor", "xnor+int8"]
    assert report["files"]["int8"]["accuracy"] == report["compressed"]["accuracy"]
    assert report["config"]["storage"] == "int8,xnor,xnor+int8"


def test_files_of_one_network_give_its_labels(three):
    job, result, output = three
    images = inputs.load_data(job, None)
    x = images.representative(40)
    first, *others = (LiteModel(output / file.path).predict(x) for file in result.files)
    for outputs in others:
        np.testing.assert_allclose(outputs, first, atol=2e-4)
    test_x, labels = (
        np.concatenate(part) for part in zip(*images.batches("test", 64), strict=True)
    )
    chosen = [
        LiteModel(output / path).predict(test_x).argmax(1)
        for path in ("baseline.tflite", "compressed.tflite")
    ]
    low, high = change_interval(chosen[0] == labels, chosen[1] == labels)
    model = keras.saving.load_model(output / "compressed.keras", compile=False)
    same = training.logits(model, images.test.images.batch(np.arange(16))).argmax(1) == chosen[1]
    assert result.compressed.keras_agreement == same.mean()
    assert result.compressed.accuracy_interval_points == (100 * low, 100 * high)


def test_what_this_machine_cannot_make_is_a_line_unless_asked_for(
    three, picture_folder, tmp_path, monkeypatch
):
    def refuse():
        raise InputError("storage xnor needs a compiler")

    xnor = dataclasses.replace(storages.get("xnor"), check_machine=refuse)
    monkeypatch.setattr(storages.xnor, "STORAGE", xnor)
    _, _, output = three  # Whose float network needs no training.
    settings = config(
        picture_folder,
        tmp_path / "out",
        model=str(output / "baseline.keras"),
        normalization="standardize",
        options={},
        storage=None,
        epochs=1,
        benchmark=("none",),
    )
    job = plan(settings)
    assert (job.storages, job.unavailable) == (("int8",), {"xnor": "storage xnor needs a compiler"})
    result = stages.run(job)
    assert stages.failed(job, result) == {}
    assert [file.storage for file in result.files] == ["int8"]
    assert "No file of storage xnor: storage xnor needs a compiler." in result.notes
    with pytest.raises(InputError, match="needs a compiler"):
        plan(dataclasses.replace(settings, storage="int8,xnor"))


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("int8,int8", "--storage=int8,int8 has one storage twice"),
        ("int8,", "unknown storage ''"),
        ("int8,int9", "unknown storage 'int9'"),
        ("int8,lce", "storage lce isn't for this command"),
    ],
)
def test_bad_lists_of_storages(picture_folder, tmp_path, storage, message):
    with pytest.raises(InputError, match=message):
        plan(config(picture_folder, tmp_path / "out", storage=storage))


def test_a_storage_that_cannot_hold_the_network_is_refused_before_its_training(
    picture_folder, tmp_path, capsys
):
    # Whatever rounds the weights turns signs.
    job = plan(config(picture_folder, tmp_path / "out", storage="int8,float16", epochs=1))
    with pytest.raises(InputError, match="storage float16 rounds the weights before the signs"):
        stages.run(job)
    assert "epoch" not in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.fixture
def strict_int8(monkeypatch):
    """Lets no int8 file of a float network pass."""
    usual = storages.get("int8").usual
    strict = dataclasses.replace(usual, tolerance=Tolerance(-1.0, 1.0))
    storage = dataclasses.replace(storages.get("int8"), method=lambda traits: strict)
    monkeypatch.setattr(storages.int8, "STORAGE", storage)


def test_a_refused_file_leaves_the_baselines_report_and_a_way_on(
    strict_int8, picture_folder, tmp_path, capsys
):
    folder = tmp_path / "out"
    words = [
        "run", "--technique=int8", f"--dataset=folder:{picture_folder}", "--image_size=16",
        "--set=width=0.25", "--epochs=1", "--benchmark_runs=5", f"--output_dir={folder}",
    ]  # fmt: skip
    assert run.main(words) == 2
    printed = capsys.readouterr()
    (error,) = [line for line in printed.err.splitlines() if line.startswith("error:")]
    assert "storage int8: the file differs from Keras" in error
    assert "--allow_difference" in error
    assert "The int8 network was not written as a file: int8:" in printed.out
    assert "accuracy of the file" in printed.out
    report = json.loads((folder / "report.json").read_text())
    assert report["compressed"] is report["ratio"] is None
    assert report["baseline"]["latency_ms_p50"] > 0
    assert list(report["unwritten"]) == ["int8"]
    assert not list(folder.glob("compressed*.tfl*"))

    assert run.main([*words, "--allow_difference"]) == 0
    printed = capsys.readouterr()
    assert "Written in spite of the check that it failed: compressed-differs.tflite" in printed.out
    report = json.loads((folder / "report.json").read_text())
    assert report["compressed"]["path"] == "compressed-differs.tflite"
    assert "differs from Keras" in report["files"]["int8"]["failed_check"]
    assert any("in spite of its check" in note for note in report["notes"])
    assert (folder / "compressed-differs.tflite").exists()
    assert not (folder / "compressed.tflite").exists()
