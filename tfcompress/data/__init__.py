"""Data: a name becomes a `Dataset` of images, or `Examples` or a `Stream` of anything else.

`names()` lists the sources: the embedded `fashion_mnist_small`, image classification data sets of
TensorFlow Datasets, and files of the user's own. Each is one file in `tfcompress/data/sources/`.
Arrays and tf.data pipelines become a `Dataset` by `from_arrays`.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfcompress.data.source import Request, all_sources, find_source
from tfcompress.errors import unknown_name
from tfcompress.options import check_type, check_types, option_types

if TYPE_CHECKING:
    from tfcompress.data.arrays import from_arrays as from_arrays
    from tfcompress.data.dataset import Dataset as Dataset
    from tfcompress.data.dataset import Split as Split
    from tfcompress.data.examples import Examples as Examples
    from tfcompress.data.normalization import Normalization as Normalization
    from tfcompress.data.pipelines import Stream as Stream

# Public names, and the modules that are imported when they are first used.
_LAZY = {
    "Dataset": "dataset",
    "Examples": "examples",
    "Normalization": "normalization",
    "Split": "dataset",
    "Stream": "pipelines",
    "from_arrays": "arrays",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> dict[str, str]:
    """Returns the names that `load` takes, or their patterns, each with a line that explains it."""
    return {source.pattern: source.summary for source in all_sources()}


def check_name(name: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Checks a data set's name, without reading any data.

    Args:
        name: as `load` takes it.
        data_dir: where prepared TFDS data sets lie.

    Raises:
        InputError: an unknown scheme or TFDS name (TFDS is imported to know it), or a file or
            folder that isn't there.
    """
    source, path = find_source(name)
    source.check(Request(name=name, path=path, data_dir=data_dir))


def default_model(name: str) -> str | None:
    """Returns the builder that a data set is for; None for those that classify images.

    Args:
        name: as `load` takes it.

    Raises:
        InputError: an unknown scheme.
    """
    return find_source(name)[0].model


def runs_code(name: str) -> bool:
    """Says whether `load` runs code of the user's own.

    Args:
        name: as `load` takes it.

    Raises:
        InputError: an unknown scheme.
    """
    return find_source(name)[0].runs_code


def options_type(name: str) -> type | None:
    """Returns the dataclass of options that a data set takes, or None where it takes none.

    Args:
        name: as `load` takes it.

    Raises:
        InputError: an unknown scheme.
    """
    return find_source(name)[0].options


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    fallback_size: int = 32,
    options: Mapping[str, Any] | None = None,
) -> Dataset | Examples | Stream:
    """Reads a data set.

    Args:
        name: one of the names or patterns of `names`.
        data_dir: where TFDS keeps its data; None for its own default.
        image_size: the side in pixels that all images are brought to. None keeps the size of
            images that all have the same one of at most 64 px a side (28 to 31 px are padded to
            32, smaller and non-square ones resized to 32), and resizes others to `fallback_size`.
        fallback_size: see `image_size`.
        options: the source's own, by name, as values of the types that `options_type` annotates.

    Returns:
        Images as a `Dataset`, every one of which has been decoded once; `Examples` or a `Stream`
        of other data. What all three have is `description.DescribedData`.

    Raises:
        InputError: says in one line what is wrong with the name, an option or the data.
    """
    return load_request(
        request(
            name,
            data_dir=data_dir,
            image_size=image_size,
            fallback_size=fallback_size,
            options=options,
        )
    )


def request(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    fallback_size: int = 32,
    options: Mapping[str, Any] | None = None,
) -> Request:
    """Returns what a source is asked for; the arguments and errors are those of `load`."""
    source, path = find_source(name)
    check_type("image_size", image_size, int | None)
    check_type("fallback_size", fallback_size, int)
    options = options or {}
    known = option_types(source.options) if source.options is not None else {}
    for key in options:
        if key not in known:
            raise unknown_name(f"option of data set {name}:", key, known)
    if source.options is not None:
        check_types(source.options, options)
    return Request(
        name=name,
        path=path,
        data_dir=data_dir,
        image_size=image_size,
        fallback_size=fallback_size,
        options=source.options(**options) if source.options is not None else None,
    )


def load_request(request: Request) -> Dataset | Examples | Stream:
    """Reads a data set that is asked for by `request`."""
    source, _ = find_source(request.name)
    # Set here, so that no source can forget it.
    return dataclasses.replace(source.load(request), name=request.name, local=source.local)
