"""The command `python -m tfcompress.benchmark`: flags in, a table out, no logic."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from tfcompress import files
from tfcompress.benchmark.machine import machine
from tfcompress.benchmark.measure import BACKENDS, measure
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.benchmark.table import place, table
from tfcompress.config import InputError, require

USAGE = """Measures .tflite files: size, latency, memory, multiply-accumulates.

  python -m tfcompress.benchmark baseline.tflite compressed.tflite
  python -m tfcompress.benchmark m.tflite --backends=cpu,cpu-noxnn --threads=1,4 --json=m.json

Several files run in turns in one process, and each is compared with the first one. No other work
should run on the machine meanwhile. Exit status: 0 done, 2 bad usage or a bad file, 1 a file that
couldn't be measured.

Flags:"""


def parser() -> flags.FlagValues:
    """The command's flags, apart from absl's global ones."""
    values = flags.FlagValues()
    flags.DEFINE_list(
        "backends", "cpu", f"any of {', '.join(BACKENDS)} (default cpu)", flag_values=values
    )
    flags.DEFINE_list(
        "threads",
        "1",
        "CPU threads of an inference, several with commas (default 1)",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "runs", 200, "timed inferences of each file, at least (default 200)", flag_values=values
    )
    flags.DEFINE_string("json", None, "also write the numbers to this file", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this", short_name="h", flag_values=values)
    return values


def run(argv: Sequence[str]) -> None:
    """Parses, measures, prints.

    Raises:
        InputError: bad usage or a bad file.
        BenchmarkError: a file couldn't be measured.
    """
    values = parser()
    try:
        paths = values(list(argv))[1:]
    except flags.Error as error:
        raise InputError(f"{error}; see --help") from error
    if values.help:
        names = ("backends", "threads", "runs", "json")
        lines = [f"  --{name}: {values[name].help}" for name in names]
        print("\n".join([USAGE, *lines]))
        return
    require(len(paths) > 0, "give the path of at least one .tflite file; see --help")
    require(
        all(text.isdecimal() for text in values.threads),
        f"--threads takes whole numbers, as in --threads=1,4; got '{','.join(values.threads)}'",
    )
    if values.json is not None:
        folder = pathlib.Path(values.json).absolute().parent
        require(folder.is_dir(), f"--json: the folder {folder} doesn't exist")
    results = measure(
        paths,
        backends=values.backends,
        threads=[int(text) for text in values.threads],
        runs=values.runs,
    )
    here = machine()
    print(table(results))
    print(place(here))
    if values.json is not None:
        write_json(values.json, {"machine": here, "files": [file.to_json() for file in results]})


def write_json(path: str, content: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all.

    Raises:
        InputError: the path can't be written.
    """
    try:
        files.write(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"--json: {path} can't be written: {error.strerror}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    try:
        run(sys.argv if argv is None else argv)
    except (InputError, BenchmarkError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
