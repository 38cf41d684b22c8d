"""The command `python -m tfcompress.benchmark`: measures files and prints a table."""

from __future__ import annotations

import io
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from tfcompress import commands, files
from tfcompress.benchmark.litert_json import litert_keys
from tfcompress.benchmark.machine import int8_note, machine
from tfcompress.benchmark.measure import BACKENDS, FileBenchmark, measure
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.benchmark.profile import top_ops
from tfcompress.benchmark.table import file_labels, place, table
from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line, plain_output

USAGE = """Measures .tflite files: size, latency, memory, multiply-accumulates.

  python -m tfcompress.benchmark baseline.tflite compressed.tflite
  python -m tfcompress.benchmark m.tflite --backends=cpu,cpu-noxnn --threads=1,4 --json=m.json
  python -m tfcompress.benchmark m.tflite --backends=cpu,gpu,gpu+cpu
  python -m tfcompress.benchmark m.tflite --backends='cpu,cpu?signature=serving_default'
  python -m tfcompress.benchmark m.tflite --backends='delegate:./libx.so?level=2&cache=/tmp'
  python -m tfcompress.benchmark m.tflite --backends=android --benchmark_model=benchmark_model
  python -m tfcompress.benchmark m.tflite --ops

Several files run in turns in one process, and each is compared with the first one. No other work
should run on the machine meanwhile. A file with two signatures runs on the CPU as tfcompress.load
would run it, and with ?signature=serving_default by its default one. On a GPU or a delegate a file
must first compute what the CPU computes; one that doesn't, or that crashes or hangs, has an outcome
and no latency, and the other files are measured. A delegate is native code of yours and runs as
such; %2C in its options is a comma. A phone needs adb and TensorFlow Lite's benchmark_model; nobody
compares what files compute there.

Exit status: 0 done, 2 bad usage or a bad file, 1 a file that couldn't be measured on a backend.

Flags:"""

# The backends, without their options, whose times are those of this machine's processor.
ON_THIS_CPU = ("cpu", "cpu-noxnn", "gpu+cpu", "delegate")


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
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
    flags.DEFINE_float(
        "min_seconds", 1.0, "and for so long, at least (default 1)", flag_values=values
    )
    flags.DEFINE_float(
        "timeout",
        600.0,
        "seconds until a process is killed (default 600)",
        flag_values=values,
    )
    flags.DEFINE_boolean("ops", False, "also time each op, on the CPU", flag_values=values)
    flags.DEFINE_string(
        "benchmark_model",
        None,
        "for phones: TensorFlow Lite's program of that name, built for the phone",
        flag_values=values,
    )
    flags.DEFINE_string("json", None, "also write the numbers to this file", flag_values=values)
    return values


def run(argv: Sequence[str]) -> int:
    """Parses the flags, measures, prints.

    Returns:
        0, or 1 if a file has no latency on a backend.

    Raises:
        InputError: bad usage or a bad file.
        BenchmarkError: nothing can be measured here.
    """
    values = parser()
    paths = commands.parse_arguments(values, argv, USAGE)
    if paths is None:
        return 0
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
        min_seconds=values.min_seconds,
        timeout_s=values.timeout,
        ops=values.ops,
        benchmark_model=values.benchmark_model,
    )
    this_machine = machine()
    unwritten: InputError | None = None
    if values.json is not None:
        entries = [{**litert_keys(file), **file.to_json()} for file in results]
        try:
            created = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            content = {"created": created, "machine": this_machine, "files": entries}
            write_json(values.json, content)
        except InputError as error:  # What was measured is shown all the same.
            unwritten = error
    print(table(results))
    for text in profiles(results):
        print(f"\n{text}")
    print(place(this_machine), flush=True)
    note = int8_note(this_machine)
    if note and any(file.kind in ON_THIS_CPU and file.peak_dtype == "int8" for file in results):
        print(note, flush=True)
    if unwritten:
        raise unwritten
    return 0 if all(file.timed for file in results) else 1


def profiles(results: Sequence[FileBenchmark]) -> list[str]:
    """Lays out the longest ops of each file that has op times, one text per file."""
    labels = file_labels([file.path for file in results])
    return [
        f"{labels[file.path]} on {file.backend} x{file.threads}\n{top_ops(file.profile)}"
        for file in results
        if file.profile
    ]


def write_json(path: str, content: Mapping[str, Any]) -> None:
    """Writes JSON to a file, whole or not at all.

    Raises:
        InputError: the path can't be written.
    """
    try:
        files.write(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"--json: {path} can't be written: {error.strerror}") from error


@plain_output()
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    try:
        return run(sys.argv if argv is None else argv)
    except (InputError, BenchmarkError) as error:
        commands.print_error(error)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except OSError as error:  # what was measured is in --json's file, if one was asked for
        why = one_line(error.strerror or error)
        print(f"error: the result can't be printed: {why}", file=sys.stderr)
        # Python would try again on its way out, and complain.
        sys.stdout = io.StringIO()
        return 1


if __name__ == "__main__":
    sys.exit(main())
