"""The default run, as `make run` does it: its files, beside the float baseline's.

Run:

    .venv/bin/python experiments/default_run.py --output=build/default_run

Minutes: it trains a float and a binary network on the embedded data set, writes and measures each
file. The run goes to `--work` and is always made anew.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

from measurements import Measurements, Row, conduct, parser
from page import Page
from techniques import made_by, run

TECHNIQUE = "xnor"
# The files of the technique's default storages where the 1-bit kernels run.
FILES = ("float32", "int8", "xnor")
RUN = "the whole run"


def measured(work: Path) -> dict[str, Row]:
    """Runs the command, and returns what its report says of each file."""
    started = time.perf_counter()
    report = run(work, True, f"--technique={TECHNIQUE}")
    seconds = time.perf_counter() - started
    made = made_by(report)
    base = report["baseline"]
    rows = {"float32": base | {"latency_ratio": 1.0}, **report["files"]}
    return {
        RUN: {"seconds": seconds, "made": made},
        **{name: file_row(rows[name], base) | {"made": made} for name in FILES},
    }


def file_row(file: Row, base: Row) -> Row:
    """Returns what is kept of a file's entry in the report."""
    names = ("accuracy", "size_bytes", "gzip_bytes", "latency_ms_p50", "latency_runs")
    return {name: file[name] for name in names} | {
        "size_ratio": file["size_bytes"] / base["size_bytes"],
        "ratio": file["latency_ratio"],
    }


def cells(row: Row) -> list[str]:
    """Returns a row's part of the table that was measured."""
    return [
        f"{row['accuracy']:.4f}",
        *(f"{row[name] / 1024:,.1f}" for name in ("size_bytes", "gzip_bytes")),
        f"{row['size_ratio']:.3f}",
        f"{row['latency_ms_p50']:.3f}",
        f"{row['ratio']:.3f}",
    ]


def page_of(results: Measurements) -> Page:
    return Page(
        "The default run",
        f"`--technique={TECHNIQUE}`, seed 0: `vgg_small` on the embedded data set. Accuracies of "
        "the files on all 2,000 test images (standard error about 0.65 points); latency on one "
        "thread, all files in turns in one process; ratios are to the float32 file. The whole "
        f"command took {results[RUN]['seconds']:.0f} s.",
        ["file", "accuracy", "KiB", "gzip", "bytes, of float's", "ms", "of float's"],
        [([name, *cells(results[name])], [name]) for name in FILES],
        more=[RUN],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--work", type=Path, default=Path("build/default_run_work"))
    flags = flags.parse_args()
    conduct(flags, [((RUN, *FILES), functools.partial(measured, flags.work))], page_of)


if __name__ == "__main__":
    main()
