"""The command `python -m tfcompress.pack`: packs a `.tflite` file losslessly, or unpacks it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from tfcompress import commands
from tfcompress.container import archive
from tfcompress.errors import require

USAGE = """Packs a .tflite file losslessly, or unpacks it.

  python -m tfcompress.pack model.tflite model.tfz
  python -m tfcompress.pack --unpack model.tfz model.tflite

Zeros and shared values, as pruning and clustering leave them, make the container small; the file
that comes out is the one that went in, bit by bit. Exit status: 0 done, 2 bad usage or a bad file.

Flags:"""


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_boolean("unpack", False, "the first file is the container", flag_values=values)
    flags.DEFINE_string(
        "coder", "best", f"one of {', '.join(archive.CODERS)} (default best)", flag_values=values
    )
    flags.DEFINE_integer(
        "max_bytes",
        None,
        "with --unpack, refuse to unpack more (default: 2 GiB, and no more than 64 MiB or 1000 "
        "times the container's size)",
        flag_values=values,
    )
    return values


def run(argv: Sequence[str]) -> None:
    """Parses the flags, packs or unpacks, prints the sizes.

    Raises:
        InputError: bad usage or a bad file.
    """
    values = parser()
    paths = commands.parse_arguments(values, argv, USAGE)
    if paths is None:
        return
    require(len(paths) == 2, f"give a file to read and one to write; got {len(paths)}; see --help")
    source, target = paths
    if values.unpack:
        size = archive.unpack(source, target, max_bytes=values.max_bytes)
        print(f"{target}: {size:,} bytes, with the SHA-256 of the file that was packed")
    else:
        before, after = archive.pack(source, target, coder=values.coder)
        print(f"{target}: {after:,} bytes of {before:,}, {before / after:.2f} times smaller")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
