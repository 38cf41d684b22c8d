"""What a run starts from: the images as the network takes them."""

import dataclasses

import keras
import numpy as np
import pytest

from tfcompress.config import RunConfig
from tfcompress.data import Normalization
from tfcompress.pipeline import inputs
from tfcompress.pipeline.plan import plan


@pytest.mark.parametrize("normalization", ["auto", "none", "unit"])
def test_a_network_with_one_channel_gets_grey_images(picture_folder, tmp_path, normalization):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    path = tmp_path / "grey.keras"
    model.save(path)
    config = RunConfig(
        technique="int8",
        model=str(path),
        dataset=f"folder:{picture_folder}",
        normalization=normalization,
    )
    _, images = inputs.load(plan(config))
    assert images.image_shape == (16, 16, 1)
    assert len(images.normalization.mean) == 1
    (pixels, _), *_ = images.batches("test", 8)
    assert pixels.shape == (8, 16, 16, 1)
    lows_and_highs = {"auto": (-9, 9), "none": (0, 255), "unit": (0, 1)}
    low, high = lows_and_highs[normalization]
    assert low <= pixels.min() < pixels.max() <= high
    whole = images.train.images.batch(np.arange(len(images.train)))
    assert whole.dtype == np.uint8


def test_a_trained_model_tells_how_it_wants_its_pixels(picture_folder, tmp_path, capsys):
    """One that learned from 0 to 255 knows nothing of standardised pixels; an untrained one gets
    these."""
    job = plan(RunConfig(technique="int8", dataset=f"folder:{picture_folder}", image_size=16))
    images = inputs.load_data(job, None)
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten()])
    model.add(layers.Dense(768, "relu", kernel_initializer="identity"))
    model.add(layers.Dense(2))
    path = tmp_path / "own.keras"
    own = dataclasses.replace(job.config, model=str(path))
    model.save(path)
    _, given = inputs.load(plan(own))
    assert given.normalization == images.normalization
    model.layers[1].set_weights([np.eye(768), np.full(768, -60.0)])
    pixels = images.with_normalization(Normalization.identity()).sample(64)
    features = np.maximum(pixels.x.reshape(-1, 768) - 60, 0) / 255
    weights = np.linalg.lstsq(features, 2.0 * np.eye(2)[pixels.y] - 1, rcond=1e-6)[0]
    model.layers[2].set_weights([weights, np.zeros(2)])
    model.save(path)
    capsys.readouterr()
    _, given = inputs.load(plan(own))
    assert given.normalization == Normalization.identity()
    line = "--normalization=none: of 64 training images the model knows, by how their pixels are "
    assert f"{line}given, standardize " in " ".join(capsys.readouterr().out.split())
    _, given = inputs.load(plan(dataclasses.replace(own, normalization="unit")))
    assert given.normalization == Normalization.unit()
