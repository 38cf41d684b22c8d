r"""A search of 40 trials under a budget, and what it found beside the best file made by hand.

Run:

    .venv/bin/python experiments/search_budget.py --output=build/search_budget

It runs

    .venv/bin/python -m tfcompress.search --budget size=47KiB --budget latency=0.5 \
        --budget drop=0.75 --goal=accuracy --trials=40 --workers=2 --output_dir=WORK

on `vgg_small` and the embedded data set. The size is a fifth below that of `separable+int8`, the
most accurate small file that was made by hand, which is trained here on the same float networks.
A copy of the search then goes on to 60 trials, for the rank correlations; `--beside` adds the
trials of another search by this script. Two cores take one to two hours. Stopped and called again
it goes on where it was.
"""

from __future__ import annotations

import collections
import functools
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measurements import (
    MACHINE,
    Measurements,
    Row,
    Step,
    command,
    conduct,
    made_here,
    parser,
    single,
)
from page import Page
from techniques import run

from tfcompress import techniques
from tfcompress.export import storages
from tfcompress.search.bench import Outcome
from tfcompress.search.budget import Costs, overruns, parse_budgets
from tfcompress.search.engine import Trial
from tfcompress.search.page import rank_correlations

BUDGETS = ("size=47KiB", "latency=0.5", "drop=0.75")
TRIALS, SEEDS = 40, 3
# Of a longer search: about two thirds of the trials train nothing, or not to the end.
MORE_TRIALS = 60
HAND = "separable+int8"
STATES = {
    "trained": "trained",
    "stopped": "broken off in training",
    "over": "over a budget untrained, and not trained",
}


def search(work: Path, trials: int, finalists: int, workers: int) -> Row:
    """Runs the search, or goes on with it, and returns what it wrote down."""
    budgets = [word for text in BUDGETS for word in ("--budget", text)]
    words = [*budgets, "--goal=accuracy", f"--trials={trials}", f"--output_dir={work}"]
    words += [f"--finalists={finalists}", f"--workers={workers}"]
    subprocess.run([sys.executable, "-m", "tfcompress.search", *words], check=True)
    found: Row = json.loads((work / "results.json").read_text())
    return found


def searched(work: Path, finalists: int, workers: int) -> dict[str, Row]:
    """Returns what the search of 40 trials found."""
    found = search(work, TRIALS, finalists, workers)
    trials = [trial for trial in found["trials"] if trial["outcome"]]
    outcomes = [trial["outcome"] for trial in trials]
    summary = {
        "floats": found["floats"],
        "states": collections.Counter(one["state"] for one in outcomes),
        "trained_over": sum(trained_over(each, found["floats"]) for each in trials),
        "seconds": sum(one["seconds"] for one in outcomes) / workers,
        "workers": workers,
        "front": found["front"],
    }
    best = [finalist(work, each) for each in found["finalists"]]
    rows = {"search": summary, "trials": {"all": trials}, "finalists": {"all": best}}
    here = {name: found["machine"][name] for name in MACHINE if name in found["machine"]}
    date = report(work, found["finalists"][0], 0)["created"][:10]
    made = {"date": date, **here, "versions": found["versions"], "command": command(work="DIR")}
    return {key: row | {"made": made} for key, row in rows.items()}


def trained_over(trial: Row, floats: Row) -> bool:
    """Says whether a network was trained although each of its files was over a budget before.

    Of a storage whose bytes follow from the weights' values nothing was known before.
    """
    outcome = trial["outcome"]
    if outcome["state"] not in ("trained", "stopped") or not outcome["epochs"]:
        return False
    chain = techniques.chain(trial["choice"].split()[0])
    if any(techniques.Property.SPARSITY in each.produces for each in chain):
        return False  # It may become a file of the storage `sparse`.
    early = [budget for budget in parse_budgets(BUDGETS) if not budget.needs_training]
    untrained = {name: Costs(**costs) for name, costs in outcome["untrained"].items()}
    return not any(
        storages.get(name).by_values or not overruns(early, costs, Costs(**floats))
        for name, costs in untrained.items()
    )


