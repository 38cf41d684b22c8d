"""Data: a name becomes a `Dataset`.

Sources: the embedded `fashion_mnist_small`, any image classification data set of TFDS,
`folder:PATH`, `rafd:PATH`, `fer2013:PATH`, and arrays or tf.data pipelines of the user's own.
Each is a module that is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfcompress.errors import require, unknown_name
from tfcompress.options import option_types

if TYPE_CHECKING:
    from tfcompress.data.arrays import from_arrays as from_arrays
    from tfcompress.data.dataset import Dataset as Dataset
    from tfcompress.data.dataset import Split as Split
    from tfcompress.data.normalization import Normalization as Normalization

_EMBEDDED = "fashion_mnist_small"
_SCHEMES = ("folder", "rafd", "fer2013")

# Public names, and the modules that are imported when they are first used.
_LAZY = {
    "Dataset": "dataset",
    "Normalization": "normalization",
    "Split": "dataset",
    "from_arrays": "arrays",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> dict[str, str]:
    """The names that `load` takes, or their patterns, each with a description in one line."""
    return {
        _EMBEDDED: "embedded: 10,000 training and 2,000 test images of Fashion-MNIST, 10 classes",
        "<TFDS name>": "an image classification data set of TensorFlow Datasets, as cifar10",
        "folder:PATH": "a folder a class, in train/ and test/ or right in PATH",
        "rafd:PATH": "the Radboud Faces Database's files; 8 emotions, split by person",
        "fer2013:PATH": "the FER2013 contest's CSV file; 7 emotions",
    }


def check_name(name: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Checks a data set's name, without reading any image.

    Args:
        name: as `load` takes it.
        data_dir: where prepared TFDS data sets lie.

    Raises:
        InputError: an unknown scheme or TFDS name (TFDS is imported to know it), or a file or
            folder that isn't there.
    """
    source, path = _parse(name)
    if source == "fer2013":
        from tfcompress.data import fer2013

        fer2013.existing_csv(path)
    elif source in _SCHEMES:
        from tfcompress.data import folder

        folder.existing_folder(path)
    elif source == "tfds":
        from tfcompress.data import tfds_source

        tfds_source.check_name(name, data_dir)


def options_type(name: str) -> type | None:
    """The dataclass of options that a source takes, or None where it takes none.

    Args:
        name: as `load` takes it.

    Raises:
        InputError: an unknown scheme.
    """
    source, _ = _parse(name)
    if source == "folder":
        from tfcompress.data.folder import FolderOptions

        return FolderOptions
    if source == "rafd":
        from tfcompress.data.rafd import RafdOptions

        return RafdOptions
    return None


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    fallback_size: int = 32,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
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
        The data set, every image of which has been decoded once.

    Raises:
        InputError: says in one line what is wrong with the name, an option or the data.
    """
    source, path = _parse(name)
    kind = options_type(name)
    known = option_types(kind) if kind is not None else {}
    for key in options or {}:
        if key not in known:
            raise unknown_name(f"option of data set {name}:", key, known)
    chosen = kind(**(options or {})) if kind is not None else None
    if source == _EMBEDDED:
        from tfcompress.data import embedded

        return embedded.load(image_size, fallback_size)
    if source == "folder":
        from tfcompress.data import folder

        return folder.load(path, image_size, fallback_size, chosen)
    if source == "rafd":
        from tfcompress.data import rafd

        return rafd.load(path, image_size, fallback_size, chosen)
    if source == "fer2013":
        from tfcompress.data import fer2013

        return fer2013.load(path, image_size, fallback_size)
    from tfcompress.data import tfds_source

    return tfds_source.load(name, data_dir, image_size, fallback_size)


def _parse(name: str) -> tuple[str, str]:
    """The source that a name belongs to (`tfds` for all others), and the path it names."""
    require(bool(name.strip()), f"a data set's name is needed: {', '.join(names())}")
    if name == _EMBEDDED:
        return _EMBEDDED, ""
    scheme, colon, path = name.partition(":")
    if scheme in _SCHEMES:
        require(bool(colon and path), f"data set '{name}' lacks its path: {scheme}:PATH")
        return scheme, path
    # TFDS writes versions behind a colon: mnist:3.0.1, mnist:3.*.*
    if colon and not re.fullmatch(r"[0-9*]+(\.[0-9*]+)*", path):
        raise unknown_name("data set scheme", scheme, _SCHEMES)
    return "tfds", ""
