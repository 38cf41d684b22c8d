"""The binary techniques on the embedded data set, and xnor at double width.

Run:

    python experiments/binary_techniques.py --output=experiments/results/binary_techniques

About 25 minutes on two cores. xnor has three seeds, the others one (`--seeds` sets how many they
have). Per seed one float baseline is trained (by the xnor run) and then used by all techniques, so
that they differ in nothing else. Latency is interleaved with the baseline's; an accuracy on 2,000
images has a standard error of about 0.65 points. Runs are kept in the folder `--work`: stopped and
called again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from tabulate import tabulate

XNOR_SEEDS = 3
OTHERS = {
    "binary_activations": ["--technique=binary_activations"],
    "bwn": ["--technique=bwn"],
    "xnor, paper's recipe": ["--technique=xnor", "--set", "recipe=paper"],
}


def run(folder: Path, *words: str) -> dict:
    """One run of the command; returns its report."""
    subprocess.run(
        [sys.executable, "-m", "tfcompress.run", f"--output_dir={folder}", *words], check=True
    )
    return json.loads((folder / "report.json").read_text())


def rows_of(reports: dict[str, list[dict]]) -> list[list[str]]:
    rows = []
    for name, found in reports.items():
        below = [-report["accuracy_change_points"] for report in found]
        accuracies = " ".join(f"{report['compressed']['accuracy']:.4f}" for report in found)
        floats = " ".join(f"{report['baseline']['accuracy']:.4f}" for report in found)
        latency = statistics.median(report["ratio"]["latency"] for report in found)
        mean = f"{statistics.mean(below):.2f}"
        spread = f"{min(below):.2f} to {max(below):.2f}" if len(below) > 1 else "one seed"
        size = f"{found[0]['ratio']['size']:.3f}"
        rows.append([name, floats, accuracies, mean, spread, size, f"{latency:.2f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for table and reports")
    parser.add_argument("--work", type=Path, default=Path("/tmp/tfcompress_binary_techniques"))
    parser.add_argument("--seeds", type=int, default=1, help="of the techniques other than xnor")
    flags = parser.parse_args()
    output, work = flags.output, flags.work
    output.mkdir(parents=True, exist_ok=True)
    reports: dict[str, list[dict]] = {
        "xnor": [
            run(work / f"xnor_{seed}", "--technique=xnor", f"--seed={seed}")
            for seed in range(XNOR_SEEDS)
        ],
    }
    for name, words in OTHERS.items():
        reports[name] = [
            run(
                work / f"{name.replace(' ', '_')}_{seed}",
                *words,
                f"--model={work / f'xnor_{seed}' / 'baseline.keras'}",
                f"--seed={seed}",
            )
            for seed in range(flags.seeds)
        ]
    wide = run(work / "wide", "--technique=xnor", "--set", "width=2")
    reports["xnor, --set width=2"] = [wide]
    headers = [
        "technique",
        "float accuracies",
        "accuracies",
        "points below, mean",
        "range",
        "size ratio",
        "latency ratio",
    ]
    machine = reports["xnor"][0]["machine"]
    versions = reports["xnor"][0]["versions"]
    text = [
        "# Binary techniques, vgg_small on the embedded data set",
        "",
        f"`python experiments/binary_techniques.py --output={output}`, "
        f"{reports['xnor'][0]['created'][:10]}, {machine['cpu']}, {machine['cores']} cores; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
        f"xnor with seeds 0 to {XNOR_SEEDS - 1}, the others with {flags.seeds}. Ratios are "
        "compressed divided by baseline, latency on one thread, interleaved.",
        "",
        tabulate(rows_of(reports), headers, tablefmt="github", disable_numparse=True),
        "",
    ]
    (output / "README.md").write_text("\n".join(text))
    for found in reports.values():
        for report in found:
            del report["histories"]
    (output / "reports.json").write_text(json.dumps(reports, indent=1) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
