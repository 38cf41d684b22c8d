"""Teachers of the user's own, as `--teacher` gives them."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import run
from tfcompress.config import RunConfig
from tfcompress.pipeline import inputs
from tfcompress.pipeline.plan import plan


def saved(path, shape=(32, 32, 3), classes=2):
    x = image = keras.Input(shape)
    if len(shape) == 3:
        x = layers.Flatten()(layers.AveragePooling2D(shape[0] // 4)(image))
    keras.Model(image, layers.Dense(classes)(x), name="mine").save(path)
    return str(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: saved(path, classes=5), r"teacher 'mine' gives outputs of shape \(5,\)"),
        (lambda path: saved(path, (64,)), r"teacher 'mine' takes inputs of shape \(64,\)"),
        (lambda path: path.write_text("no model") and str(path), "isn't a .keras file"),
    ],
)
def test_one_that_cannot_teach_is_refused_before_anything_is_trained(
    make, message, picture_folder, tmp_path, capsys
):
    flags = [
        *("--technique=svd", f"--dataset=folder:{picture_folder}", "--image_size=32"),
        f"--teacher={make(tmp_path / 't.keras')}",
        f"--output_dir={tmp_path / 'out'}",
    ]
    assert run.main(["run", *flags]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert re.search(message, line)
    assert not (tmp_path / "out").exists()


def test_several_of_other_sizes_are_one(picture_folder, tmp_path):
    files = [saved(tmp_path / f"{side}.keras", (side, side, 3)) for side in (32, 64)]
    job = plan(
        RunConfig(
            technique="svd",
            dataset=f"folder:{picture_folder}",
            image_size=32,
            teacher=tuple(files),
            output_dir=str(tmp_path / "out"),
        )
    )
    model, loaded = inputs.load(job)
    teacher = inputs.task_of(job, model, loaded).teacher
    assert teacher.input_shape == model.input_shape
    assert np.asarray(teacher(loaded.sample(3).x)).shape == (3, 2)
