"""Says from which commit of tfcompress a number comes."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

CHANGED = "+changes"
_DIGITS = 12
_TIMEOUT_S = 5.0


@functools.cache
def commit() -> str | None:
    """Returns the commit of the running tfcompress, with `+changes` if its sources differ from it.

    It is asked for once in a process. Sources are the package and the experiments' scripts; what an
    experiment writes doesn't count.

    Returns:
        The commit's first 12 digits; None if tfcompress wasn't started from a checkout of its own,
        or git isn't installed.
    """
    return commit_of(Path(__file__).parents[2])


def commit_of(folder: Path) -> str | None:
    """Returns the commit of a checkout of tfcompress as `commit` does; None if it is none."""
    # An installed package may lie in the repository of somebody's own program.
    if not ((folder / ".git").exists() and (folder / "tfcompress" / "kernels" / "src").is_dir()):
        return None
    # A hook that runs tfcompress has variables that name another repository.
    environment = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--"]
    try:
        done = subprocess.run(
            [*command, "tfcompress", ":(glob)experiments/*.py"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    digits = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "")
    if done.returncode or not digits.isalnum():  # "(initial)" before the first commit.
        return None
    changed = any(not line.startswith("#") for line in lines)
    return digits[:_DIGITS] + (CHANGED if changed else "")
