"""What the commands share: flags apart from absl's global ones, `--help`, a line for bad input."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from absl import flags

from tfcompress.errors import InputError


def help_only() -> flags.FlagValues:
    """Flags of a command's own, of which `--help` is there."""
    values = flags.FlagValues()
    flags.DEFINE_boolean("help", False, "show this", short_name="h", flag_values=values)
    return values


def words(values: flags.FlagValues, argv: Sequence[str], usage: str) -> list[str] | None:
    """Parses a command line.

    Args:
        values: the command's flags; they are set.
        argv: the program's name and what follows it.
        usage: what `--help` prints before the flags.

    Returns:
        What isn't a flag; None if help was asked for, which has then been printed.

    Raises:
        InputError: an unknown flag, or a value that it can't have.
    """
    try:
        rest: list[str] = values(list(argv))[1:]
    except flags.Error as error:
        raise InputError(f"{error}; see --help") from error
    if not values.help:
        return rest
    names = [name for name in values if name not in ("help", "h")]
    print("\n".join([usage, *(f"  --{name}: {values[name].help}" for name in names)]))
    return None


def complain(error: Exception) -> None:
    """Says on stderr what was wrong, on one line."""
    print("error:", " ".join(str(error).split()), file=sys.stderr)


def disk(error: OSError) -> InputError | None:
    """What to say if a disk is full, read-only or broken; None if it is something else."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
        return None
    where = error.filename or "a file"
    return InputError(f"{where} can't be written: {os.strerror(error.errno)}")


def status(run: Callable[[Sequence[str]], None], argv: Sequence[str] | None) -> int:
    """Runs a command on `argv`, or on the program's; 0, or 2 for bad input."""
    try:
        run(sys.argv if argv is None else argv)
    except InputError as error:
        complain(error)
        return 2
    except OSError as error:
        if (said := disk(error)) is None:
            raise
        complain(said)
        return 2
    return 0
