"""Checks `.keras` files, which are zip archives, before Keras unpacks them."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from pathlib import Path

from tfcompress.bounded_json import MOST_BYTES
from tfcompress.errors import UnsafeFileError
from tfcompress.models import hdf5

CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
_OTHER_WEIGHTS = "model.weights.npz"
# Vocabularies are kept as files beside the weights: a few.
_MOST_MEMBERS = 10_000
_COPIED_BYTES = 2**20


def read_config(path: Path, name: str) -> str | None:
    """Checks a `.keras` file and returns the model's configuration.

    Args:
        path: of a zip archive.
        name: what errors call the file.

    Returns:
        Its `config.json`; None if it has none.

    Raises:
        UnsafeFileError: the archive has names outside its folder, claims to unpack to far more than
            it holds, or its weights are unsafe as `hdf5.read_config` says.
        InputError: its weights are damaged.
        zipfile.BadZipFile, OSError: the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        _check_members(name, path.stat().st_size, archive.infolist())
        members = archive.namelist()
        if _WEIGHTS in members:
            _check_weights(name, archive)
        return _read_text(name, archive) if CONFIG in members else None


def read_text(path: Path, name: str) -> str | None:
    """Returns the configuration of a `.keras` file that `read_config` has checked."""
    with zipfile.ZipFile(path) as archive:
        return _read_text(name, archive) if CONFIG in archive.namelist() else None


def _check_members(name: str, size: int, members: list[zipfile.ZipInfo]) -> None:
    """Refuses names and sizes that no model's archive has."""
    if len(members) > _MOST_MEMBERS:
        raise UnsafeFileError(f"{name} isn't loaded: it holds more than {_MOST_MEMBERS} files")
    names = [member.filename for member in members]
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        outside = ".." in parts or parts[0] == "" or ":" in parts[0]
        if outside or stat.S_ISLNK(member.external_attr >> 16):
            raise UnsafeFileError(f"{name} isn't loaded: it holds '{member.filename}', which would "
                                  "be unpacked elsewhere")  # fmt: skip
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsafeFileError(f"{name} isn't loaded: '{member.filename}' is packed in a way "
                                  "that Keras doesn't use: save the model again")  # fmt: skip
    if len(set(names)) < len(names):
        raise UnsafeFileError(f"{name} isn't loaded: it holds two files of one name")
    if _OTHER_WEIGHTS in names:
        raise UnsafeFileError(f"{name} isn't loaded: its weights are in {_OTHER_WEIGHTS}, not in "
                              f"{_WEIGHTS}: save it by model.save")  # fmt: skip
    unpacked = sum(member.file_size for member in members)
    if unpacked > hdf5.most_unpacked_bytes(size):
        raise UnsafeFileError(
            f"{name} isn't loaded: its {size} bytes claim to unpack to {unpacked}; save it by "
            "model.save, which doesn't compress"
        )


def _check_weights(name: str, archive: zipfile.ZipFile) -> None:
    """Unpacks the weights to a file of their own, and checks that."""
    with tempfile.NamedTemporaryFile(suffix=".h5") as copy:
        with archive.open(_WEIGHTS) as weights:
            shutil.copyfileobj(weights, copy, _COPIED_BYTES)
        copy.flush()
        hdf5.read_config(copy.name, f"{name} ({_WEIGHTS})")


def _read_text(name: str, archive: zipfile.ZipFile) -> str:
    """Reads the configuration, if its text has a sensible length."""
    if archive.getinfo(CONFIG).file_size > MOST_BYTES:
        raise UnsafeFileError(f"{name} isn't loaded: its {CONFIG} has more than {MOST_BYTES} bytes")
    return archive.read(CONFIG).decode("utf-8")
