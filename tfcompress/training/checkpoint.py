"""Keeps the state of a training in one file, whole or not at all."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.bounded_json import parse_json
from tfcompress.errors import InputError
from tfcompress.files import whole

# Beyond this no epoch's number is.
_LARGEST = 1e100


def save(path: Path, variables: list[Any], rows: list[dict[str, float]]) -> None:
    """Writes the variables' values and the history so far, replacing an older checkpoint."""
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    with whole(path) as beside, open(beside, "wb") as file:
        np.savez(file, rows=np.array(json.dumps(rows)), **arrays)


def load(
    path: Path, variables: list[Any], epochs: int, keys: Collection[str] = ()
) -> list[dict[str, float]]:
    """Sets the variables to the saved values and returns the history, one entry an epoch.

    Nothing is read whose header doesn't fit the variables: a damaged or foreign file takes no more
    memory than they do.

    Args:
        path: of the checkpoint.
        variables: in the order in which they were saved.
        epochs: the most that the history may have.
        keys: what each of its rows must have.

    Raises:
        InputError: the file is damaged, of another model, or of more epochs than these; the
            variables stay as they were.
    """
    expected = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in variables]
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
                raise ValueError("it is compressed, which no checkpoint is")
            rows = _rows(archive, members["rows.npy"], keys)
            headers = [
                _header(archive, members[f"v{number}.npy"]) for number in range(len(members) - 1)
            ]
            values = []
            if expected == [(shape, str(dtype)) for shape, dtype in headers]:
                values = [_array(archive, f"v{number}.npy") for number in range(len(expected))]
    except Exception as error:  # zipfile and NumPy each have their own
        raise InputError(
            f"the checkpoint {path} is damaged: remove it to train from the start"
        ) from error
    if len(values) != len(expected) or len(headers) != len(expected):
        raise InputError(f"the checkpoint {path} is of another model: remove it, or use --noresume")
    if len(rows) > epochs:
        raise InputError(
            f"the checkpoint {path} holds {len(rows)} epochs, more than the {epochs} wanted: "
            "remove it, or use --noresume"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return rows


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Reads the shape and type of an array, which must be all that the member holds."""
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("an array of another version than np.savez writes")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise ValueError("an array's header doesn't fit its size")
    return shape, dtype


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Reads an array whose header was checked."""
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _rows(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, keys: Collection[str]
) -> list[dict[str, float]]:
    """Reads the history and checks that it is one."""
    shape, dtype = _header(archive, member)
    if shape != () or dtype.kind != "U":
        raise TypeError("the history isn't a text")
    rows = parse_json(str(_array(archive, member.filename)))
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise TypeError("the history isn't a list of rows")
    for number, row in enumerate(rows, start=1):
        if row.get("epoch") != number or not row.keys() >= set(keys):
            raise ValueError(f"the history's row {number} lacks its number or a key")
        for value in row.values():
            # Later sums of larger numbers would be infinite.
            if isinstance(value, bool) or not (abs(value) < _LARGEST):
                raise ValueError(f"the history's row {number} holds {value}")
    return rows
