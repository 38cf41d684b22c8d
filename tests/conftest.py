"""Fixtures that tests of several rooms share."""

import gc

import numpy as np
import pytest
from PIL import Image

CLASSES = ("cross", "stripe")


def pytest_configure(config):
    """Looks for garbage less often: importing and tracing make many objects and little of it."""
    gc.set_threshold(50_000, 20, 20)


def pytest_collection_finish(session):
    """Leaves what TensorFlow's modules hold, which lasts, out of all later looking for garbage.

    Looking through it again and again took a sixth of the time of tests that train and export.
    """
    gc.collect()
    gc.freeze()


def draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A 16x16 picture that a small net can learn: a cross or a stripe on noise."""
    picture = rng.integers(0, 80, (16, 16, 3), dtype=np.uint8)
    at = int(rng.integers(5, 11))
    picture[at - 1 : at + 1] = 220
    if kind == "cross":
        picture[:, at - 1 : at + 1] = 220
    return picture


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory):
    """train/ and test/ with two classes, 32 and 8 pictures each."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("test", 8)):
        for kind in CLASSES:
            folder = root / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(kind, rng)).save(folder / f"{number}.png")
    return root
