"""Image classification data sets of TensorFlow Datasets (TFDS), by name."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcompress.data.source import Request, Source, all_sources
from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line, unfiltered

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset

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

# TFDS tries a download 11 times over more than three minutes. Three retries are over in seconds
# and still get past a dropped connection.
_DOWNLOAD_RETRIES = 3


def takes(name: str) -> bool:
    """Whether a name may be one of TFDS: `mnist`, `emnist/letters`, `mnist:3.0.1`, `mnist:3.*.*`.

    >>> takes("emnist/letters:3.0.1"), takes("foldr:photos")
    (True, False)
    """
    _, colon, version = name.partition(":")
    return not colon or bool(re.fullmatch(r"[0-9*]+(\.[0-9*]+)*", version))


def check(request: Request) -> None:
    """Refuses a name that neither TFDS nor the folder of prepared data sets knows.

    Raises:
        InputError: an unknown name; says the nearest ones.
    """
    base = _base_name(request.name)
    known = _tfds().list_builders(with_community_datasets=False)
    data_dir = _data_dir(request)
    if base in known or (data_dir is not None and base and (Path(data_dir) / base).is_dir()):
        return
    others = [source for source in all_sources() if source.pattern != SOURCE.pattern]
    fixed = [source.pattern for source in others if source.is_one_name]
    forms = [source.pattern for source in others if not source.is_one_name]
    near = difflib.get_close_matches(base, [*known, *fixed], n=3)
    hint = f"did you mean {' or '.join(repr(match) for match in near)}? " if near else ""
    raise InputError(
        f"unknown data set '{request.name}': {hint}It must be {', '.join(fixed)}, the name of a "
        f"TFDS data set, or one of {', '.join(forms)}"
    )


def load(request: Request) -> Dataset:
    """Reads a TFDS data set, prepared before or downloaded now, always in the same order.

    The test images are those of `test`, or of `validation` where there is no labelled `test`, or
    else a fifth of each class of `train`. Where the decoded images take more than
    `images.MEMORY_BUDGET_BYTES`, they are kept in an unnamed temporary file, in `data_dir` if it
    can be written to, which vanishes with the process. Classes without any image are left out.

    Args:
        request: its name is as `tfds.builder` takes it; its `data_dir` is where TFDS keeps its
            data.

    Returns:
        The data set.

    Raises:
        InputError: an unknown name, no data set of images with one label each, one that can't
            be downloaded or read, or one without `train`.
    """
    from tfcompress.data.tfds_reader import Reader

    check(request)
    name = request.name
    with _quiet():
        try:
            builder = _tfds().builder(name, data_dir=_data_dir(request))
        except Exception as error:
            raise InputError(f"TFDS can't set up data set '{name}': {one_line(error)}") from error
        image_key, label_key = _keys(name, builder.info)
        if not builder.info.splits:
            _prepare(name, builder)
        return Reader(request, builder, image_key, label_key).read(_augmentation(name))


def _data_dir(request: Request) -> str | None:
    """Returns the folder where TFDS keeps its data, `~` expanded; None for its own default."""
    return None if request.data_dir is None else os.path.expanduser(request.data_dir)


def _augmentation(name: str) -> str:
    """Returns what may be done to a data set's images in training: `config.AUGMENTATIONS`."""
    base = _base_name(name)
    if base in _WRITING:
        return "none"
    return "flip+shift" if base in _SHIFTED else "flip"


def _base_name(name: str) -> str:
    """Returns a data set's name without its configuration and version."""
    return name.split(":")[0].split("/")[0]


def _tfds() -> Any:
    """Returns the package `tensorflow_datasets`, imported when first needed."""
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
    """Returns the names of the image and of the label among a data set's features."""
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
        with contextlib.redirect_stderr(unfiltered(sys.stderr)):  # TFDS's bars.
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
    """Says why a download failed.

    Of a network's nested errors that is the innermost, whose text is the shortest.
    """
    innermost: BaseException = error
    while isinstance(error, OSError) and innermost.__context__ is not None:
        innermost = innermost.__context__
    return one_line(innermost, 200)


def _partial(prepared: Path, downloads: Path) -> list[Path]:
    """Lists what TFDS leaves when it is interrupted: unfinished data sets and downloads."""
    return [*prepared.glob("**/incomplete.*"), *downloads.glob("*.tmp.*")]


SOURCE = Source(
    pattern="<TFDS name>",
    summary="an image classification data set of TensorFlow Datasets, as cifar10",
    local=False,
    check=check,
    load=load,
    takes=takes,
)
