"""Knows which files of an output folder runs of tfcompress wrote: by a list in config.json.

A file that the list doesn't name, or whose content isn't what a finished stage left, is somebody
else's: it is neither replaced nor deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfcompress import files, report
from tfcompress.bounded_json import parse_json
from tfcompress.errors import InputError

SETTINGS = "config.json"
# Tells our config.json from those of other programs.
_KEY = {"tfcompress": "run"}
# No config.json of ours comes near it: whatever is larger isn't read.
_LONGEST = 1 << 24
# What a run wrote before config.json had a list, and before it had the key.
_UNLISTED = (
    *report.OUTPUTS,
    *(
        f"{title}.{end}"
        for title in ("baseline", "compressed")
        for end in ("keras", "tflite", "tfz")
    ),
)
_ANOTHER = "choose another --output_dir"


class Manifest:
    """What config.json says: a run's settings and versions, and the files that it wrote.

    Args:
        folder: the output folder.
        settings: the run's resolved settings, as JSON values.
        versions: of the packages that it runs with.
        written: by file name the SHA-256 of the content; None while the file may be half-way
            between an old content and a new one.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        versions: dict[str, str],
        written: dict[str, str | None] | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.versions = versions
        self.written = written or {}

    def save(self) -> None:
        """Writes config.json."""
        content = {
            **_KEY,
            "settings": self.settings,
            "versions": self.versions,
            "files": dict(sorted(self.written.items())),
        }
        files.write(self.folder / SETTINGS, json.dumps(content, indent=2) + "\n")

    def check(self, names: Iterable[str]) -> None:
        """Refuses names under which something stands in the folder that no run wrote.

        Raises:
            InputError: names those that are somebody else's, and what to do.
        """
        there = [name for name in names if os.path.lexists(self.folder / name)]
        strangers = [name for name in there if name not in self.written]
        if strangers:
            raise InputError(
                f"{self.folder} holds {', '.join(strangers)}, which no run of tfcompress made "
                f"and this one would replace: {_ANOTHER}"
            )
        changed = [name for name in there if not self._is_as_written(name)]
        if changed:
            raise InputError(
                f"{self.folder} holds {', '.join(changed)}, changed since a run of tfcompress "
                f"wrote it: move it away, or {_ANOTHER}"
            )

    def claim(self, names: Iterable[str]) -> None:
        """Notes names as the run's own before it writes files of these names.

        Raises:
            InputError: something stands there that no run wrote.
        """
        names = tuple(names)
        self.check(names)
        self.written |= dict.fromkeys(names)
        self.save()

    def record(self, names: Iterable[str]) -> None:
        """Notes the content of files that are written; those that aren't there are forgotten."""
        for name in names:
            path = self.folder / name
            if path.is_file():
                self.written[name] = _digest(path)
            else:
                self.written.pop(name, None)
        self.save()

    def remove_files(self) -> None:
        """Removes what runs wrote, and nothing else; report.json first, which says all is there.

        Raises:
            InputError: a file was changed meanwhile; nothing is removed.
        """
        self.check(self.written)
        for name in sorted(self.written, key=lambda name: name != "report.json"):
            (self.folder / name).unlink(missing_ok=True)
        self.written.clear()

    def _is_as_written(self, name: str) -> bool:
        """Returns whether an ordinary file stands there, with the content that was noted."""
        path = self.folder / name
        if not stat.S_ISREG(os.lstat(path).st_mode):  # A run makes no symbolic links.
            return False
        digest = self.written[name]
        return digest is None or digest == _digest(path)


def read(folder: Path) -> Manifest | None:
    """Reads the config.json of an output folder.

    Returns:
        What it says; None if there is none.

    Raises:
        InputError: the config.json isn't one of a run of tfcompress.
    """
    path = folder / SETTINGS
    if not os.path.lexists(path):
        return None
    content = _object(path)
    settings, versions = content.get("settings"), content.get("versions")
    if isinstance(settings, dict) and isinstance(versions, dict):
        if content.items() >= _KEY.items() and _is_list(content.get("files")):
            return Manifest(folder, settings, versions, content["files"])
        if content.keys() == {"settings", "versions"} and (old := _unlisted(folder)):
            return Manifest(folder, settings, versions, old)
    raise InputError(f"{folder} holds a config.json, which no run of tfcompress made: {_ANOTHER}")


def _is_list(written: Any) -> bool:
    """Returns whether this can be a list of files: of names in the folder, so nobody is led out."""
    return isinstance(written, dict) and all(
        _is_name(name) and isinstance(digest, str | None) for name, digest in written.items()
    )


def _is_name(name: Any) -> bool:
    """Returns whether this is the name of an output, and no path."""
    return (
        isinstance(name, str)
        and name not in ("", SETTINGS)
        and not name.startswith(".")
        and not set(name) & {"/", "\\", "\0"}
    )


def _unlisted(folder: Path) -> dict[str, str | None]:
    """Returns the files of a finished run of a version that kept no list.

    Only its report tells such a folder from another program's; without one there are none.
    """
    content = _object(folder / "report.json")
    if not content.keys() >= {
        "technique",
        "model",
        "dataset",
        "versions",
        "baseline",
        "compressed",
    }:
        return {}
    further = content.get("files", {})
    entries = further.values() if isinstance(further, dict) else ()
    paths = [str(entry.get("path")) for entry in entries if isinstance(entry, dict)]
    names = [name for name in paths if _is_name(name) and name.endswith(".tflite")]
    packed = [f"{Path(name).stem}.tfz" for name in names]
    return dict.fromkeys(
        name for name in (*_UNLISTED, *names, *packed) if os.path.lexists(folder / name)
    )


def _object(path: Path) -> dict[str, Any]:
    """Reads a JSON object from an ordinary file of sensible size; anything else is an empty one."""
    try:
        state = os.lstat(path)
        if not stat.S_ISREG(state.st_mode) or state.st_size > _LONGEST:
            return {}
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
