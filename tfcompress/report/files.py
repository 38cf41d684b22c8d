"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile


def atomic_write(path: str | os.PathLike[str], content: str | bytes) -> pathlib.Path:
    """Writes beside the file and then takes its place, so that no reader meets half a file.

    Args:
        path: the file; its folder is made if it doesn't exist.
        content: text is written as UTF-8 with the line ends it has.

    Returns:
        The path.

    Raises:
        OSError: the folder can't be made or written; an old file of this name is left as it was.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # mkstemp makes files that only the owner reads; a report is an ordinary file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    return path
