"""Networks that experiments begin with: trained once, and kept in a file for every later row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import keras
from cells import making

from tfcompress import data, models
from tfcompress.config import Training
from tfcompress.files import whole
from tfcompress.training import TrainingContext, fit

MODEL = "vgg_small"


@functools.cache
def images() -> data.Dataset:
    """Returns the embedded images, which the float networks learn."""
    return data.load("fashion_mnist_small")


def untrained(seed: int) -> keras.Model:
    """Returns the float network before its training."""
    keras.utils.set_random_seed(seed)
    return models.build(MODEL, images().image_shape, images().num_classes)


@functools.cache
def float_net(folder: Path, seed: int) -> keras.Model:
    """Returns the float network, trained by the command's recipe, from its file if it is there.

    Args:
        folder: keeps `float_SEED.keras`.
        seed: of its weights and its training.
    """

    def trained() -> keras.Model:
        net = untrained(seed)
        fit(net, images(), Training(), TrainingContext(seed=seed))
        return net

    return kept(folder / f"float_{seed}.keras", trained)


def kept(path: Path, make: Callable[[], keras.Model]) -> keras.Model:
    """Returns a network from its file; of several processes one makes it, and the others wait.

    Args:
        path: of the file.
        make: returns the trained network.
    """
    if not path.exists():
        with making(path):
            if not path.exists():
                made = make()
                with whole(path) as beside:
                    made.save(beside)
    return keras.saving.load_model(path)
