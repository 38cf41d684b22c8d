"""A run that can't be made is refused before anything is trained or written."""

import pytest

from tests.pipeline.test_stages import config
from tfcompress.errors import InputError
from tfcompress.pipeline import stages
from tfcompress.pipeline.plan import plan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"io": "int8"}, "io=int8 is for files that compute in integers"),
        ({"ranges": "mse"}, "ranges=mse is for activations whose ranges are taken from inputs"),
        ({"ranges": "mse", "technique": "qat"}, "a network without binary inputs or trained range"),
    ],
)
def test_what_a_network_cannot_have_is_refused(options, message, picture_folder, tmp_path):
    job = plan(config(picture_folder, tmp_path / "out", **options))
    with pytest.raises(InputError, match=message):
        stages.run(job)
    assert not (tmp_path / "out").exists()  # Before the baseline was trained.


def test_failing_before_the_start_leaves_nothing(picture_folder, tmp_path):
    # 16x16 pictures are too small for VGG-16's pools.
    settings = config(picture_folder, tmp_path / "a" / "b", model="vgg16", options={})
    job = plan(settings)
    with pytest.raises(InputError, match="vgg16"):
        stages.run(job)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("technique", "options", "message"),
    [
        ("prune", {"layers": "foo:0.5"}, "no layer is named 'foo'"),
        ("cluster", {"leave": "foo"}, "no layer is named 'foo'"),
        ("cp", {"ranks": "foo:8"}, "unknown layer of model 'vgg_small' 'foo'"),
        ("svd+int8", {"rank": "100000"}, "no layer of model 'vgg_small' gains by svd"),
        ("xnor+bwn", {}, "bwn finds nothing to do behind xnor.*binary already.*'xnor' or 'bwn'"),
    ],
)
def test_what_the_technique_refuses_is_refused_before_the_training(
    technique, options, message, picture_folder, tmp_path
):
    job = plan(config(picture_folder, tmp_path / "out", technique=technique, options=options))
    with pytest.raises(InputError, match=message):
        stages.run(job)
    assert not (tmp_path / "out").exists()


def test_a_strangers_files_are_left_alone(picture_folder, tmp_path):
    (tmp_path / "report.md").write_text("mine")
    job = plan(config(picture_folder, tmp_path, resume=False))
    with pytest.raises(InputError, match=r"holds report.md.*another --output_dir"):
        stages.run(job)
    assert (tmp_path / "report.md").read_text() == "mine"


def test_tensorboard_without_its_package(picture_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = config(picture_folder, tmp_path, tensorboard=True)
    with pytest.raises(InputError, match=r"tfcompress\[tensorboard\]"):
        plan(settings)
