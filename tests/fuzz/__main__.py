"""Feeds changed files to what reads strangers' files, and counts what breaks a promise.

    make fuzz
    make fuzz SECONDS=600 INPUTS=100000 SEED=0
    .venv/bin/python -m tests.fuzz --target=load --seed=0 --only=1234
    .venv/bin/python -m tests.fuzz --target=load --file=m.tflite

Promised of every input: our own process takes less than 2 seconds of processor time and 512 MB, and
ends well or with an error of one line. The processes that `load` and `inspect` try a file in may
crash: they are there for that. Linux only. Exit status 1: something was found.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import time

from tests.fuzz import campaign
from tests.fuzz.targets import TARGETS
from tfcompress.console import table

_HEADERS = ["target", "inputs", "accepted", "refused", "children", "crashed", "stopped",
            "slowest, s", "peak, MB", "findings"]  # fmt: skip


def flags():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000,
                        help="of all targets together, whichever are chosen")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=3600.0, help="of those chosen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=TARGETS, help="this one's inputs")
    parser.add_argument("--only", type=int, help="this input alone; its traceback is printed")
    parser.add_argument("--file", type=pathlib.Path, help="this file as the target's input")
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("build/fuzz"),
                        help="folder for the inputs of findings and for summary.json")  # fmt: skip
    return parser


def alone(target, options) -> int:
    """Reads one input in this process, and prints what comes of it."""
    target.prepare()
    make = target.make
    if options.file:
        data = options.file.read_bytes()
        target = dataclasses.replace(target, make=lambda rng: (make(rng), data)[1])
    with tempfile.TemporaryDirectory() as folder:
        rng = campaign.rng_of(target.name, options.seed, options.only or 0)
        result = campaign.measured(target, rng, pathlib.Path(folder) / "input")
    text = result.pop("text")
    print(f"{text}\n{json.dumps(result)}")
    return int(result["fate"] == "found")


def row(summary) -> list[str]:
    return [
        summary.target,
        f"{summary.inputs:,}",
        f"{summary.accepted:,}",
        f"{summary.refused:,}",
        *(f"{count:,}" for count in (
            summary.children, summary.children_crashed, summary.children_stopped)),
        f"{summary.slowest_s:.2f}",
        f"{summary.peak_bytes / 2**20:.0f}",
        f"{summary.found:,}",
    ]  # fmt: skip


def main(argv=None) -> int:
    options = flags().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    if options.only is not None or options.file:
        return alone(chosen[0], options)
    begun = time.monotonic()
    summaries = []
    for target in chosen:
        left = options.seconds - (time.monotonic() - begun)
        summaries.append(
            campaign.run(
                target,
                seed=options.seed,
                numbers=range(round(options.inputs * target.share / 100)),
                # What a target leaves over goes to those behind it.
                seconds=left * target.share / sum(t.share for t in chosen[chosen.index(target) :]),
                keep=options.keep,
                say=lambda line: print(line, flush=True),
            )
        )
    took = time.monotonic() - begun
    print(table([row(summary) for summary in summaries], _HEADERS, width=120))
    for summary in summaries:
        for kind, count in sorted(summary.kinds.items(), key=lambda item: -item[1]):
            print(f"{summary.target}: {count} times: {kind}")
    done, found = (sum(getattr(s, name) for s in summaries) for name in ("inputs", "found"))
    print(f"{done:,} inputs of seed {options.seed} in {took:.0f} s, {found} findings"
          + (f", kept in {options.keep}" if found else ""))  # fmt: skip
    options.keep.mkdir(parents=True, exist_ok=True)
    rows = [dataclasses.asdict(summary) for summary in summaries]
    (options.keep / "summary.json").write_text(json.dumps(rows, indent=1) + "\n")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
