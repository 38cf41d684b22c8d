"""Does what all commands do: parses flags, prints `--help`, says in one line what was wrong."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from absl import flags

from tfcompress.errors import ExportError, InputError
from tfcompress.plain_text import one_line, plain_output

# Characters of an error's line: enough for a list of all names that would be right.
_MOST = 4000


def new_flags() -> flags.FlagValues:
    """Returns the flags of a command, apart from absl's global ones: `--help` and no other yet."""
    values = flags.FlagValues()
    flags.DEFINE_boolean("help", False, "show this", short_name="h", flag_values=values)
    return values


def parse_arguments(values: flags.FlagValues, argv: Sequence[str], usage: str) -> list[str] | None:
    """Parses a command line.

    Args:
        values: the command's flags; they are set.
        argv: the program's name and what follows it.
        usage: the text that `--help` prints before the flags.

    Returns:
        The arguments that aren't flags; None if help was asked for, which is then printed.

    Raises:
        InputError: an unknown flag, or a value that the flag can't have.
    """
    try:
        arguments: list[str] = values(list(argv))[1:]
    except flags.Error as error:
        raise InputError(f"{error}; see --help") from error
    if not values.help:
        return arguments
    names = [name for name in values if name not in ("help", "h")]
    print("\n".join([usage, *(f"  --{name}: {values[name].help}" for name in names)]))
    return None


def print_error(error: Exception) -> None:
    """Prints an error's text to stderr, on one line."""
    print("error:", one_line(error, _MOST), file=sys.stderr)


def disk_error(error: OSError) -> InputError | None:
    """Says which file a full, read-only or broken disk keeps from being written.

    Returns:
        The error for the user; None if the disk isn't the cause.
    """
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG):
        return None
    where = error.filename or "a file"
    return InputError(f"{where} can't be written: {os.strerror(error.errno)}")


def run_command(run: Callable[[Sequence[str]], None], argv: Sequence[str] | None) -> int:
    """Runs a command and prints what was wrong with the user's input.

    What it prints steers no terminal, whatever a stranger's file holds.

    Args:
        run: the command.
        argv: the program's name and its arguments; None for `sys.argv`.

    Returns:
        The exit status: 0, or 2 for bad input.
    """
    with plain_output():
        try:
            run(sys.argv if argv is None else argv)
        except InputError as error:
            print_error(error)
            return 2
        except OSError as error:
            if (reported := disk_error(error)) is None:
                raise
            print_error(reported)
            return 2
    return 0


@plain_output()
def run_resumable(run: Callable[[Sequence[str]], None], argv: Sequence[str] | None) -> int:
    """Runs a command that goes on where it was when it is given again.

    Args:
        run: the command.
        argv: the program's name and its arguments; None for `sys.argv`.

    Returns:
        The exit status: 0, 2 for bad input or a file that isn't what it should be, 130 for Ctrl-C.
    """
    try:
        run(sys.argv if argv is None else argv)
    except (InputError, ExportError) as error:
        print_error(error)
        return 2
    except OSError as error:
        if (full := disk_error(error)) is None:
            raise
        print_error(full)
        print("what is finished is kept; the same command goes on from there", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        message = str(interrupt) or "stopped by Ctrl-C"
        print(f"\n{message}; the same command goes on from there", file=sys.stderr)
        return 130
    return 0
