"""The command `python -m tfcompress.compare`: joins many runs' reports in one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tfcompress import commands, files
from tfcompress.errors import InputError, require
from tfcompress.report import compared
from tfcompress.report.read import read_report

USAGE = """Joins the reports of finished runs into one table.

  python -m tfcompress.compare tflite_models/*
  python -m tfcompress.compare runs/xnor runs/cp --sort=accuracy
  python -m tfcompress.compare runs/* --output=runs.html

Each folder is one that python -m tfcompress.run wrote. Columns: training step, inference, size and
accuracy of each file, and their ratios to the run's own baseline.
Exit status: 0 done, 2 bad usage or a folder without a usable report.

Flags:"""
ENDINGS = {
    ".md": compared.markdown,
    ".csv": compared.comma_separated,
    ".html": compared.html,
}


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_string(
        "output",
        None,
        f"a file ending in {', '.join(ENDINGS)}; Markdown on stdout without it",
        flag_values=values,
    )
    flags.DEFINE_string(
        "sort",
        None,
        f"by {', '.join(compared.SORTS)} (default: as given)",
        flag_values=values,
    )
    return values


def run(argv: Sequence[str]) -> None:
    """Parses the flags, reads all reports, writes the table.

    Raises:
        InputError: bad usage, or a folder without a usable report; nothing is written.
    """
    values = parser()
    folders = commands.parse_arguments(values, argv, USAGE)
    if folders is None:
        return
    require(len(folders) > 0, "give at least one folder of a finished run; see --help")
    require(
        values.sort is None or values.sort in compared.SORTS,
        f"--sort takes one of {', '.join(compared.SORTS)}; got '{values.sort}'",
    )
    output = Path(values.output) if values.output is not None else None
    if output is not None:
        require(
            output.suffix in ENDINGS,
            f"--output takes a file ending in {', '.join(ENDINGS)}; got '{output}'",
        )
        require(
            output.absolute().parent.is_dir(),
            f"--output: the folder {output.absolute().parent} doesn't exist",
        )
    lines = compared.lines([(folder, read_report(folder)) for folder in folders], values.sort)
    if output is None:
        print(compared.markdown(lines), end="")
        return
    try:
        files.write(output, ENDINGS[output.suffix](lines))
    except OSError as error:
        raise InputError(f"--output: {output} can't be written: {error}") from error
    print(f"{len(folders)} runs in {output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
