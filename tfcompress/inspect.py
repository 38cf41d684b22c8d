"""The command `python -m tfcompress.inspect`: shows what stands in a `.tflite` file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from absl import flags

from tfcompress import commands
from tfcompress.benchmark.file_summary import LARGEST, summarize, summary_text
from tfcompress.errors import require

USAGE = """Shows what stands in a .tflite file: ops, tensors, bytes, metadata, who can run it.

  python -m tfcompress.inspect m.tflite
  python -m tfcompress.inspect m.tflite --tensors
  python -m tfcompress.inspect m.tflite --json > m.json

The file is first loaded and run once on random inputs, in a process of its own with limits on time
and memory, so that a file that crashes it is named. The line "tried" says what was tried: it is no
proof that the file is harmless, with other inputs, versions of LiteRT or processors.
Exit status: 0 done, 2 bad usage or a bad file.

Flags:"""


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_boolean("json", False, "print JSON, of all constants", flag_values=values)
    flags.DEFINE_boolean(
        "tensors", False, f"all constants, not the {LARGEST} largest only", flag_values=values
    )
    return values


def run(argv: Sequence[str]) -> None:
    """Parses the flags, reads the file, prints.

    Raises:
        InputError: bad usage or a bad file.
    """
    values = parser()
    paths = commands.parse_arguments(values, argv, USAGE)
    if paths is None:
        return
    require(len(paths) == 1, f"give the path of one .tflite file; got {len(paths)}; see --help")
    summary = summarize(paths[0])
    if values.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
    else:
        print(summary_text(summary, all_constants=values.tensors))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
