"""What a run starts from: the images as the network takes them."""

import keras
import numpy as np
import pytest

from tfcompress.config import RunConfig
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
