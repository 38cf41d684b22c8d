"""The command `python -m tfcompress.inspect`: shows what stands in a `.tflite` file."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from tfcompress import commands
from tfcompress.benchmark.file_summary import LARGEST, WIDTH, summarize, summary_text
from tfcompress.console import table
from tfcompress.errors import InputError, require
from tfcompress.runtime.activation_errors import ActivationErrors, activation_errors, drawn_inputs

USAGE = """Shows what stands in a .tflite file: ops, tensors, bytes, metadata, who can run it.

  python -m tfcompress.inspect m.tflite
  python -m tfcompress.inspect m.tflite --tensors
  python -m tfcompress.inspect m.tflite --json > m.json
  python -m tfcompress.inspect int8.tflite --against=float.tflite --inputs=x.npy
  python -m tfcompress.inspect int8.tflite --against=float.keras

The file is first loaded and run once on random inputs, in a process of its own with limits on time
and memory, so that a file that crashes it is named. The line "tried" says what was tried: it is no
proof that the file is harmless, with other inputs, versions of LiteRT or processors.
With --against, each op's output is compared with that of another file of the same network: the
signal to quantization noise ratio in dB, the worst first. That file runs in this process.
Exit status: 0 done, 2 bad usage or a bad file.

Flags:"""
# Inputs that are drawn where none are given, and ops that the text names as the worst.
DRAWN = 16
WORST = 3


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_boolean("json", False, "print JSON, of all constants", flag_values=values)
    flags.DEFINE_boolean(
        "tensors", False, f"all constants, not the {LARGEST} largest only", flag_values=values
    )
    flags.DEFINE_string(
        "against",
        None,
        "a float .tflite file of the same network, or its .keras or .h5 file",
        flag_values=values,
    )
    flags.DEFINE_string(
        "inputs",
        None,
        "for --against: an .npy file of inputs as the network takes them, or an .npz file with an "
        f"array for each of several inputs (default: {DRAWN} that are drawn)",
        flag_values=values,
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
    require(
        values.against is not None or values.inputs is None,
        "--inputs is for the comparison: give --against, too",
    )
    summary = summarize(paths[0])
    found = None
    if values.against is not None:
        found = compare_activations(values.against, paths[0], values.inputs)
        summary["activations"] = {
            "against": values.against,
            "inputs": values.inputs,
            **dataclasses.asdict(found),
        }
    if values.json:
        print(json.dumps(summary, indent=2, allow_nan=False))
        return
    print(summary_text(summary, all_constants=values.tensors))
    if found is not None:
        print(f"\n{activations_text(found, values.against, values.inputs)}")


def compare_activations(against: str, path: str, inputs: str | None) -> ActivationErrors:
    """Compares the outputs of a file's ops with those of the float file or model.

    Args:
        against: a `.tflite` file, or a `.keras` or `.h5` file, which is exported in float32 first.
        path: of the file.
        inputs: of an `.npy` or `.npz` file; None to draw some.

    Raises:
        InputError: a file can't be read or run, or the inputs aren't the network's.
        ExportError: the model can't be exported.
    """
    x = drawn_inputs(path, DRAWN) if inputs is None else _read_inputs(inputs)
    if isinstance(x, list) and len(x) == 1:
        (x,) = x
    if against.endswith(".tflite"):
        return activation_errors(against, path, x)
    # Not above: a .tflite file needs neither Keras nor TensorFlow.
    from tfcompress import models
    from tfcompress.export import export

    with tempfile.TemporaryDirectory() as folder:
        reference = os.path.join(folder, "float.tflite")
        export(models.load(against), reference)
        return activation_errors(reference, path, x)


def _read_inputs(name: str) -> Any:
    """Returns the array of an `.npy` file, or those of an `.npz` file by their names."""
    import numpy as np

    require(Path(name).is_file(), f"--inputs: no file {name}: give an .npy or .npz file")
    try:
        read = np.load(name, allow_pickle=False)
        return dict(read) if isinstance(read, Mapping) else read
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"--inputs: {name} is no .npy or .npz file of numbers: {error}") from error


def activations_text(found: ActivationErrors, against: str, inputs: str | None) -> str:
    """Lays out the ops' errors, the worst first, and says what wasn't compared."""

    def decibels(value: float | None) -> str:
        return "no noise" if value is None else f"{value:.1f}"

    rows = [
        [error.op, _short(error.name), decibels(error.sqnr_db), error.matched_by]
        for error in found.errors
    ]
    worst = ", ".join(
        f"{_short(error.name)} ({error.op}, {decibels(error.sqnr_db)} dB)"
        for error in found.errors[:WORST]
        if error.sqnr_db is not None
    )
    given = inputs or "drawn; --inputs=FILE.npy takes those that it sees in use"
    lines = [
        f"Against {against}, {found.examples} inputs ({given}).",
        f"Furthest off: {worst or 'none, nothing differs'}.",
        table(rows, ["op", "output", "SQNR, dB", "matched by"], width=WIDTH),
    ]
    if found.unmatched:
        lines.append(
            "Not compared, as the file doesn't hold them or they are zero: "
            f"{', '.join(map(_short, found.unmatched))}."
        )
    return "\n".join(lines)


def _short(name: str) -> str:
    """Returns the first of the names that the converter joins where it merges ops."""
    return name.partition(";")[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
