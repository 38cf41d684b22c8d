"""Checks HDF5 files before Keras reads them, in a process of their own."""

from __future__ import annotations

import os

from tfcompress.errors import InputError, UnsafeFileError
from tfcompress.plain_text import one_line
from tfcompress.runtime import process

_TIMEOUT_S = 120.0


def most_unpacked_bytes(file_bytes: int) -> int:
    """Returns how many bytes a file of this size may claim to unpack to.

    Keras compresses nothing, but people recompress files. Pruned weights shrink tenfold or so.
    """
    return max(256 * 2**20, 16 * file_bytes)


def read_config(
    path: str | os.PathLike[str], name: str, *, attribute: str = "model_config"
) -> str | None:
    """Checks an HDF5 file and returns the model's configuration.

    Args:
        path: the file.
        name: what errors call the file.
        attribute: which one is returned: `training_config` holds what the model was compiled with,
            `keras_version` which Keras saved it.

    Returns:
        The text of this attribute; None if it has none.

    Raises:
        UnsafeFileError: it stores values in other files, has links, claims more than it holds, or
            crashes the HDF5 library.
        InputError: it is cut short or damaged.
    """
    try:
        answer = process.ask(
            {"task": "hdf5", "paths": [os.path.abspath(path)], "attribute": attribute},
            timeout_s=_TIMEOUT_S,
            arguments=process.command("tfcompress.models.hdf5_walk"),
        )
    except process.ProcessError as error:
        raise UnsafeFileError(
            f"{name} is corrupt or made to do harm: a process that looked into it ended: "
            f"{error.cause}"
        ) from error
    if answer["refused"]:
        raise UnsafeFileError(f"{name} isn't loaded: {answer['refused']}")
    if answer["damaged"]:
        why = one_line(answer["damaged"])
        raise InputError(f"{name} is cut short or damaged ({why}); get or save it again")
    config: str | None = answer["config"]
    return config
