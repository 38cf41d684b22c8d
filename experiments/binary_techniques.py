"""The binary techniques on the embedded data set, three seeds, and at double width.

Run:

    python experiments/binary_techniques.py --output=experiments/results/binary_techniques

About half an hour on two cores. Per seed one float baseline is trained (by the xnor run) and then
used by all techniques, so that they differ in nothing else. Latency is interleaved with the
baseline's; an accuracy on 2,000 images has a standard error of about 0.65 points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

SEEDS = (0, 1, 2)
RECIPES = {
    "xnor": ["--technique=xnor"],
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
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    reports: dict[str, list[dict]] = {name: [] for name in RECIPES}
    with tempfile.TemporaryDirectory() as work:
        for seed in SEEDS:
            first = Path(work) / f"xnor_{seed}"
            reports["xnor"].append(run(first, *RECIPES["xnor"], f"--seed={seed}"))
            trained = [f"--model={first / 'baseline.keras'}", f"--seed={seed}"]
            for name in list(RECIPES)[1:]:
                folder = Path(work) / f"{name.replace(' ', '_')}_{seed}"
                reports[name].append(run(folder, *RECIPES[name], *trained))
        reports["xnor, --set width=2"] = [
            run(Path(work) / "wide", "--technique=xnor", "--set", "width=2")
        ]
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
        f"Seeds {', '.join(map(str, SEEDS))}; one seed at double width. Ratios are compressed "
        "divided by baseline, latency on one thread, interleaved.",
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
