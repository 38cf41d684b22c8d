"""What a source of data sets is, and how a data set's name finds its source.

A source is one file in `tfcompress/data/sources/`, which ends in one `SOURCE` value. The files are
found by listing the folder, and imported to list what they offer: NumPy, Pillow and TensorFlow are
imported inside the functions that need them.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcompress.errors import require, unknown_name

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.examples import Examples
    from tfcompress.data.pipelines import Stream
    from tfcompress.data.transfer.unlabelled import UnlabelledImages


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a source is asked for.

    Attributes:
        name: the data set's name as the user gave it.
        path: what stands behind the colon of a name such as `folder:PATH`; empty for other names.
        data_dir: where TFDS keeps its data; None for its own default.
        image_size: the side in pixels that was asked for; None for the rule of
            `images.standard_for`.
        fallback_size: the side in pixels where that rule needs one.
        options: a value of the source's `options` type; None where it takes none.
    """

    name: str
    path: str = ""
    data_dir: str | os.PathLike[str] | None = None
    image_size: int | None = None
    fallback_size: int = 32
    options: Any = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One place that data sets come from: a value, not a class to inherit from.

    Attributes:
        pattern: how its names are written: `folder:PATH` for any name with this word before a
            colon; `fashion_mnist_small` for this one name; `<TFDS name>` or `module.py:function`
            for the names that `takes` recognises.
        summary: one line for `--list`.
        local: whether its data are the user's own files. The files that we write then name
            neither their folder nor where they come from.
        check: raises `InputError` where a request can't be met, without reading data.
        load: reads the data set: images, other examples or a stream. Its `name` and `local` are
            set by `tfcompress.data.load`.
        options: frozen dataclass of the `--set` options, all with defaults; None for none.
        model: the builder that a run takes unless it is given a model; None for the command's
            default, which classifies images.
        example: a name, and options that it needs, for `--list`.
        runs_code: whether it runs code of the user's, which a run says before it does.
        unlabelled: reads its examples where they have no labels, brought to the form of other
            data, by a request and these; None where they have to have labels, which are then left
            aside.
        takes: whether a name that no other pattern fits is this source's; None for patterns
            that name a scheme or one data set.
    """

    pattern: str
    summary: str
    local: bool
    check: Callable[[Request], object]
    load: Callable[[Request], Dataset | Examples | Stream]
    options: type | None = None
    model: str | None = None
    example: str = ""
    runs_code: bool = False
    unlabelled: Callable[[Request, Any], UnlabelledImages | Examples] | None = None
    takes: Callable[[str], bool] | None = None

    @property
    def scheme(self) -> str:
        """The word before the colon of a pattern such as `folder:PATH`; empty for other ones."""
        scheme, colon, _ = self.pattern.partition(":")
        return scheme if colon and self.takes is None else ""

    @property
    def is_one_name(self) -> bool:
        """Whether the pattern is itself the only name, such as `fashion_mnist_small`."""
        return self.takes is None and not self.scheme


def all_sources() -> list[Source]:
    """Returns the sources in the order of their files; last those that take names by `takes`."""
    package = importlib.import_module("tfcompress.data.sources")
    sources = [
        importlib.import_module(f"{package.__name__}.{module.name}").SOURCE
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    ]
    return sorted(sources, key=lambda source: source.takes is not None)


def find_source(name: str) -> tuple[Source, str]:
    """Returns the source that a data set's name belongs to, and the path that it names.

    Args:
        name: one of the sources' patterns, filled in.

    Returns:
        The source, and what stands behind its scheme's colon; empty where it has no scheme.

    Raises:
        InputError: an empty name, a scheme without a path, or an unknown scheme.
    """
    sources = all_sources()
    patterns = ", ".join(source.pattern for source in sources)
    require(
        isinstance(name, str),
        f"a data set's name is a text, or give arrays to data.from_arrays; got {name!r}",
    )
    require(bool(name.strip()), f"a data set's name is needed: {patterns}")
    scheme, colon, path = name.partition(":")
    for source in sources:
        if source.scheme and source.scheme == scheme:
            require(bool(path), f"data set '{name}' lacks its path: {source.pattern}")
            return source, path
    for source in sources:
        if source.pattern == name or (source.takes is not None and source.takes(name)):
            return source, ""
    kind = "data set scheme" if colon else "data set"
    raise unknown_name(kind, scheme, [source.scheme for source in sources if source.scheme])


def existing_folder(path: str | os.PathLike[str], of: str = "images") -> Path:
    """Returns the path of a folder, `~` expanded.

    Args:
        path: as the user wrote it.
        of: for the error: what it should hold.

    Raises:
        InputError: there is none, or it is a file.
    """
    folder = Path(path).expanduser()
    require(bool(str(path)) and folder.exists(), f"there is no folder '{path}'")
    require(folder.is_dir(), f"'{path}' is a file: a folder of {of} is needed")
    return folder
