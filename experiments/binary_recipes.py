"""How a binary network is trained: recipes of `xnor` beside its default one and its float network.

Run:

    nice .venv/bin/python experiments/binary_recipes.py --output=build/binary_recipes

Three minutes a training of 20 epochs on two free cores, nine one of 60; recipes that differ only in
the mean at the end are one training. Every recipe starts from the float network of its seed, which
is its teacher, too. `--seeds=0,1` takes some seeds, `--recipes="60 epochs,two stages of 30 epochs"`
some recipes; a later call measures what is missing. The float networks are kept in
build/distillation_gains.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from averaging import LastWeights
from distillation_gains import trained
from float_nets import MODEL, images
from measurements import Measurements, Row, conduct, parser
from page import Page, mean_and_range
from paired import gained, packed, right

from tfcompress import keep_freed_memory, techniques
from tfcompress.runtime.accuracy import mean_interval
from tfcompress.techniques import Candidate
from tfcompress.training import TrainingContext, classified, runner
from tfcompress.training.distill.teachers import one_teacher

SEEDS = (0, 1, 2, 3, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train.

    Attributes:
        chain: the techniques.
        options: theirs.
        epochs: of each of them.
        distillation: fields of `Distillation` that aren't the default's.
        teachers: how many float networks teach, each of a seed of its own.
        augmentation: of the training images.
        averaged: over how many epochs at the end the mean of the weights is taken.
    """

    chain: str = "xnor"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    epochs: int = 20
    distillation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    teachers: int = 1
    augmentation: str = "none"
    averaged: int = 1


DEFAULT = "20 epochs"
RECIPES = {
    DEFAULT: Recipe(),
    "20 epochs with the last 5 averaged": Recipe(averaged=5),
    "20 epochs without a teacher": Recipe(distillation={"weight": 0.0}),
    "60 epochs": Recipe(epochs=60),
    "60 epochs without a teacher": Recipe(epochs=60, distillation={"weight": 0.0}),
    "60 epochs of mixtures": Recipe(epochs=60, distillation={"mix": 1.0}),
    "60 epochs shifted by the teacher alone": Recipe(
        epochs=60, distillation={"weight": 1.0}, augmentation="shift"
    ),
    "two stages of 30 epochs": Recipe(chain="binary_activations+xnor", epochs=30),
    "two stages of 30 epochs with the last 15 averaged": Recipe(
        chain="binary_activations+xnor", epochs=30, averaged=15
    ),
    "60 epochs with ReCU": Recipe(epochs=60, options={"recu": True}),
    "60 epochs with the last 15 averaged": Recipe(epochs=60, averaged=15),
    "60 epochs by three teachers": Recipe(epochs=60, teachers=3),
    "20 epochs with inputs of 2 bits": Recipe(options={"activation_bits": 2}),
}


def trainings(titles: Sequence[str]) -> list[list[str]]:
    """Returns the titles, those of one training together; the shortest mean first."""
    groups: dict[str, list[str]] = {}
    for title in sorted(titles, key=lambda title: RECIPES[title].averaged):
        groups.setdefault(repr(dataclasses.replace(RECIPES[title], averaged=1)), []).append(title)
    return list(groups.values())


def measured(titles: Sequence[str], seed: int) -> dict[str, Row]:
    """Trains by recipes of one training; returns what accuracy and right test images each has."""
    recipe, model = RECIPES[titles[0]], trained(seed)
    teachers = [trained((seed + more) % len(SEEDS)) for more in range(recipe.teachers)]
    settings = {"epochs": recipe.epochs, "distillation": recipe.distillation}
    steps = techniques.make_steps(techniques.chain(recipe.chain), recipe.options, settings)
    temperature = steps[-1].training.distillation.temperature
    last = LastWeights(max(RECIPES[title].averaged for title in titles))
    context = TrainingContext(
        seed=seed,
        augmentation=recipe.augmentation,
        teacher=one_teacher(teachers, model, temperature=temperature),
        callbacks=[last],
    )
    start = Candidate(model, samples=images().representative(200))
    candidate, _ = techniques.apply(start, steps, images(), context)
    rows = {}
    for title in titles:
        if (epochs := RECIPES[title].averaged) > 1:
            last.put_mean(candidate.model, epochs, training_images())
        rows[key_of(title, seed)] = compared(candidate.model, model)
    return rows


def compared(binary: keras.Model, model: keras.Model) -> Row:
    """Returns the accuracies of a binary network and its float one, and where each is right."""
    row: Row = {}
    for name, network in (("", binary), ("float_", model)):
        answers, labels = classified(runner(network), images())
        found = answers == labels
        row[f"{name}accuracy"] = float(found.mean())
        row[f"{name}right"] = packed(found)
    return row


def training_images() -> Iterator[np.ndarray]:
    """Yields all training images, batch by batch."""
    return (inputs for inputs, _ in images().batches("train", 500))


def key_of(title: str, seed: int) -> str:
    return f"{title}, seed {seed}"


def row_of(results: Measurements, title: str) -> tuple[list[str], list[str]] | None:
    """Returns a line of the table and its measurements' keys; None if there are none."""
    rows = {seed: results[key] for seed in SEEDS if (key := key_of(title, seed)) in results}
    if not rows:
        return None
    seen = len(images().test)
    before, after = (
        right((row[name] for row in rows.values()), seen).astype(float)
        for name in ("float_right", "right")
    )
    interval = mean_interval(before, after, relative=False)
    low, high = interval or (float("nan"), float("nan"))
    lost = np.mean([row["float_accuracy"] - row["accuracy"] for row in rows.values()])
    controls = {seed: results[key] for seed in rows if (key := key_of(DEFAULT, seed)) in results}
    gain, test = gained({} if title == DEFAULT else controls, rows, seen)
    cells = [
        title,
        mean_and_range([row["accuracy"] for row in rows.values()]),
        f"{100 * lost:.2f} ({-100 * high:.2f} to {-100 * low:.2f})",
        gain,
        test,
        str(len(rows)),
    ]
    return cells, [key_of(title, seed) for seed in rows]


def page_of(results: Measurements) -> Page:
    lines = [row_of(results, title) for title in RECIPES]
    floats = sorted({row["float_accuracy"] for row in results.rows.values()})
    return Page(
        "Recipes of a binary network",
        f"{MODEL} on the embedded images, made by `xnor`; its float networks have "
        f"{mean_and_range(floats)}, and are the teachers. Accuracy of the Keras model on all 2,000 "
        "test images, the mean over seeds and its range; points below the float network, with the "
        "95% interval over the test images of all seeds together; points gained over the default "
        "recipe, and McNemar's exact test of that.",
        ["recipe", "accuracy", "points below float", "points gained", "p", "seeds"],
        [line for line in lines if line is not None],
    )


def main() -> None:
    keep_freed_memory()  # As the command does.
    flags = parser(__doc__ or "")
    flags.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="with commas")
    flags.add_argument("--recipes", default=",".join(RECIPES), help="with commas")
    given = flags.parse_args()
    titles = given.recipes.split(",")
    if not set(titles) <= set(RECIPES):
        flags.error(f"--recipes takes {', '.join(RECIPES)}; got {given.recipes}")
    seeds = [int(seed) for seed in given.seeds.split(",")]
    todo = [
        (tuple(key_of(title, seed) for title in group), functools.partial(measured, group, seed))
        for seed in seeds
        for group in trainings(titles)
    ]
    conduct(given, todo, page_of, timed=False)


if __name__ == "__main__":
    main()