def longer(work: Path, workers: int, beside: Path | None) -> Row:
    """Goes on with a copy of the search, and returns the rank correlations then."""
    copy = work / "longer"
    left_out = shutil.ignore_patterns("finalists", "by_hand", "longer", "workers", "search.lock")
    if not copy.exists():
        shutil.copytree(work, copy, ignore=left_out)
    search(copy, MORE_TRIALS, 0, workers)
    trials = [
        Trial(number, None, Outcome.from_json(trial["outcome"]))
        for folder in (copy, *([] if beside is None else [beside]))
        for number, trial in enumerate(json.loads((folder / "results.json").read_text())["trials"])
        if trial["outcome"] and trial["outcome"]["state"] != "impossible"
    ]
    return {"trials": len(trials), "correlations": rank_correlations(trials)}


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
        "sizes": [file["size_bytes"] for file in files],
        "ratio": statistics.mean(each["ratio"]["latency"] for each in reports),
        "kept": sum(map(keeps_budgets, reports)),
    }


def keeps_budgets(report: Row) -> bool:
    """Says whether a run's file is within all budgets, its accuracy on the test images."""
    floats, file = (
        Costs(size=part["size_bytes"], latency_ratio=ratio, value=part["accuracy"])
        for part, ratio in (
            (report["baseline"], 1.0),
            (report["compressed"], report["ratio"]["latency"]),
        )
    )
    return not overruns(parse_budgets(BUDGETS), file, floats)


def page_of(results: Measurements) -> Page:
    search, hand = results["search"], results.rows.get("by hand")
    found, states = results["finalists"]["all"], search["states"]
    counts = {what: states.get(state, 0) for state, what in STATES.items()}
    came = ", ".join(f"{count} {what}" for what, count in counts.items())
    lines = [
        f"{sum(counts.values())} trials in {search['seconds'] / 60:.0f} minutes with "
        f"--workers={search['workers']}: {came}; {states.get('impossible', 0)} draws more were "
        f"impossible for the network. {search['trained_over']} networks were trained whose files "
        "were over a budget before.",
        *correlations(results.rows.get("longer")),
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
        [
            *("file", "storage", "accuracies", "points below float", "bytes", "latency ratio"),
            *("runs within the budgets", "found"),
        ],
        rows + ([([*line(hand), "by hand"], ["by hand"])] if hand else []),
        more=[key for key in ("search", "trials", "longer") if key in results],
    )


def correlations(row: Row | None) -> list[str]:
    """Says how well what is known early tells how good a network is in the end."""
    found = [] if row is None else row["correlations"]
    return [f"{row['trials']} trials, rank correlation with the last epoch of {each}."
            for each in found]  # fmt: skip


def line(found: Row) -> list[str]:
    """Returns a choice's part of the table that was measured."""
    lost = statistics.mean(found["float_accuracies"]) - statistics.mean(found["accuracies"])
    return [
        f"`{found['choice']}`",
        found["storage"],
        " ".join(f"{value:.4f}" for value in found["accuracies"]),
        f"{100 * lost:.2f}",
        " ".join(f"{size:,}" for size in found["sizes"]),
        f"{found['ratio']:.2f}",
        f"{found['kept']} of {SEEDS}",
    ]


def beside(found: Row, hand: Row) -> str:
    """Says how a finalist compares with the file made by hand."""
    gained = statistics.mean(found["accuracies"]) - statistics.mean(hand["accuracies"])
    parts = [
        f"{statistics.mean(found['sizes']) / statistics.mean(hand['sizes']):.2f} of its bytes",
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
    flags.add_argument("--search_workers", type=int, default=2, help="processes of the search")
    flags.add_argument("--beside", type=Path, help="the folder of another search by this script")
    flags = flags.parse_args()
    work, workers = flags.work.resolve(), flags.search_workers  # Its runs name the models' paths.
    steps: list[Step] = [
        (
            ("search", "trials", "finalists"),
            functools.partial(searched, work, flags.finalists, workers),
        ),
        single("by hand", by_hand, work),
        single("longer", longer, work, workers, flags.beside),
    ]
    conduct(flags, steps, page_of, made=functools.partial(made_here, beside="DIR"))


if __name__ == "__main__":
    main()
