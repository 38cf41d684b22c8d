r"""Tables of techniques on the embedded data set, run by the command that users run.

Run:

    python experiments/techniques.py --table=binary --output=experiments/results/binary_techniques
    python experiments/techniques.py --table=compact --output=experiments/results/compact_techniques
    python experiments/techniques.py --table=quantised \
        --output=experiments/results/quantised_techniques

About 25, 30 and 60 minutes on two cores. Per seed one float baseline is trained (by the first run)
and then used by all techniques, so that they differ in nothing else. Latency is interleaved with
the baseline's; an accuracy on 2,000 images has a standard error of about 0.65 points. Runs are kept
in the folder `--work`: stopped and called again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from page import command, page

# Name in the table to the command's words and the number of seeds; the first one trains the float
# baseline of each seed.
TABLES: dict[str, dict[str, tuple[list[str], int]]] = {
    "binary": {
        "xnor": (["--technique=xnor"], 3),
        "binary_activations": (["--technique=binary_activations"], 1),
        "bwn": (["--technique=bwn"], 1),
        "xnor, paper's recipe": (["--technique=xnor", "--set", "recipe=paper"], 1),
        "xnor, --set width=2": (["--technique=xnor", "--set", "width=2"], 1),
    },
    "compact": {
        "separable": (["--technique=separable"], 3),
        "hashed": (["--technique=hashed", "--set", "include=all"], 3),
        "hashed, init=scratch": (
            ["--technique=hashed", "--set", "include=all", "--set", "init=scratch"],
            3,
        ),
    },
    "quantised": {
        "int8": (["--technique=int8"], 3),
        "float16": (["--technique=float16"], 1),
        "dynamic": (["--technique=dynamic"], 1),
        "qat": (["--technique=qat"], 3),
        "prune": (["--technique=prune"], 3),
        "prune+qat": (["--technique=prune+qat"], 3),
        "cluster": (["--technique=cluster"], 3),
        "cluster+qat": (["--technique=cluster+qat"], 3),
        "prune+cluster+qat": (["--technique=prune+cluster+qat"], 3),
    },
}


def run(folder: Path, *words: str) -> dict:
    """One run of the command; returns its report."""
    subprocess.run(
        [sys.executable, "-m", "tfcompress.run", f"--output_dir={folder}", *words], check=True
    )
    return json.loads((folder / "report.json").read_text())


def reports_of(table: str, work: Path, seeds: int) -> dict[str, list[dict]]:
    """Name in the table to a report for each seed."""
    found: dict[str, list[dict]] = {}
    first = next(iter(TABLES[table]))
    for name, (words, wanted) in TABLES[table].items():
        # Other networks than the baselines' have baselines of their own.
        shared = [] if name == first or any("width" in word for word in words) else [first]
        found[name] = []
        for seed in range(min(wanted, seeds)):
            base = [f"--model={work / f'{other}_{seed}' / 'baseline.keras'}" for other in shared]
            normal = ["--normalization=standardize"] if base else []
            folder = work / f"{name.replace(' ', '_')}_{seed}"
            found[name].append(run(folder, *words, *base, *normal, f"--seed={seed}"))
    return found


def row(name: str, found: list[dict]) -> list[str]:
    """One line of the table."""
    below = [-report["accuracy_change_points"] for report in found]
    spread = f"{min(below):.2f} to {max(below):.2f}" if len(below) > 1 else "one seed"
    files = [report["compressed"] for report in found]
    base = found[0]["baseline"]
    return [
        name,
        " ".join(f"{report['baseline']['accuracy']:.4f}" for report in found),
        " ".join(f"{file['accuracy']:.4f}" for file in files),
        f"{statistics.mean(below):.2f}",
        spread,
        f"{found[0]['ratio']['size']:.3f}",
        f"{files[0]['gzip_bytes'] / base['gzip_bytes']:.3f}",
        f"{statistics.median(report['ratio']['latency'] for report in found):.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=TABLES, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for table and reports")
    parser.add_argument("--work", type=Path, default=Path("/tmp/tfcompress_techniques"))
    parser.add_argument("--seeds", type=int, default=3, help="at most so many of each technique")
    flags = parser.parse_args()
    reports = reports_of(flags.table, flags.work / flags.table, flags.seeds)
    headers = [
        "technique",
        "float accuracies",
        "accuracies",
        "points below, mean",
        "range",
        "size ratio",
        "gzip ratio",
        "latency ratio",
    ]
    page(
        flags.output,
        f"{flags.table.capitalize()} techniques, vgg_small on the embedded data set",
        command(work="DIR"),
        "Accuracies of the .tflite files on all 2,000 test images, seeds from 0 on. Ratios are "
        "compressed divided by float32 baseline: bytes, bytes after gzip, and latency on one "
        "thread, interleaved, the median over seeds.",
        headers,
        [row(name, found) for name, found in reports.items()],
    )
    for found in reports.values():
        for report in found:
            del report["histories"]
    text = json.dumps(reports, indent=1).replace(str(flags.work), "DIR")
    (flags.output / "reports.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
