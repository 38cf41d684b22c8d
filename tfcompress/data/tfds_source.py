"""Image classification data sets of TensorFlow Datasets (TFDS), by name."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress import images
from tfcompress.data.dataset import Dataset, Split, stratified_split
from tfcompress.data.normalization import Normalization
from tfcompress.data.stores import ArrayImages, SelectedImages
from tfcompress.errors import InputError, require
from tfcompress.images import Standard, one_line

# Letters and digits change their meaning when mirrored, and some when shifted out of the frame.
_WRITING = frozenset(
    {
        "binary_alpha_digits",
        "cmaterdb",
        "emnist",
        "kmnist",
        "mnist",
        "mnist_corrupted",
        "omniglot",
        "svhn_cropped",
    }
)
# Small photographs, for which the literature's standard is padding, a random crop and a flip.
_SHIFTED = frozenset({"cifar10", "cifar100", "cifar10_1"})

_TEST_FRACTION = 0.2
_SPLIT_SEED = 0
_READ_AT_ONCE = 256

# TFDS tries a download 11 times over more than three minutes. Three retries are over in seconds
# and still get past a dropped connection.
_DOWNLOAD_RETRIES = 3


def check_name(name: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Checks that TFDS, or a folder of prepared data sets, knows a name.

    Args:
        name: as `tfds.builder` takes it: `mnist`, `emnist/letters`, `mnist:3.0.1`.
        data_dir: where prepared data sets lie.

    Raises:
        InputError: an unknown name; says the nearest ones.
    """
    base = _base_name(name)
    known = _tfds().list_builders(with_community_datasets=False)
    if base in known or (data_dir is not None and base and (Path(data_dir) / base).is_dir()):
        return
    near = difflib.get_close_matches(base, [*known, "fashion_mnist_small"], n=3)
    hint = f"did you mean {' or '.join(repr(match) for match in near)}? " if near else ""
    raise InputError(
        f"unknown data set '{name}': {hint}It must be fashion_mnist_small, the name of a TFDS "
        "data set, or one of folder:PATH, rafd:PATH, fer2013:PATH"
    )


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    fallback_size: int = 32,
) -> Dataset:
    """Reads a TFDS data set, prepared before or downloaded now, always in the same order.

    The test images are those of `test`, or of `validation` where there is no labelled `test`, or
    else a fifth of each class of `train`. Where the decoded images take more than
    `images.MEMORY_BUDGET_BYTES`, they are kept in an unnamed temporary file, in `data_dir` if it
    can be written to, which vanishes with the process. Classes without any image are left out.

    Args:
        name: as `tfds.builder` takes it.
        data_dir: where TFDS keeps its data; None for its own default.
        image_size: the side that was asked for, in pixels; None for the rule of
            `images.standard_for`.
        fallback_size: the side where that rule needs one.

    Returns:
        The data set.

    Raises:
        InputError: an unknown name, no data set of images with one label each, one that can't
            be downloaded or read, or one without `train`.
    """
    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)
    check_name(name, data_dir)
    with _quiet():
        try:
            builder = _tfds().builder(name, data_dir=data_dir)
        except Exception as error:
            raise InputError(
                f"TFDS can't set up data set '{name}': {one_line(error)[:300]}"
            ) from error
        image_key, label_key = _keys(name, builder.info)
        if not builder.info.splits:
            _prepare(name, builder)
        return _Reader(name, builder, image_key, label_key).dataset(image_size, fallback_size)


def _base_name(name: str) -> str:
    """A data set's name without its configuration and version."""
    return name.split(":")[0].split("/")[0]


def _tfds() -> Any:
    """The package, imported when first needed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow_datasets

    return tensorflow_datasets


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what TFDS and its downloads log and print off stdout; the bars show on a terminal."""
    if not sys.stderr.isatty():
        _tfds().disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3.connectionpool")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _keys(name: str, info: Any) -> tuple[str, str]:
    """The names of the image and of the label among a data set's features."""
    kinds = _tfds().features
    features = dict(info.features.items()) if hasattr(info.features, "items") else {}
    pictures = [
        key
        for key, feature in features.items()
        if isinstance(feature, kinds.Image) and not isinstance(feature, kinds.LabeledImage)
    ]
    labels = [key for key, feature in features.items() if isinstance(feature, kinds.ClassLabel)]
    keys = info.supervised_keys
    if isinstance(keys, tuple) and len(keys) == 2 and keys[0] in pictures and keys[1] in labels:
        return keys[0], keys[1]
    require(
        len(pictures) == len(labels) == 1,
        f"TFDS data set '{name}' isn't one for image classification: it must have one image and "
        f"one class label; it has {', '.join(features) or 'neither'}",
    )
    return pictures[0], labels[0]


