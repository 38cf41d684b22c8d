"""FER2013: faces of seven emotions as text in one CSV file.

Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning
contests", 2013, arXiv:1307.0414.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tfcompress.data.source import Request, Source
from tfcompress.errors import InputError, require

if TYPE_CHECKING:
    import numpy as np

    from tfcompress.data.dataset import Dataset

CLASS_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_HEADER = ["emotion", "pixels", "Usage"]
_SIDE = 48
_TRAIN_USAGES = ("Training",)
_TEST_USAGES = ("PublicTest", "PrivateTest")


def check(request: Request) -> None:
    """Refuses a request whose file isn't there."""
    existing_csv(request.path)


def load(request: Request) -> Dataset:
    """Reads the CSV file of the contest.

    Args:
        request: its path is the file, or a folder that holds it as `fer2013.csv`; its
            `image_size` None keeps 48 x 48.

    Returns:
        The data set; grey is repeated in three channels.

    Raises:
        InputError: there is no such file, or names the file and the line that is wrong.
    """
    from tfcompress.data.dataset import Dataset, Split
    from tfcompress.data.normalization import Normalization
    from tfcompress.data.stores import ArrayImages
    from tfcompress.images import standard_for, standardize_arrays

    file = existing_csv(request.path)
    standard = standard_for([(_SIDE, _SIDE)], request.image_size, request.fallback_size)
    train, test = (
        Split(ArrayImages(standardize_arrays(pixels, standard)), labels)
        for pixels, labels in read_csv(file)
    )
    for title, part, usages in (
        ("training", train, _TRAIN_USAGES),
        ("test", test, _TEST_USAGES),
    ):
        require(len(part) > 0, f"{file} has no {title} rows (Usage {' or '.join(usages)})")
    return Dataset(
        name=request.name,
        class_names=CLASS_NAMES,
        licence="not stated by its makers",
        source=str(file),
        train=train,
        test=test,
        normalization=Normalization.of(train.images),
        augmentation="flip",
        split="As the contest had it: Training, and PublicTest with PrivateTest.",
    )


def existing_csv(path: str) -> Path:
    """Returns the CSV file that a path names, or that the folder there holds.

    Raises:
        InputError: there is none.
    """
    file = Path(path).expanduser()
    require(bool(path) and file.exists(), f"there is no file '{path}'")
    if file.is_dir():
        file /= "fer2013.csv"
        require(file.is_file(), f"folder '{path}' holds no fer2013.csv")
    require(file.is_file(), f"'{path}' is a pipe, socket or device: a CSV file is needed")
    return file


def read_csv(file: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reads the rows one by one straight into bytes.

    Args:
        file: CSV of `emotion,pixels,Usage`, with 48 x 48 grey values as text in each row.

    Returns:
        For training and for testing: uint8 (N, 48, 48) and int32 (N,), in the order of the file.

    Raises:
        InputError: names the file and the line that is wrong.
    """
    import numpy as np

    # Test rows are those of both test usages.
    pixels = (bytearray(), bytearray())
    labels: tuple[list[int], list[int]] = ([], [])
    line = 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])
            require(
                header == _HEADER,
                f"{file} line 1: the header must be {','.join(_HEADER)}; got "
                f"'{','.join(header)[:80]}'",
            )
            for row in rows:
                line = rows.line_num
                if not row:
                    continue
                label, values, testing = _row(row, f"{file} line {line}")
                labels[testing].append(label)
                pixels[testing].extend(values)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{file} can't be read after line {line}: {reason}") from error
    return [
        (
            np.frombuffer(part_pixels, np.uint8).reshape(-1, _SIDE, _SIDE),
            np.array(part_labels, np.int32),
        )
        for part_pixels, part_labels in zip(pixels, labels, strict=True)
    ]


def _row(row: list[str], place: str) -> tuple[int, bytes, bool]:
    """Returns a row's label, its 2304 pixels and whether it is for testing."""
    require(len(row) == 3, f"{place}: there must be 3 columns; got {len(row)}")
    emotion, text, usage = row
    usages = _TRAIN_USAGES + _TEST_USAGES
    require(
        usage in usages, f"{place}: Usage must be one of {', '.join(usages)}; got '{usage[:40]}'"
    )
    require(emotion in tuple("0123456"), f"{place}: emotion must be in 0..6; got '{emotion[:40]}'")
    words = text.split()
    require(len(words) == _SIDE**2, f"{place}: there must be {_SIDE**2} pixels; got {len(words)}")
    try:
        values = bytes(map(int, words))
    except ValueError:
        # At most three digits: longer words aren't worth converting, and some can't be.
        wrong = next(
            word for word in words if not re.fullmatch("[0-9]{1,3}", word) or int(word) > 255
        )
        raise InputError(
            f"{place}: pixels must be whole numbers in 0..255; got '{wrong[:40]}'"
        ) from None
    return int(emotion), values, usage in _TEST_USAGES


SOURCE = Source(
    pattern="fer2013:PATH",
    summary="the FER2013 contest's CSV file; 7 emotions",
    local=True,
    check=check,
    load=load,
)
