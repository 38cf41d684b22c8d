"""Reads a prepared image classification data set of TensorFlow Datasets (TFDS) into memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress import images
from tfcompress.data.dataset import Dataset, Split, split_off_test_images
from tfcompress.data.normalization import Normalization
from tfcompress.data.source import Request
from tfcompress.data.stores import ArrayImages
from tfcompress.errors import InputError, require
from tfcompress.images import Standard
from tfcompress.plain_text import one_line

_READ_AT_ONCE = 256


class Reader:
    """Reads a prepared data set, one part after the other.

    Args:
        request: the name and the image size that were asked for.
        builder: TFDS's, with prepared data.
        image_key: the name of the image among the features.
        label_key: the name of the label among the features.
    """

    def __init__(self, request: Request, builder: Any, image_key: str, label_key: str):
        self.request = request
        self.builder = builder
        self.image_key = image_key
        self.label_key = label_key

    def read(self, augmentation: str) -> Dataset:
        """Reads all images.

        Args:
            augmentation: what may be done to them in training, for `Dataset`.

        Returns:
            The data set, in the order of its files.

        Raises:
            InputError: there is no part named `train`, no label, or data that can't be read.
        """
        info = self.builder.info
        parts = self._parts()
        counts = [info.splits[part].num_examples for part in parts]
        pixels, labels = self._read_parts(parts, counts)
        class_names, labels, unused = self._used_classes(labels)
        if len(parts) == 2:
            at = counts[0]
            train = Split(ArrayImages(pixels[:at]), labels[:at])
            test = Split(ArrayImages(pixels[at:]), labels[at:])
            split = f"As TFDS has it: train and {parts[1]}."
        else:
            train, test, split = split_off_test_images(
                ArrayImages(pixels), labels, class_names, "TFDS's train"
            )
        if unused:
            split += f" Left out, as they have no images: {', '.join(unused)}."
        redistribution = getattr(info, "redistribution_info", None)
        return Dataset(
            name=self.request.name,
            class_names=class_names,
            licence=getattr(redistribution, "license", "") or "not stated by TFDS",
            source=f"TFDS {info.full_name}, {info.homepage}",
            train=train,
            test=test,
            normalization=Normalization.of(train.images),
            augmentation=augmentation,
            split=split,
        )

    def _parts(self) -> list[str]:
        """Names the parts to read: `train`, and the part to test on if one has labels."""
        splits = self.builder.info.splits
        require(
            "train" in splits,
            f"TFDS data set '{self.request.name}' has no part named train; it has "
            f"{', '.join(splits)}",
        )
        for part in ("test", "validation"):
            # Labels that are kept secret are -1.
            if part in splits and self._first_label(part) >= 0:
                return ["train", part]
        return ["train"]

    def _read_parts(
        self, parts: Sequence[str], counts: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reads parts, one behind the other: uint8 (N, size, size, 3) and int32 (N,)."""
        request = self.request
        standard = images.standard_for(self._sizes(), request.image_size, request.fallback_size)
        pixels = self._allocate(sum(counts), standard)
        labels = np.empty(sum(counts), np.int32)
        start = 0
        for part, count in zip(parts, counts, strict=True):
            end = start + count
            self._read_part(part, standard, pixels[start:end], labels[start:end])
            start = end
        return pixels, labels

    def _used_classes(
        self, labels: np.ndarray
    ) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
        """Leaves out the classes that have no image.

        Returns:
            The names of the classes that have one, the labels as indices into them, and the names
            of the others.
        """
        names = self.builder.info.features[self.label_key].names
        used = np.unique(labels)
        require(
            bool(len(used) and used[0] >= 0), f"TFDS data set '{self.request.name}' has no labels"
        )
        unused = tuple(name for label, name in enumerate(names) if label not in used)
        return (
            tuple(names[label] for label in used),
            np.searchsorted(used, labels).astype(np.int32),
            unused,
        )

    def _sizes(self) -> list[tuple[int, int]]:
        """Returns the size of the images, if all have the same one by definition."""
        shape = self.builder.info.features[self.image_key].shape
        return [] if None in shape[:2] else [(int(shape[0]), int(shape[1]))]

    def _first_label(self, part: str) -> int:
        """Returns the label of a part's first image; -1 where it has none."""
        for batch in self._batches(f"{part}[:1]"):
            return int(batch[self.label_key][0])
        return -1

    def _batches(self, part: str) -> Iterator[dict[str, np.ndarray]]:
        """Yields images and labels of a part in the order of its files, many at once or single."""
        import tensorflow as tf
        import tensorflow_datasets as tfds

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
                f"TFDS data in {self.builder.data_dir} can't be read: {one_line(error, 200)}; "
                "remove that folder and prepare it again"
            ) from error

    def _read_part(
        self, part: str, standard: Standard, pixels: np.ndarray, labels: np.ndarray
    ) -> None:
        """Fills in the images and labels of a part."""
        start = 0
        for batch in self._batches(part):
            raw = batch[self.image_key]
            if raw.dtype == np.uint16:
                raw = (raw >> 8).astype(np.uint8)
            require(
                raw.dtype == np.uint8,
                f"TFDS data set '{self.request.name}' has images of type {raw.dtype}: only 8 and "
                "16 bits a channel can be read",
            )
            end = start + len(raw)
            pixels[start:end] = images.standardize_arrays(raw, standard)
            labels[start:end] = batch[self.label_key]
            start = end
        require(
            start == len(pixels),
            f"TFDS data in {self.builder.data_dir} has {start} images in part {part}, but promises "
            f"{len(pixels)}: remove that folder and prepare it again",
        )

    def _allocate(self, count: int, standard: Standard) -> np.ndarray:
        """Makes room for all images: uint8, (count, size, size, 3), in memory or in a file."""
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
                f"the decoded images of '{self.request.name}' need {size / 2**30:.1f} GiB in "
                f"{folder}: {error.strerror}; free some room or choose a smaller --image_size"
            ) from error