def _prepare(name: str, builder: Any) -> None:
    """Downloads a data set, and leaves no half-made folders where that fails."""
    from tensorflow_datasets.core.download import downloader

    final = Path(builder.data_dir)
    root = final.parents[len(Path(builder.info.full_name).parts) - 1]
    downloads = root / "downloads" / builder.name
    # From the deepest up, so that each is empty by the time it is looked at.
    folders = [final, *final.parents, root / "downloads" / "extracted"]
    folders += [downloads, downloads.parent, root, *root.parents]
    before = {folder for folder in folders if folder.exists()}
    partial_before = set(_partial(root / builder.name, downloads))
    retries = downloader.MAX_RETRIES
    downloader.MAX_RETRIES = _DOWNLOAD_RETRIES
    try:
        builder.download_and_prepare(
            download_config=_tfds().download.DownloadConfig(try_download_gcs=False)
        )
    except BaseException as error:
        for path in set(_partial(root / builder.name, downloads)) - partial_before:
            shutil.rmtree(path, ignore_errors=True)
        for folder in folders:
            if folder not in before:
                # Not empty: what has been downloaded whole is kept for the next time.
                with contextlib.suppress(OSError):
                    folder.rmdir()
        if not isinstance(error, Exception):
            raise
        raise InputError(
            f"TFDS data set '{name}' isn't prepared in {root} and can't be downloaded now "
            f"({_reason(error)}): prepare it on a machine with a network, with `tfds build "
            f"{name} --data_dir=DIR`, and pass that folder as --data_dir"
        ) from error
    finally:
        downloader.MAX_RETRIES = retries


def _reason(error: Exception) -> str:
    """Why a download failed: of a network's nested errors the innermost, which is the shortest."""
    innermost: BaseException = error
    while isinstance(error, OSError) and innermost.__context__ is not None:
        innermost = innermost.__context__
    return one_line(innermost)[:200]


def _partial(prepared: Path, downloads: Path) -> list[Path]:
    """What TFDS leaves when it is interrupted: unfinished data sets and downloads."""
    return [*prepared.glob("**/incomplete.*"), *downloads.glob("*.tmp.*")]


