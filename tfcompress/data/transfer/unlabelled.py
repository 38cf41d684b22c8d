"""Examples without targets: images as a data set has them, or what is left of any other data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, overload

import numpy as np

from tfcompress.data.augmentation import augmented_inputs
from tfcompress.data.dataset import Dataset
from tfcompress.data.examples import Examples
from tfcompress.data.normalization import Normalization
from tfcompress.data.pipelines import Batches, Stream
from tfcompress.data.protocol import Batch
from tfcompress.data.stores import Images
from tfcompress.errors import require


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class UnlabelledImages:
    """Images to train on, as a model takes them, and nothing that is known of them.

    Attributes:
        name: for errors and reports.
        images: of the model's size and channels.
        normalization: what the model is given.
        augmentation: what may be done to these images, one of `config.AUGMENTATIONS`.
        titles: what errors call each image, such as its file; empty for its number.
    """

    name: str
    images: Images
    normalization: Normalization
    augmentation: str = "none"
    titles: Sequence[str] = ()
    test: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Refuses a set without images."""
        require(len(self.images) > 0, f"transfer set {self.name} has no images")

    @property
    def examples(self) -> int:
        """The number of images."""
        return len(self.images)

    def describe(self) -> str:
        """Returns one line: how many images there are, and of which shape."""
        shape = "x".join(map(str, self.images.shape))
        return f"{self.name}: {self.examples:,} images without labels, {shape}"

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches of an epoch, a smaller last one included."""
        return -(-self.examples // batch_size)

    def take(
        self,
        positions: np.ndarray,
        augmentation: str = "none",
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """Returns the images at these positions, normalised, without targets.

        Args:
            positions: int, (n,).
            augmentation: one of `config.AUGMENTATIONS`.
            rng: draws what the augmentation does to each image; `none` needs none.
        """
        return Batch(
            augmented_inputs(self.images, positions, self.normalization, augmentation, rng)
        )

    def test_steps(self, batch_size: int) -> int:
        """Returns 0: nothing is held out."""
        return 0

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields nothing: nothing is held out."""
        return iter(())

    def sample(self, n: int, seed: Any = 0) -> Batch:
        """Returns n images chosen at random, in their order, or all of fewer."""
        order = np.random.default_rng(seed).permutation(self.examples)
        return self.take(np.sort(order[:n]))

    def representative(self, n: int, seed: int = 0) -> np.ndarray:
        """Returns n images chosen at random, normalised."""
        images: np.ndarray = self.sample(n, seed).x
        return images


Unlabelled = UnlabelledImages | Examples | Stream


@overload
def without_targets(data: Dataset) -> UnlabelledImages: ...
@overload
def without_targets(data: Examples) -> Examples: ...
@overload
def without_targets(data: Dataset | Examples | Stream) -> Unlabelled: ...
def without_targets(data: Dataset | Examples | Stream) -> Unlabelled:
    """Returns the training examples of data, and neither their targets nor what is held out."""
    if isinstance(data, Dataset):
        return UnlabelledImages(
            name=data.name,
            images=data.train.images,
            normalization=data.normalization,
            augmentation=data.augmentation,
        )
    if isinstance(data, Examples):
        return dataclasses.replace(data, train=Batch(data.train.x), test=None, class_names=None)
    train = data.train
    inputs = Batches(lambda: ((batch.x,) for batch in train), train.steps, data.name)
    return dataclasses.replace(data, train=inputs, test=None, class_names=None)
