"""Reads a transfer set by its name, as the data that a run trains on have their inputs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from tfcompress import data as data_sets
from tfcompress.data.dataset import Dataset
from tfcompress.data.examples import Examples
from tfcompress.data.pipelines import Stream
from tfcompress.data.source import Source, find_source
from tfcompress.data.stores import GreyImages
from tfcompress.data.transfer.held_out import refuse_test_examples
from tfcompress.data.transfer.kinds import kind_of
from tfcompress.data.transfer.made import Labelled, make
from tfcompress.data.transfer.unlabelled import Unlabelled, UnlabelledImages, without_targets
from tfcompress.errors import InputError, require


def read(
    name: str,
    data: Labelled,
    *,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    convert: Callable[[Any], Any] = lambda x: x,
) -> tuple[Labelled, Unlabelled]:
    """Reads or makes a transfer set.

    Args:
        name: as `kinds.names` and `tfcompress.data.names` have it.
        data: what the model is trained and judged on, normalised as the model takes it.
        seed: of what is made.
        data_dir: where TFDS keeps its data.
        options: those that the data were read with; a set of the same kind is read alike.
        convert: brings the inputs of a batch to the types that the model takes; images come in
            them.

    Returns:
        The data, of `half` with the labels of one half alone; and the unlabelled examples, of the
        size, channels and normalisation that the data have.

    Raises:
        InputError: the name, or what is behind it, can't be used; or the set holds examples that
            the data are judged by.
    """
    kind = kind_of(name)
    if kind is not None:
        return make(kind, name, data, seed)
    source, _ = find_source(name)
    alike = _is_of(source, data.name)
    side = _side(name, data) if isinstance(data, Dataset) else None
    request = data_sets.request(
        name, data_dir=data_dir, image_size=side, options=options if alike else None
    )
    load = source.unlabelled
    loaded = data_sets.load_request(request) if load is None else load(request, data)
    unlabelled = prepared(loaded, data, convert)
    refuse_test_examples(unlabelled, data)
    return data, unlabelled


def prepared(
    loaded: Labelled | UnlabelledImages,
    data: Labelled,
    convert: Callable[[Any], Any] = lambda x: x,
) -> Unlabelled:
    """Returns the inputs of loaded data as a model that is trained on others takes them.

    Args:
        loaded: images, or examples whose inputs reach the model as they are.
        data: what the model is trained on.
        convert: brings the inputs of a batch to the types that the model takes.

    Raises:
        InputError: these are images of another shape, or the others are no images.
    """
    examples = loaded if isinstance(loaded, UnlabelledImages) else without_targets(loaded)
    if isinstance(examples, Examples):
        return dataclasses.replace(examples, convert=convert)
    if isinstance(examples, Stream):
        examples.train.convert = convert
        return examples
    if not isinstance(data, Dataset):
        raise InputError(
            f"transfer set {examples.name} is of images, and {data.name} doesn't say how images "
            "are normalised: give arrays as the model takes them, or both as a "
            "tfcompress.data.Dataset"
        )
    images, shape = examples.images, data.image_shape
    if shape[2] == 1 and images.shape[2] == 3:
        images = GreyImages(images)
    require(
        images.shape == shape,
        f"transfer set {examples.name} has images of {images.shape}, and {data.name} of {shape}",
    )
    return dataclasses.replace(examples, images=images, normalization=data.normalization)


def _is_of(source: Source, name: str) -> bool:
    """Says whether a data set's name is one of a source; a user's own arrays have any name."""
    try:
        return find_source(name)[0] is source
    except InputError:
        return False


def _side(name: str, data: Dataset) -> int:
    """Returns the side of the images that the model takes."""
    height, width, _ = data.image_shape
    require(
        height == width,
        f"transfer set {name} is read as square images, and those of {data.name} are {height} x "
        f"{width}: give arrays of that shape",
    )
    return height