class _Reader:
    """Reads a prepared data set, one part after the other.

    Args:
        name: as it was asked for.
        builder: TFDS's, with prepared data.
        image_key: the image's name among the features.
        label_key: the label's.
    """

    def __init__(self, name: str, builder: Any, image_key: str, label_key: str):
        self.name = name
        self.builder = builder
        self.image_key = image_key
        self.label_key = label_key

    def dataset(self, image_size: int | None, fallback_size: int) -> Dataset:
        """The data set; see `load`."""
        info = self.builder.info
        parts, split = self._parts()
        standard = images.standard_for(self._sizes(), image_size, fallback_size)
        counts = [info.splits[part].num_examples for part in parts]
        pixels = self._allocate(sum(counts), standard)
        labels = np.empty(sum(counts), np.int32)
        start = 0
        for part, count in zip(parts, counts, strict=True):
            self._read(part, standard, pixels[start : start + count], labels[start:])
            start += count
        class_names = tuple(info.features[self.label_key].names)
        used = np.unique(labels)
        require(bool(len(used) and used[0] >= 0), f"TFDS data set '{self.name}' has no labels")
        if len(used) < len(class_names):
            unused = [name for label, name in enumerate(class_names) if label not in used]
            split += f" Left out, as they have no images: {', '.join(unused)}."
            class_names = tuple(class_names[label] for label in used)
            labels = np.searchsorted(used, labels).astype(np.int32)
        if len(parts) == 2:
            at = counts[0]
            train = Split(ArrayImages(pixels[:at]), labels[:at])
            test = Split(ArrayImages(pixels[at:]), labels[at:])
        else:
            every = ArrayImages(pixels)
            train, test = (
                Split(SelectedImages(every, positions), labels[positions])
                for positions in stratified_split(labels, _TEST_FRACTION, _SPLIT_SEED, class_names)
            )
        base = _base_name(self.name)
        shifted = "flip+shift" if base in _SHIFTED else "flip"
        redistribution = getattr(info, "redistribution_info", None)
        return Dataset(
            name=self.name,
            class_names=class_names,
            licence=getattr(redistribution, "license", "") or "not stated by TFDS",
            source=f"TFDS {info.full_name}, {info.homepage}",
            train=train,
            test=test,
            normalization=Normalization.of(train.images),
            augmentation="none" if base in _WRITING else shifted,
            split=split,
        )

    def _parts(self) -> tuple[list[str], str]:
        """The names of the parts to read, training first, and a sentence on them."""
        found = self.builder.info.splits
        require(
            "train" in found,
            f"TFDS data set '{self.name}' has no part named train; it has {', '.join(found)}",
        )
        for part in ("test", "validation"):
            # Labels that are kept secret are -1.
            if part in found and self._first_label(part) >= 0:
                return ["train", part], f"As TFDS has it: train and {part}."
        return ["train"], (
            f"At random within each class of TFDS's train, {_TEST_FRACTION:.0%} for testing, seed "
            f"{_SPLIT_SEED}."
        )

    def _sizes(self) -> list[tuple[int, int]]:
        """The images' size, if all have the same one by definition."""
        shape = self.builder.info.features[self.image_key].shape
        return [] if None in shape[:2] else [(int(shape[0]), int(shape[1]))]

    def _first_label(self, part: str) -> int:
        """The label of a part's first image; -1 where it has none."""
        for batch in self._batches(f"{part}[:1]"):
            return int(batch[self.label_key][0])
        return -1

    def _batches(self, part: str) -> Iterator[dict[str, np.ndarray]]:
        """Image and label of a part in the order of its files, many at once or one by one."""
        tfds = _tfds()
        import tensorflow as tf

        pipeline = self.builder.as_dataset(
            split=part,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding({self.image_key: True, self.label_key: True}),
            # Everything is read once: TFDS's own cache would hold it a second time.
            read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
        )
        pipeline = pipeline.batch(_READ_AT_ONCE if self._sizes() else 1)
        try:
            yield from tfds.as_numpy(pipeline)
        except tf.errors.OpError as error:
            raise InputError(
                f"TFDS data in {self.builder.data_dir} can't be read: {one_line(error)[:200]}; "
                "remove that folder and prepare it again"
            ) from error

    def _read(self, part: str, standard: Standard, pixels: np.ndarray, labels: np.ndarray) -> None:
        """Fills in the images and labels of a part."""
        at = 0
        for batch in self._batches(part):
            found = batch[self.image_key]
            if found.dtype == np.uint16:
                found = (found >> 8).astype(np.uint8)
            require(
                found.dtype == np.uint8,
                f"TFDS data set '{self.name}' has images of type {found.dtype}: only 8 and 16 "
                "bits a channel can be read",
            )
            until = at + len(found)
            pixels[at:until] = images.standardize_arrays(found, standard)
            labels[at:until] = batch[self.label_key]
            at = until
        require(
            at == len(pixels),
            f"TFDS data in {self.builder.data_dir} has {at} images in part {part}, but promises "
            f"{len(pixels)}: remove that folder and prepare it again",
        )

    def _allocate(self, count: int, standard: Standard) -> np.ndarray:
        """Room for all images: uint8, (count, size, size, 3), in memory or in a file."""
        shape = (count, standard.size, standard.size, 3)
        size = int(np.prod(shape))
        if size <= images.MEMORY_BUDGET_BYTES:
            return np.empty(shape, np.uint8)
        # The temporary folder of the system may itself be in memory; where the data set lies,
        # there is a disk.
        root = Path(self.builder.data_dir).parent
        folder = str(root) if os.access(root, os.W_OK) else tempfile.gettempdir()
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                # Claims the room now: a full disk would end the process when a page is written.
                os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.uint8, "r+", shape=shape)
        except OSError as error:
            raise InputError(
                f"the decoded images of '{self.name}' need {size / 2**30:.1f} GiB in {folder}: "
                f"{error.strerror}; free some room or choose a smaller --image_size"
            ) from error
