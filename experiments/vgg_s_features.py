"""The dense layers of VGG-S alone, and what they see: features of its untrained convolutions.

Training the whole network at 224x224 takes days on two cores; its dense layers, in which 94% of the
weights are, take minutes. Features of random convolutions can be told apart well enough to see what
compressing the dense layers costs.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from tfcompress import data, models
from tfcompress.data import Dataset
from tfcompress.files import whole

NAME = "vgg_s_dense"
# The 6x6x512 features of an image, as an image of as many 8-bit values.
SHAPE = (64, 96, 3)
NOTE = (
    "The network is VGG-S from its first dense layer on (Chatfield et al. 2014, arXiv:1405.3531), "
    "trained on 8-bit features of its untrained convolutions at 224x224. "
)


def dense_layers(classes: int) -> keras.Model:
    """VGG-S from `flatten` on."""
    x = inputs = keras.Input(SHAPE, name="features")
    trunk = models.build("vgg_s", (224, 224, 3), classes)
    for layer in trunk.layers[trunk.layers.index(trunk.get_layer("flatten")) :]:
        x = layer.__class__.from_config(layer.get_config())(x)
    return keras.Model(inputs, x, name=NAME)


def features(dataset: str, data_dir: str | None, folder: Path) -> Dataset:
    """The features of a data set's images, from `features.npz` of the folder if it is there.

    8 bits each: 255 stands for the 99.9th percentile of the training images' and all above it.
    """
    path = folder / f"features_{dataset}.npz"
    images = data.load(dataset, data_dir=data_dir, image_size=224)
    if not path.exists():
        keras.utils.set_random_seed(0)
        trunk = models.build("vgg_s", (224, 224, 3), images.num_classes)
        seen = keras.Model(trunk.inputs, trunk.get_layer("flatten").output)
        found = {split: _features(seen, images, split) for split in ("train", "test")}
        most = np.quantile(found["train"][:1000], 0.999)
        bits = {
            split: np.uint8(np.rint(np.clip(values / most, 0, 1) * 255)).reshape(-1, *SHAPE)
            for split, values in found.items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        with whole(path) as beside, open(beside, "wb") as file:
            np.savez(file, **bits)
    stored = np.load(path, allow_pickle=False)
    return data.from_arrays(
        (stored["train"], images.train.labels),
        (stored["test"], images.test.labels),
        class_names=images.class_names,
        name=f"features of {dataset}",
    )


def _features(seen: keras.Model, images: Dataset, split: str) -> np.ndarray:
    """(images, values) of one split."""
    batches = []
    for number, (batch, _) in enumerate(images.batches(split, 100)):
        batches.append(np.float16(seen.predict_on_batch(batch)))
        print(f"{split} features: {100 * number + len(batch):,}", flush=True)
    return np.concatenate(batches)
