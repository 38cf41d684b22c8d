"""Arrays and tf.data pipelines that a user already holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcompress.data.dataset import Dataset, Split, split_off_test_images
from tfcompress.data.normalization import Normalization
from tfcompress.data.stores import ArrayImages
from tfcompress.errors import require

# What tf.data's `cardinality()` answers for a pipeline that repeats for ever.
_INFINITE = -1


def from_arrays(
    train: Any,
    test: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
    augmentation: str = "none",
    as_given: bool = False,
) -> Dataset:
    """Makes a data set of images and labels that are in memory already.

    Images keep their height and width, whatever these are; grey is repeated in three channels.
    Floating-point images are rounded to 8 bits; where none of them exceeds 1, they are taken to
    be in 0..1 and multiplied by 255 (the data set's `source` then says so).

    Args:
        train: `(x, y)`, or a tf.data pipeline of such pairs, batched or not. x is uint8, or other
            numbers in 0..255, or floats in 0..1, of shape (N, H, W), (N, H, W, 1) or
            (N, H, W, 3). y is the label of each image, a whole number: (N,) or (N, 1); or one-hot
            (N, classes). A pipeline must end; its images are all held in memory.
        test: likewise; None splits off a fifth of the training images of each class at random.
        class_names: the classes; None calls them "0", "1", ... up to the highest label.
        name: of the data set, for reports.
        augmentation: what may be done to the images in training, one of `config.AUGMENTATIONS`.
        as_given: whether models get the images in the range that they were given in, 0..255 or
            0..1; else they are normalised to the training images' mean and deviation.

    Returns:
        The data set.

    Raises:
        InputError: says which shape, type, length or label is wrong.

    >>> import numpy as np
    >>> x = np.zeros((20, 8, 8), np.uint8)
    >>> data = from_arrays((x, np.arange(20) % 2))
    >>> data.image_shape, len(data.train), len(data.test)
    ((8, 8, 3), 16, 4)
    """
    splits, in_0_to_1 = _checked_splits(train, test)
    if class_names is None:
        highest = max(int(split.labels.max()) for split in splits.values())
        class_names = [str(label) for label in range(highest + 1)]
    train_split, test_split, sentence = _train_and_test(splits, class_names)
    if as_given:
        normalization = Normalization.unit() if in_0_to_1 else Normalization.identity()
    else:
        normalization = Normalization.of(train_split.images)
    return Dataset(
        name=name,
        class_names=tuple(class_names),
        licence="not stated: data of the user's own",
        source="arrays, floats in 0..1 multiplied by 255" if in_0_to_1 else "arrays",
        train=train_split,
        test=test_split,
        normalization=normalization,
        augmentation=augmentation,
        split=sentence,
    )


def _checked_splits(train: Any, test: Any) -> tuple[dict[str, Split], bool]:
    """Converts what the user gave.

    Returns:
        The `train` split, and the `test` split unless None was given; and whether the images were
        floats in 0..1.
    """
    pairs = {"train": _pair(train, "train")}
    if test is not None:
        pairs["test"] = _pair(test, "test")
    # Judged together: the images of one split may all be dark.
    in_0_to_1 = all(x.dtype.kind == "f" and x.max() <= 1 for x, _ in pairs.values())
    splits = {
        title: Split(ArrayImages(_bytes(x, title, in_0_to_1)), _labels(y, len(x), title))
        for title, (x, y) in pairs.items()
    }
    return splits, in_0_to_1


def _train_and_test(
    splits: Mapping[str, Split], class_names: Sequence[str]
) -> tuple[Split, Split, str]:
    """Returns the training and the test split, and a sentence on how they were told apart."""
    train = splits["train"]
    if "test" in splits:
        return train, splits["test"], "As given."
    highest = int(train.labels.max())
    require(
        highest < len(class_names),
        f"train: label {highest} has no class name; there are {len(class_names)}",
    )
    return split_off_test_images(train.images, train.labels, class_names)


def _pair(data: Any, title: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images (N, H, W, 1 or 3) and labels of arrays or a pipeline, types unchanged."""
    if hasattr(data, "as_numpy_iterator"):
        x, y = _collected(data, title)
    else:
        require(
            isinstance(data, tuple | list) and len(data) == 2,
            f"{title} must be a pair (images, labels) of arrays or a tf.data pipeline of such "
            f"pairs; got {_described(data)}",
        )
        x, y = (np.asarray(part) for part in data)
    if x.ndim == 3:
        x = x[..., None]
    require(
        x.ndim == 4 and x.shape[3] in (1, 3) and x.size > 0,
        f"{title}: images must be of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3) with none of "
        f"them 0; got {x.shape}",
    )
    return x, y


def _described(data: Any) -> str:
    """Names what was given instead of a pair, in a word or two."""
    if isinstance(data, tuple | list):
        return f"{type(data).__name__} of {len(data)}"
    return type(data).__name__


def _collected(pipeline: Any, title: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads all images and labels of a pipeline, one after the other."""
    cardinality = getattr(pipeline, "cardinality", None)
    require(
        cardinality is None or int(cardinality()) != _INFINITE,
        f"{title}: the pipeline repeats for ever: leave out repeat(), or add take()",
    )
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for element in pipeline.as_numpy_iterator():
        require(
            isinstance(element, tuple | list) and len(element) == 2,
            f"{title}: the pipeline must yield pairs (images, labels); got {_described(element)}",
        )
        x, y = (np.asarray(part) for part in element)
        # (H, W, 1 or 3) is one image, anything else of three axes a batch of grey ones.
        batched = x.ndim == 4 or (x.ndim == 3 and x.shape[2] not in (1, 3))
        images.append(x if batched else x[None])
        labels.append(y if batched else y[None])
    require(bool(images), f"{title}: the pipeline yields nothing")
    for what, parts in (("images", images), ("labels", labels)):
        shapes = {part.shape[1:] for part in parts}
        require(
            len(shapes) == 1,
            f"{title}: the pipeline yields {what} of several shapes, "
            f"{' and '.join(str(shape) for shape in itertools.islice(sorted(shapes), 2))}: bring "
            "them to one",
        )
    return np.concatenate(images), np.concatenate(labels)


def _bytes(x: np.ndarray, title: str, in_0_to_1: bool) -> np.ndarray:
    """Converts images of any numeric type to uint8, (N, H, W, 3)."""
    require(x.dtype.kind in "uif", f"{title}: images must be numbers; got type {x.dtype}")
    if x.dtype != np.uint8:
        low, high = x.min(), x.max()
        # Written so that NaN fails as well.
        require(
            bool(low >= 0 and high <= 255),
            f"{title}: images must be in 0..255 or 0..1, not normalised; got {low}..{high}",
        )
        x = np.rint(x * 255 if in_0_to_1 else x).astype(np.uint8)
    return x if x.shape[3] == 3 else np.repeat(x, 3, axis=3)


def _labels(y: np.ndarray, count: int, title: str) -> np.ndarray:
    """Converts labels in any of the accepted forms to int32, (N,)."""
    if y.ndim == 2 and y.shape[1] > 1:
        require(
            bool(np.all((y == 0) | (y == 1)) and np.all(y.sum(axis=1) == 1)),
            f"{title}: labels of shape {y.shape} must be one-hot: a single 1 in each row",
        )
        y = y.argmax(axis=1)
    elif y.ndim == 2:
        y = y[:, 0]
    require(
        y.ndim == 1 and y.dtype.kind in "uif" and bool(np.all(y == np.rint(y))),
        f"{title}: labels must be whole numbers, one an image; got type {y.dtype} and shape "
        f"{y.shape}",
    )
    require(
        len(y) == count,
        f"{title}: there must be one label an image; got {len(y)} labels for {count} images",
    )
    require(bool(y.min() >= 0), f"{title}: labels must be 0 or more; got {y.min()}")
    return y.astype(np.int32)
