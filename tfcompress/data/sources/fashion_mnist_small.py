"""The data set that comes with the package: a small Fashion-MNIST.

Xiao et al., "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
2017, arXiv:1708.07747.
"""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING

from tfcompress.data.source import Request, Source

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset

NAME = "fashion_mnist_small"
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def check(request: Request) -> None:
    """Accepts every request: the data set is part of the package."""


def load(request: Request) -> Dataset:
    """Reads 10,000 training and 2,000 test images of Fashion-MNIST, as many of each of 10 classes.

    Args:
        request: its `image_size` None pads the 28 x 28 images to 32 x 32.

    Returns:
        The data set; grey is repeated in three channels.

    Raises:
        InputError: a size that isn't positive.
    """
    import numpy as np

    from tfcompress.data.dataset import Dataset, Split
    from tfcompress.data.normalization import Normalization
    from tfcompress.data.stores import ArrayImages
    from tfcompress.images import standard_for, standardize_arrays

    standard = standard_for([(28, 28)], request.image_size, request.fallback_size)
    file = importlib.resources.files("tfcompress.data") / "embedded" / f"{NAME}.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        train, test = (
            Split(
                ArrayImages(standardize_arrays(arrays[f"x_{part}"], standard)),
                arrays[f"y_{part}"],
            )
            for part in ("train", "test")
        )
    return Dataset(
        name=request.name,
        class_names=CLASS_NAMES,
        licence="MIT, (c) 2017 Zalando SE",
        source="embedded subset of Fashion-MNIST, github.com/zalandoresearch/fashion-mnist",
        train=train,
        test=test,
        normalization=Normalization.of(train.images),
        augmentation="flip",
        split="1,000 training images a class drawn from the official training part, 200 test "
        "images a class from the official test part.",
    )


SOURCE = Source(
    pattern=NAME,
    summary="embedded: 10,000 training and 2,000 test images of Fashion-MNIST, 10 classes",
    local=False,
    check=check,
    load=load,
)
