"""What a decomposed vgg_small still knows: before tuning, after one epoch, after the recipe's five.

Run:

    .venv/bin/python experiments/decomposed_accuracy.py --work=DIR \
        --output=build/decomposed_accuracy

About three quarters of an hour on two cores; `--seeds=1` is half of it. Each finished training is
kept in `runs.json` of the output folder and not repeated.

On the embedded data set. A float net is trained for 10 epochs, its inner convolutions are
decomposed to a quarter and to a half of their multiply-accumulates by each technique, and tuned by
the technique's recipe (distillation from the float net). The control is the decomposed
architecture with new weights, trained for 10 epochs by the float net's recipe. Nothing is chosen
by the test images.
"""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import keras
from float_nets import float_net, images, untrained
from measurements import Measurements, Step, conduct, made_here, parser, single
from page import Page

from tfcompress import graph, techniques, training
from tfcompress.config import Training
from tfcompress.training import TrainingContext

TECHNIQUES = ("cp", "tucker", "spatial", "svd")
RATIOS = (0.25, 0.5)
BASELINE = Training(epochs=10)


class Bench:
    """The data, one float net a seed, and what is asked of them.

    Args:
        folder: keeps the float nets.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.images = images()

    def accuracy(self, model: keras.Model) -> float:
        """On all test images."""
        return training.accuracy(training.runner(model), self.images)

    def new(self, seed: int) -> keras.Model:
        """The float net before training."""
        return untrained(seed)

    def trained(self, seed: int) -> keras.Model:
        """The float net after training; from its file if it is there."""
        path = self._folder / f"float_{seed}.keras"
        if path.exists():
            print(f"uses {path}, which was trained before", flush=True)
        return float_net(self._folder, seed)

    def decomposed(self, name: str, ratio: float, model: keras.Model) -> keras.Model:
        """The model decomposed, not tuned."""
        technique = techniques.get(name)
        options = technique.make_options(macs_ratio=ratio)
        return technique.transform(techniques.Candidate(model), options).model

    def tuned(self, name: str, ratio: float, seed: int, epochs: int) -> dict[str, float]:
        """Accuracy before and after tuning, and what is left."""
        original = self.trained(seed)
        model = self.decomposed(name, ratio, original)
        before = self.accuracy(model)
        technique = techniques.get(name)
        settings = dataclasses.replace(technique.training(technique.make_options()), epochs=epochs)
        context = TrainingContext(seed=seed, teacher=original)
        training.fit(model, self.images, settings, context)
        return {
            "float": self.accuracy(original),
            "before": before,
            "after": self.accuracy(model),
            "macs": graph.macs(model) / graph.macs(original),
            "parameters": graph.parameters(model) / graph.parameters(original),
        }

    def scratch(self, name: str, ratio: float, seed: int) -> dict[str, float]:
        """Accuracy of the same architecture with new weights, trained as long as the float net."""
        model = self.decomposed(name, ratio, self.new(seed))
        # Layers of ours hold the factors of untrained kernels; the copy has new weights.
        model = graph.clone(model, keep_weights=False)
        training.fit(model, self.images, BASELINE, TrainingContext(seed=seed))
        return {"after": self.accuracy(model)}


def shown(values: list[float]) -> str:
    """The mean, and all of them if there are several."""
    every = " ".join(f"{value:.4f}".lstrip("0") for value in values)
    return f"{statistics.mean(values):.4f}".lstrip("0") + (f" ({every})" if values[1:] else "")


HEADERS = [
    "technique",
    "MACs",
    "parameters",
    "float",
    "decomposed",
    "1 epoch",
    "5 epochs",
    "points lost after 5",
    "from scratch, 10 epochs",
]


def keys_of(name: str, ratio: float, seeds: int) -> tuple[str, list[str], str]:
    """Returns the keys of a table's row: one epoch, five epochs, from scratch."""
    start = f"{name} {ratio} seed"
    five = [f"{start} {seed}, 5 epochs" for seed in range(seeds)]
    return f"{start} 0, 1 epoch", five, f"{start} 0, scratch"


def row(one: dict, five: list[dict], new: dict) -> list[str]:
    """One line of the table, without the technique's name."""
    lost = [100 * (run["float"] - run["after"]) for run in five]
    return [
        f"{five[0]['macs']:.3f}",
        f"{five[0]['parameters']:.3f}",
        shown([run["float"] for run in five]),
        shown([run["before"] for run in five]),
        shown([one["after"]]),
        shown([run["after"] for run in five]),
        f"{statistics.mean(lost):.2f} ({min(lost):.2f} to {max(lost):.2f})",
        shown([new["after"]]),
    ]


def page_of(results: Measurements) -> Page:
    counted = (f"{TECHNIQUES[0]} {RATIOS[0]} seed {seed}, 5 epochs" for seed in range(100))
    seeds, rows = sum(key in results for key in counted), []
    for ratio in RATIOS:
        for name in TECHNIQUES:
            first, five, new = keys_of(name, ratio, seeds)
            keys = [first, *five, new]
            if all(key in results for key in keys):
                cells = row(results[first], [results[key] for key in five], results[new])
                rows.append(([name, *cells], keys))
    shown_seeds = "one seed" if seeds == 1 else f"seeds 0 to {seeds - 1}"
    return Page(
        "Accuracy of decomposed networks",
        "vgg_small on the embedded data set: accuracies of the Keras models on all 2,000 test "
        f"images (standard error of one about .0065); {shown_seeds}. MACs and parameters are "
        "shares of the float net's; its inner convolutions are decomposed to a quarter (first four "
        "rows) or a half of their multiply-accumulates. One epoch and the control from scratch: "
        "seed 0.",
        HEADERS,
        rows,
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--work", type=Path, help="folder for the float nets")
    flags.add_argument("--seeds", type=int, default=3)
    said = flags.parse_args()
    if said.work is None and not said.render:
        flags.error("--work is missing: the folder for the float nets")
    steps = [] if said.render else steps_of(said.work, said.seeds)
    conduct(said, steps, page_of, made=lambda: made_here(work="DIR"), timed=False)


def steps_of(work: Path, seeds: int) -> list[Step]:
    """Returns what is to be trained."""
    work.mkdir(parents=True, exist_ok=True)
    bench, steps = Bench(work), []
    for ratio in RATIOS:
        for name in TECHNIQUES:
            first, five, new = keys_of(name, ratio, seeds)
            steps.append(single(first, bench.tuned, name, ratio, 0, 1))
            steps += [
                single(key, bench.tuned, name, ratio, seed, 5) for seed, key in enumerate(five)
            ]
            steps.append(single(new, bench.scratch, name, ratio, 0))
    return steps


if __name__ == "__main__":
    main()
