"""What every source of images is turned into: a `Dataset` with its splits and normalisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tfcompress.config import AUGMENTATIONS
from tfcompress.data.augmentation import augmented_inputs
from tfcompress.data.description import public_name
from tfcompress.data.normalization import Normalization as Normalization
from tfcompress.data.protocol import Batch
from tfcompress.data.random_split import (
    check_split_options,
    random_split_sentence,
    split_groups,
)
from tfcompress.data.stores import GreyImages, Images, SelectedImages
from tfcompress.errors import one_of, require

# Of a data set that comes without test images.
_TEST_FRACTION = 0.2
_SPLIT_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    Attributes:
        images: N images.
        labels: int32, (N,): an index into the data set's class names.

    Raises:
        InputError: there isn't one label for each image.
    """

    images: Images
    labels: np.ndarray

    def __post_init__(self) -> None:
        """Refuses labels that can't belong to the images."""
        labels = np.asarray(self.labels, dtype=np.int32)
        require(
            labels.shape == (len(self.images),),
            f"there must be one label an image; got labels of shape {labels.shape} "
            f"for {len(self.images)} images",
        )
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """An image classification data set, ready to train and test on.

    Attributes:
        name: as it was asked for.
        class_names: the classes; a label is an index into them.
        licence: of the images, or that none is stated.
        source: where they come from.
        train: the images to learn from.
        test: the images to judge by; none of them is used in training.
        normalization: what models are given; by default mean and deviation of each channel of
            the training images, measured on a seeded sample of 10,000 where there are more.
        augmentation: what may be done to these images in training, one of
            `config.AUGMENTATIONS`: `flip` where a mirror image keeps its label, `none` for
            digits and letters.
        split: a sentence that says how training and test images were told apart.
        local: whether the images are the user's own files: what is written for others then says
            neither in which folder they lie nor where they come from. True unless a source of
            public images says otherwise.

    Raises:
        InputError: fewer than two classes, a class without a training image, no test images, a
            label out of range, splits of different image sizes, or an unknown augmentation.
    """

    name: str
    class_names: tuple[str, ...]
    licence: str
    source: str
    train: Split
    test: Split
    normalization: Normalization
    augmentation: str
    split: str
    local: bool = True
    metric: ClassVar[str] = "accuracy"
    model_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    # The normalisation goes into the files' metadata.
    preparation: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __post_init__(self) -> None:
        """Refuses data that no model could be trained or judged on."""
        require(
            self.num_classes >= 2,
            f"data set {self.name} has {self.num_classes} classes: classification needs 2 or more",
        )
        one_of("augmentation", self.augmentation, AUGMENTATIONS)
        for title, part in (("training", self.train), ("test", self.test)):
            require(len(part) > 0, f"data set {self.name} has no {title} images")
            wrong = part.labels[(part.labels < 0) | (part.labels >= self.num_classes)]
            require(
                not len(wrong),
                f"data set {self.name} has a {title} label {wrong[:1].sum()}: labels must be in "
                f"0..{self.num_classes - 1}",
            )
        require(
            self.train.images.shape == self.test.images.shape,
            f"data set {self.name} has training images of {self.train.images.shape} and test "
            f"images of {self.test.images.shape}: they must be of one shape",
        )
        missing = np.setdiff1d(np.arange(self.num_classes), self.train.labels)
        require(
            not len(missing),
            f"data set {self.name} has no training image of class "
            f"'{self.class_names[missing[0]] if len(missing) else ''}'",
        )

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image: 3 channels for RGB, 1 for grey."""
        return self.train.images.shape

    @property
    def public_name(self) -> str:
        """The name without the folders that a local data set lies in.

        `folder:/home/ann/photos` is `folder:photos`; of a data set that isn't local, the name.
        """
        return public_name(self.name) if self.local else self.name

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one image, as `image_shape`."""
        return self.image_shape

    @property
    def num_outputs(self) -> int:
        """The number of classes."""
        return self.num_classes

    @property
    def test_examples(self) -> int:
        """The number of test images."""
        return len(self.test)

    def describe(self) -> str:
        """Returns one line: how many images there are, of how many classes and which shape."""
        return (
            f"{self.name}: {len(self.train):,} training and {len(self.test):,} test images, "
            f"{self.num_classes} classes, {'x'.join(map(str, self.image_shape))}"
        )

    @property
    def examples(self) -> int:
        """The number of training images."""
        return len(self.train)

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches of an epoch, a smaller last one included."""
        return -(-len(self.train) // batch_size)

    def take(
        self,
        positions: np.ndarray,
        augmentation: str = "none",
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """Returns training images at these positions, normalised, and their labels.

        Args:
            positions: int, (n,).
            augmentation: one of `config.AUGMENTATIONS`.
            rng: draws what the augmentation does to each image; `none` needs none.
        """
        inputs = augmented_inputs(
            self.train.images, positions, self.normalization, augmentation, rng
        )
        return Batch(inputs, self.train.labels[positions])

    def test_steps(self, batch_size: int) -> int:
        """Returns how many batches `test_batches` yields."""
        return -(-len(self.test) // batch_size)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the test images in order, normalised, with their labels."""
        return (Batch(*pair) for pair in self.batches("test", batch_size))

    def sample(self, n: int, seed: Any = 0) -> Batch:
        """Returns n training images chosen at random, in their order, or all of fewer."""
        order = np.random.default_rng(seed).permutation(len(self.train))
        return self.take(np.sort(order[:n]))

    def batches(
        self, split: str | Split, batch_size: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the images of a split in order, as a model is given them.

        Args:
            split: `train`, `test`, or any split of images of this data set.
            batch_size: images a batch; the last one may be smaller.

        Yields:
            float32 (n, H, W, 3), normalised, and int32 (n,), the labels.

        Raises:
            InputError: another split name, or a batch size below 1.
        """
        if isinstance(split, str):
            one_of("split", split, ("train", "test"))
            split = self.train if split == "train" else self.test
        require(batch_size >= 1, f"the batch size must be 1 or more; got {batch_size}")
        return self._batches(split, batch_size)

    def _batches(self, split: Split, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The generator behind `batches`, which checks its arguments at the call."""
        for start in range(0, len(split), batch_size):
            indices = np.arange(start, min(start + batch_size, len(split)))
            yield self.normalization(split.images.batch(indices)), split.labels[indices]

    def representative(self, n: int, seed: int = 0) -> np.ndarray:
        """Chooses training images to calibrate a quantizer with, each class as often as the others.

        Args:
            n: how many; all training images where there are fewer. Where n can't be divided by
                the number of classes, some have one more; where a class has too few images, the
                others make up for it.
            seed: of the choice, which is the same on every machine.

        Returns:
            float32, (n, H, W, 3), normalised, in mixed order.

        Raises:
            InputError: n is below 1.
        """
        require(n >= 1, f"a representative data set needs 1 image or more; got {n}")
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(self.train))
        labels = self.train.labels[order]
        # Each image's turn within its class: taking all first ones, then all second ones, ...
        # gives every class the same share for as long as it has images.
        turn = np.empty(len(labels), np.int64)
        for label in range(self.num_classes):
            members = np.flatnonzero(labels == label)
            turn[members] = np.arange(len(members))
        chosen = order[np.argsort(turn, kind="stable")[:n]]
        return self.normalization(self.train.images.batch(chosen))

    def in_grey(self) -> Dataset:
        """Returns the same images in grey, with one channel, normalised to their own mean."""
        train, test = (
            Split(GreyImages(part.images), part.labels) for part in (self.train, self.test)
        )
        normalization = Normalization.of(train.images)
        return dataclasses.replace(self, train=train, test=test, normalization=normalization)

    def with_normalization(self, normalization: Normalization) -> Dataset:
        """Returns the same data set with another normalisation."""
        return dataclasses.replace(self, normalization=normalization)


