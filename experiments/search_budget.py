r"""A search of 40 trials under a budget, and what it found beside the best file made by hand.

Run:

    .venv/bin/python experiments/search_budget.py --output=build/search_budget

It runs

    .venv/bin/python -m tfcompress.search --budget size=47KiB --budget latency=0.5 \
        --budget drop=0.75 --goal=accuracy --trials=40 --output_dir=WORK

on `vgg_small` and the embedded data set. The size is a fifth below that of `separable+int8`, the
most accurate small file that was made by hand, which is trained here on the same float networks.
Two cores take one to two hours. Stopped and called again it goes on where it was.
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measurements import MACHINE, Measurements, Row, Step, command, conduct, parser, single
from page import Page
from techniques import run

from tfcompress.export import storages
from tfcompress.search.budget import Costs, overruns, parse_budgets

BUDGETS = ("size=47KiB", "latency=0.5", "drop=0.75")
TRIALS, SEEDS = 40, 3
HAND = "separable+int8"
STATES = {
    "trained": "trained",
    "stopped": "broken off in training",
    "over": "over a budget untrained, and not trained",
    "impossible": "impossible for the network",
}


def searched(work: Path, finalists: int) -> dict[str, Row]:
    """Runs the search, or goes on with it, and returns what it wrote down."""
    budgets = [word for text in BUDGETS for word in ("--budget", text)]
    words = [*budgets, "--goal=accuracy", f"--trials={TRIALS}", f"--output_dir={work}"]
    words.append(f"--finalists={finalists}")
    subprocess.run([sys.executable, "-m", "tfcompress.search", *words], check=True)
    found = json.loads((work / "results.json").read_text())
    trials = [trial for trial in found["trials"] if trial["outcome"]]
    outcomes = [trial["outcome"] for trial in trials]
    summary = {
        "floats": found["floats"],
        "states": {state: sum(one["state"] == state for one in outcomes) for state in STATES},
        "trained_over": sum(trained_over(one, found["floats"]) for one in outcomes),
        "seconds": sum(one["seconds"] for one in outcomes),
        "correlations": found["rank_correlations"],
        "front": found["front"],
    }
    best = [finalist(work, each) for each in found["finalists"]]
    rows = {"search": summary, "trials": {"all": trials}, "finalists": {"all": best}}
    here = {name: found["machine"][name] for name in MACHINE if name in found["machine"]}
    date = report(work, found["finalists"][0], 0)["created"][:10]
    made = {"date": date, **here, "versions": found["versions"], "command": command(work="DIR")}
    return {key: row | {"made": made} for key, row in rows.items()}


def trained_over(outcome: Row, floats: Row) -> bool:
    """Says whether a network was trained although each of its files was over a budget before.

    Of a storage whose bytes follow from the weights' values nothing was known before.
    """
    if outcome["state"] not in ("trained", "stopped") or not outcome["epochs"]:
        return False
    early = [budget for budget in parse_budgets(BUDGETS) if not budget.needs_training]
    untrained = {name: Costs(**costs) for name, costs in outcome["untrained"].items()}
    return not any(
        storages.get(name).by_values or not overruns(early, costs, Costs(**floats))
        for name, costs in untrained.items()
    )


def by_hand(work: Path) -> Row:
    """Returns what a person's choice measures, made of the finalists' float networks."""
    first = json.loads((work / "results.json").read_text())["finalists"][0]
    folders = [f"by_hand/seed{seed}" for seed in range(SEEDS)]
    for seed, folder in enumerate(folders):
        base = work / first["folders"][seed] / "baseline.keras"
        words = [f"--technique={HAND}", f"--seed={seed}", f"--model={base}"]
        run(work / folder, False, *words, "--normalization=standardize")
    return finalist(work, {"choice": HAND, "storage": "int8", "command": "", "folders": folders})


def report(work: Path, entry: dict[str, Any], seed: int) -> Row:
    return json.loads((work / entry["folders"][seed] / "report.json").read_text())


def finalist(work: Path, entry: dict[str, Any]) -> Row:
    """Returns what a choice's runs measured on the test images."""
    reports = [report(work, entry, seed) for seed in range(len(entry["folders"]))]
    files = [each["compressed"] for each in reports]
    return {
        "choice": entry["choice"],
        "storage": entry["storage"],
        "command": entry["command"],
        "float_accuracies": [each["baseline"]["accuracy"] for each in reports],
        "accuracies": [file["accuracy"] for file in files],
        "size_bytes": statistics.mean(file["size_bytes"] for file in files),
        "ratio": statistics.mean(each["ratio"]["latency"] for each in reports),
    }


def page_of(results: Measurements) -> Page:
    search, hand = results["search"], results.rows.get("by hand")
    found, states = results["finalists"]["all"], search["states"]
    came = ", ".join(f"{states[state]} {what}" for state, what in STATES.items() if states[state])
    lines = [
        f"{sum(states.values())} trials in {search['seconds'] / 60:.0f} minutes: {came}. "
        f"{search['trained_over']} networks were trained whose files were over a budget before.",
        *(f"Rank correlation with the last epoch, of {line}." for line in search["correlations"]),
        *(beside(each, hand) for each in found if hand),
    ]
    budgets = ", ".join(f"`{text}`" for text in BUDGETS)
    rows = [([*line(each), "search"], ["finalists"]) for each in found]
    return Page(
        "Search under a budget",
        f"`vgg_small` on the embedded data set, budgets {budgets}, the most accuracy within them. "
        f"Each file: {SEEDS} seeds, trained on all training images, judged on all 2,000 test "
        "images (one seed's standard error: about 0.65 points). Latency ratios are to the float "
        "file, in turns, one thread.\n\n" + "\n".join(f"- {each}" for each in lines),
        ["file", "storage", "accuracies", "points below float", "bytes", "latency ratio", "found"],
        rows + ([([*line(hand), "by hand"], ["by hand"])] if hand else []),
        more=["search", "trials"],
    )


def line(found: Row) -> list[str]:
    """Returns a choice's part of the table that was measured."""
    lost = statistics.mean(found["float_accuracies"]) - statistics.mean(found["accuracies"])
    return [
        f"`{found['choice']}`",
        found["storage"],
        " ".join(f"{value:.4f}" for value in found["accuracies"]),
        f"{100 * lost:.2f}",
        f"{found['size_bytes']:,.0f}",
        f"{found['ratio']:.2f}",
    ]


def beside(found: Row, hand: Row) -> str:
    """Says how a finalist compares with the file made by hand."""
    gained = statistics.mean(found["accuracies"]) - statistics.mean(hand["accuracies"])
    parts = [
        f"{found['size_bytes'] / hand['size_bytes']:.2f} of its bytes",
        f"{found['ratio'] / hand['ratio']:.2f} of its latency",
        f"{100 * gained:+.2f} points",
    ]
    return f"`{found['choice']}` beside `{HAND}` by hand: {', '.join(parts)}."


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument(
        "--work", type=Path, default=Path("build/search"), help="the search's folder"
    )
    flags.add_argument("--finalists", type=int, default=3, help="as of the search")
    flags = flags.parse_args()
    steps: list[Step] = [
        (
            ("search", "trials", "finalists"),
            functools.partial(searched, flags.work, flags.finalists),
        ),
        single("by hand", by_hand, flags.work),
    ]
    conduct(flags, steps, page_of)


if __name__ == "__main__":
    main()
