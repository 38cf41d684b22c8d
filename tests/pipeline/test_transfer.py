"""A run whose technique learns from unlabelled examples: what it writes, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import tfcompress
from tests.conftest import draw
from tests.pipeline.test_stages import config
from tfcompress import models, run, training
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.pipeline import stages
from tfcompress.pipeline.dry_run import dry_run
from tfcompress.pipeline.plan import plan


@pytest.fixture
def loose(tmp_path):
    """A folder of pictures without classes."""
    rng = np.random.default_rng(7)
    folder = tmp_path / "loose"
    folder.mkdir()
    for number in range(40):
        picture = draw(("cross", "stripe")[number % 2], rng)
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def settings(picture_folder, tmp_path):
    def make(**changes):
        given = {"technique": "svd", "storage": None, "benchmark": ("none",), "epochs": 2}
        return config(picture_folder, tmp_path / "out", **{**given, **changes})

    return make


@pytest.mark.slow
def test_a_run_on_pictures_without_labels(settings, loose, monkeypatch):
    trained_on = []
    real = training.fit

    def fit(model, data, settings, context):
        trained_on.append(None if context.transfer is None else context.transfer.name)
        return real(model, data, settings, context)

    monkeypatch.setattr(training, "fit", fit)
    job = plan(settings(transfer=f"folder:{loose}"))
    result = stages.run(job)
    assert trained_on == [None, f"folder:{loose}"]
    written = json.loads((job.output_dir / "report.json").read_text())
    assert written["transfer"] == {"name": f"folder:{loose}", "examples": 40}
    assert written["teacher"] == {"name": "baseline", "accuracy": result.baseline.accuracy_keras}
    assert 0.5 <= written["compressed"]["teacher_agreement"] <= 1
    assert written["baseline"]["teacher_agreement"] == 1
    test = written["compressed"]["against_baseline"]
    change = (test["gained"] - test["lost"]) / result.test_images
    assert written["accuracy_change_points"] == pytest.approx(100 * change)
    assert written["histories"]["compressed"][0].keys() >= {"loss", "test_error"}
    assert "train_error" not in written["histories"]["compressed"][0]
    page = (job.output_dir / "report.md").read_text()
    assert "folder:loose: 40 images without labels" in page
    assert "learned from its teacher alone" in page
    assert str(loose) not in page


@pytest.mark.slow
def test_half_trains_the_baseline_on_one_half(settings):
    text = dry_run(plan(settings(transfer="half")))
    assert text.startswith(
        "Trains on 32 images: baseline 2 epochs, svd 2 epochs, the technique without labels on half"
    )


def test_the_test_images_are_refused_before_anything_is_written(
    settings, picture_folder, loose, capsys
):
    shutil.copy(picture_folder / "test" / "cross" / "3.png", loose / "x.png")
    given = settings(transfer=f"folder:{loose}")
    flags = [f"--{name}={getattr(given, name)}" for name in ("dataset", "transfer", "output_dir")]
    flags += ["--technique=svd", "--image_size=16", "--set=width=0.25"]
    assert run.main(["run", *flags]) == 2
    assert not (loose.parent / "out").exists()
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: transfer set ")
    assert "holds 1 of the 16 test examples" in lines[-1]
    assert f"the first is {loose / 'x.png'}: take them out" in lines[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"technique": "int8"}, "'int8' trains nothing"),
        ({"technique": "dsd"}, "dsd learns from labels alone"),
        ({"technique": "svd", "epochs": 0}, "'svd' trains nothing"),
        ({"transfer": "mixup:some"}, "must be mixup:N"),
    ],
)
def test_what_cannot_learn_from_unlabelled_examples(settings, changes, words):
    with pytest.raises(InputError, match=words):
        plan(settings(**{"transfer": "half", **changes}))


def pictures(count, seed):
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 2
    return np.stack([draw(("cross", "stripe")[kind], rng) for kind in kinds]), kinds


@pytest.fixture(scope="module")
def small_task():
    """Images and an untrained network for them."""
    data = from_arrays(pictures(32, 0), pictures(16, 1))
    return data, models.build("vgg_small", data.image_shape, 2, width=0.25)


@pytest.mark.slow
def test_compress_learns_from_inputs_alone(small_task):
    data, model = small_task
    unlabelled = data.normalization(pictures(24, 2)[0])
    smalls = [
        tfcompress.compress(
            model, "svd", data, transfer=given, epochs=1, batch_size=8, verbose=False
        )
        # Targets of any kind are passed over.
        for given in (unlabelled, (unlabelled, np.full(24, 99)))
    ]
    weights = [small.get_weights() for small in smalls]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_compress_refuses_what_it_cannot_learn_from(small_task):
    data, model = small_task
    images = data.normalization(pictures(24, 2)[0])
    for technique, given, words in (
        ("svd", next(data.test_batches(16)).x, "holds 16 of the 16 test examples"),
        ("svd", images[:, :8], r"inputs of shape \(16, 16, 3\), but those"),
        ("int8", images, "'int8' trains nothing"),
    ):
        with pytest.raises(InputError, match=words):
            tfcompress.compress(model, technique, data, transfer=given)
    with pytest.raises(InputError, match="TFMOT"):
        tfcompress.compress(model, "prune", data, transfer="half", engine="tfmot", verbose=False)


@pytest.mark.slow
def test_images_made_from_the_teacher_lie_in_a_folder(settings, tmp_path):
    options = {"width": "0.25", "inversion.steps": "3", "inversion.batch_size": "16"}
    job = plan(settings(transfer="inverted:24", options=options))
    result = stages.run(job)
    assert result.transfer == {"name": "inverted:24", "examples": 24}
    folder = job.output_dir / "inverted"
    assert len(list(folder.glob("*.png"))) == 24
    with Image.open(folder / "00003.png") as image:
        assert image.size == (16, 16)
    (job.output_dir / "report.json").unlink()  # As a kill before the report would leave it.
    before = (folder / "00003.png").stat().st_mtime_ns
    assert stages.run(job).compressed.accuracy == result.compressed.accuracy
    assert (folder / "00003.png").stat().st_mtime_ns == before


def test_inversion_settings_are_for_inverted_images(settings):
    for changes, words in (
        ({"transfer": "half", "options": {"inversion.steps": "3"}}, "is for --transfer=inverted"),
        ({"transfer": "inverted:0"}, r"must be inverted\[:N\], N examples"),
        ({"transfer": "inverted", "options": {"inversion.stepz": "3"}}, "inversion.steps"),
        ({"transfer": "inverted", "options": {"inversion.steps": "0"}}, "must be 1 or more"),
    ):
        with pytest.raises(InputError, match=words):
            plan(settings(**changes))
    assert plan(settings(transfer="inverted")).to_json()["inversion"]["steps"] == 500