def stratified_split(
    labels: Sequence[int] | np.ndarray,
    test_fraction: float,
    seed: int,
    class_names: Sequence[str],
    example: str = "image",
) -> tuple[np.ndarray, np.ndarray]:
    """Divides images, or other examples, at random, each class by itself.

    Args:
        labels: int, (N,).
        test_fraction: the share of each class that becomes test images, rounded; at least one
            image of a class, and all but one at most.
        seed: of the choice, 0 or more.
        class_names: for the error.
        example: what the error calls one of them.

    Returns:
        The positions of the training images and of the test images, each ascending.

    Raises:
        InputError: a fraction outside (0, 1), or a class of fewer than two images.
    """
    check_split_options(test_fraction, seed)
    labels = np.asarray(labels)
    groups = [np.flatnonzero(labels == label) for label in range(len(class_names))]
    for name, members in zip(class_names, groups, strict=True):
        require(
            len(members) >= 2,
            f"class '{name}' has {len(members)} {example}{'s' * (len(members) != 1)}: to split off "
            f"test {example}s it needs 2 or more",
        )
    return split_groups(groups, test_fraction, seed)


def split_off_test_images(
    images: Images, labels: np.ndarray, class_names: Sequence[str], part: str = ""
) -> tuple[Split, Split, str]:
    """Splits a fifth of each class off, where a data set comes without test images.

    Args:
        images: N images; they aren't copied.
        labels: int32, (N,).
        class_names: for the error.
        part: what the images are called in the sentence, if anything.

    Returns:
        The training split, the test split, and a sentence that says how they were told apart.

    Raises:
        InputError: a class has fewer than two images.
    """
    train, test = (
        Split(SelectedImages(images, positions), labels[positions])
        for positions in stratified_split(labels, _TEST_FRACTION, _SPLIT_SEED, class_names)
    )
    return train, test, random_split_sentence(_TEST_FRACTION, _SPLIT_SEED, part)
