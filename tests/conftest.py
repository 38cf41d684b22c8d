"""Fixtures that tests of several rooms share."""

import numpy as np
import pytest
from PIL import Image

CLASSES = ("cross", "stripe")


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
