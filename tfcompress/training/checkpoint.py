"""Keeps the state of a training in one file, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.bounded_json import parse_json
from tfcompress.errors import InputError
from tfcompress.files import whole


def save(path: Path, variables: list[Any], rows: list[dict[str, float]]) -> None:
    """Writes the variables' values and the history so far, replacing an older checkpoint."""
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    with whole(path) as beside, open(beside, "wb") as file:
        np.savez(file, rows=np.array(json.dumps(rows)), **arrays)


def load(path: Path, variables: list[Any], epochs: int) -> list[dict[str, float]]:
    """Sets the variables to the saved values and returns the history, one entry an epoch.

    Raises:
        InputError: the file is damaged, of another model, or of more epochs than these; the
            variables stay as they were.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            rows = parse_json(str(file["rows"]))
            if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
                raise TypeError("the history isn't a list of rows")
            values = [file[f"v{i}"] for i in range(len(file.files) - 1)]
    except Exception as error:  # zipfile, zlib and NumPy each have their own
        raise InputError(
            f"the checkpoint {path} is damaged: remove it to train from the start"
        ) from error
    expected = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in variables]
    if expected != [(value.shape, str(value.dtype)) for value in values]:
        raise InputError(f"the checkpoint {path} is of another model: remove it, or use --noresume")
    if len(rows) > epochs:
        raise InputError(
            f"the checkpoint {path} holds {len(rows)} epochs, more than the {epochs} wanted: "
            "remove it, or use --noresume"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return rows
