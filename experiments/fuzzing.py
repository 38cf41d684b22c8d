"""What changed files do to all that reads strangers' files: refused, too slow, too large, broken.

Run:

    .venv/bin/python experiments/fuzzing.py --output=build/fuzzing

About an hour on one core. It runs what `make fuzz` runs; each input can be made again alone,
as tests/fuzz says.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from measurements import Measurements, Row, conduct, parser, single
from page import Page

ROOT = Path(__file__).resolve().parents[1]
FINDINGS = "build/fuzz"
# What stands in the table.
TITLES = {
    "load": "`tfcompress.load` of a `.tflite`",
    "inspect": "`tfcompress.inspect` of a `.tflite`",
    "pack": "`tfcompress.pack`, `tfcompress.compare` of a `.tflite`",
    "metadata": "metadata and labels of a `.tflite`",
    "unpack": "`tfcompress.pack --unpack` of a `.tfz`",
    "report": "`report.json`: compared, shown, of a finished run",
    "settings": "`config.json` of a finished run",
    "checkpoint": "a training's checkpoint, resumed",
}


def fuzzed(target: str, inputs: int, seed: int) -> Row:
    """Runs a target's inputs to the end."""
    keep = f"{FINDINGS}/{target}"
    words = [f"--inputs={inputs}", f"--seed={seed}", "--seconds=36000", f"--keep={keep}"]
    command = [sys.executable, "-m", "tests.fuzz", f"--target={target}", *words]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"the fuzzer ended with status {done.returncode}")
    (row,) = json.loads((ROOT / keep / "summary.json").read_text())
    return row


def row(target: str, found: Row) -> list[str]:
    counts = ("inputs", "accepted", "refused", "children", "children_crashed", "children_stopped")
    return [
        TITLES[target],
        *(f"{found[name]:,}" for name in counts),
        f"{found['slowest_s']:.2f}",
        f"{found['peak_bytes'] / 2**20:.0f}",
        f"{found['found']:,}",
    ]


def page_of(results: Measurements) -> Page:
    inputs, seed = results.settings["inputs"], results.settings["seed"]
    return Page(
        "Changed files",
        f"{inputs:,} inputs of seed {seed}, made from small files of every storage, from "
        "containers, reports and checkpoints by changed bits, numbers, offsets, tables, zip "
        "headers and JSON values. Counted is our own process: no input may take 2 s of processor "
        "time or 512 MB more than before, or end in anything but success or an error of one line "
        "without control characters. `load` and `inspect` first try a file in a process of its "
        "own, which is there to be crashed: `tried` says how often, `crashed` how many of these "
        "died in native code, and `stopped` how many took 2 s of processor time and were killed "
        "(a user's may take 60 s by the clock). These are forks; in one of 350 inputs that process "
        "is started as a user's is, which isn't counted there. `slowest` and `peak` are the "
        "worst of any input.",
        ["what reads it", "inputs", "accepted", "refused", "tried", "crashed", "stopped",
         "slowest, s", "peak, MB", "findings"],
        [(row(target, results[target]), [target]) for target in TITLES if target in results],
    )  # fmt: skip


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    flags.add_argument("--seed", type=int, default=0)
    flags = flags.parse_args()
    steps = [single(target, fuzzed, target, flags.inputs, flags.seed) for target in TITLES]
    conduct(flags, steps, page_of, settings={"inputs": flags.inputs, "seed": flags.seed})


if __name__ == "__main__":
    main()
