"""What a student learns from its teacher on transfer sets of several kinds: accuracy, agreement.

Run:

    nice .venv/bin/python experiments/transfer_sets.py --data_dir=DIR --output=build/transfer_sets

About two minutes a row on two free cores. The teacher learns from the labels of one half of the
embedded training images; a student of a quarter of its multiply-accumulates learns from the
teacher's answers alone, on each transfer set in as many steps. `--data_dir` holds MNIST and
CIFAR-10 as TFDS keeps them: without it, or where one isn't there, its row is left out.
`--seeds=0,1,2` takes other seeds, `--sets=half,noise` some of the sets; a later call measures what
is missing. Teachers and inverted images are kept in build/transfer_sets.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
from cells import making
from float_nets import kept
from measurements import Measurements, Row, Step, conduct, made_here, parser, single
from page import Page, mean_and_range

from tfcompress import data, graph, keep_freed_memory, models
from tfcompress.config import Distillation, Inversion, Training
from tfcompress.data.protocol import Data
from tfcompress.data.stores import ArrayImages, GreyImages, SelectedImages
from tfcompress.data.transfer.read import prepared, read
from tfcompress.data.transfer.unlabelled import UnlabelledImages, without_targets
from tfcompress.training import TrainingContext, accuracy, classified, fit, runner
from tfcompress.training.inverted_folder import invert_into

MODEL, WIDTH = "vgg_small", 0.5
EPOCHS = 20
SEEDS = (0, 1, 2)
KEPT = Path("build/transfer_sets")
MIXED, NOISE = 500, 5000
INVERTED, INVERSION = 512, Inversion(steps=300)
# What is trained on, and what the page calls it.
LABELS = "labels"
SETS = {
    LABELS: "no teacher: the labels of the teacher's own images",
    "own": "the teacher's own images, without labels",
    "half": "the other half of the training images, without labels",
    "mnist": "MNIST, 5,000 digits",
    "cifar10": "CIFAR-10 in grey, 5,000 pictures",
    "mixup": "mixtures of 500 of the teacher's own images",
    "inverted": "512 images made from the teacher alone, 300 steps each",
    "noise": "noise, 5,000 pictures",
}


@functools.cache
def halves() -> tuple[data.Dataset, UnlabelledImages]:
    """Returns the images whose labels are known, with all test images, and the other ones."""
    return read("half", data.load("fashion_mnist_small"))


def net(width: float, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    images, _ = halves()
    return models.build(MODEL, images.image_shape, images.num_classes, width=width)


@functools.cache
def teacher(seed: int) -> keras.Model:
    """Returns the trained teacher, from its file if it is there."""

    def trained() -> keras.Model:
        made = net(1.0, seed)
        fit(made, halves()[0], Training(epochs=EPOCHS), TrainingContext(seed=seed))
        return made

    return kept(KEPT / f"teacher_{seed}.keras", trained)


def in_grey(name: str, data_dir: str, seed: int) -> UnlabelledImages:
    """Returns some training images of another data set, grey repeated in three channels."""
    images, other = halves()
    loaded = data.load(name, data_dir=data_dir, image_size=images.image_shape[0])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(loaded.train))[: other.examples])
    grey = GreyImages(SelectedImages(loaded.train.images, chosen)).batch(np.arange(len(chosen)))
    store = ArrayImages(np.repeat(grey, 3, axis=3))
    return prepared(dataclasses.replace(without_targets(loaded), images=store), images)


def transfer(name: str, seed: int, data_dir: str) -> Data:
    """Returns a transfer set's unlabelled examples."""
    images, other = halves()
    if name == "own":
        return without_targets(images)
    if name == "half":
        return other
    if name in ("mixup", "noise"):
        count = MIXED if name == "mixup" else NOISE
        return read(f"{name}:{count}", images, seed=seed)[1]
    if name == "inverted":
        folder = KEPT / f"inverted_{seed}"
        with making(folder):
            invert_into(
                folder,
                teacher(seed),
                INVERTED,
                images.normalization,
                settings=INVERSION,
                seed=seed,
            )
        return read(f"folder:{folder}", images)[1]
    return in_grey(name, data_dir, seed)


def measured(name: str, seed: int, data_dir: str) -> Row:
    """Trains a student on a transfer set; returns what it and its teacher are worth."""
    images, _ = halves()
    source, student = teacher(seed), net(WIDTH, seed)
    if name == LABELS:
        fit(student, images, Training(epochs=EPOCHS), TrainingContext(seed=seed))
    else:
        examples: Any = transfer(name, seed, data_dir)
        # As many steps on every set.
        epochs = round(EPOCHS * images.examples / examples.examples)
        settings = Training(epochs=epochs, distillation=Distillation())
        context = TrainingContext(seed=seed, teacher=source, transfer=examples)
        fit(student, images, settings, context)
    answers = [classified(runner(model), images)[0] for model in (student, source)]
    return {
        "accuracy": accuracy(runner(student), images),
        "teacher": accuracy(runner(source), images),
        "agreement": float((answers[0] == answers[1]).mean()),
        "macs": graph.macs(student) / graph.macs(source),
    }


def is_there(name: str, data_dir: str) -> bool:
    """Says whether a set can be had; prints what is missing."""
    if name not in ("mnist", "cifar10"):
        return True
    if not data_dir or not (Path(data_dir) / name).is_dir():
        print(f"{name} isn't in --data_dir: its row is left out")
        return False
    return True


def steps(seeds: list[int], names: list[str], data_dir: str) -> list[Step]:
    there = [name for name in names if is_there(name, data_dir)]
    return [
        single(f"{name}, seed {seed}", measured, name, seed, data_dir)
        for seed in seeds
        for name in there
    ]


def page_of(results: Measurements) -> Page:
    rows = []
    for name, title in SETS.items():
        keys = [f"{name}, seed {seed}" for seed in SEEDS if f"{name}, seed {seed}" in results]
        cells = [
            mean_and_range([results[key][what] for key in keys])
            for what in ("accuracy", "agreement")
        ]
        if keys:
            rows.append(([title, *cells, str(len(keys))], keys))
    one = next(iter(results.rows.values()))
    teachers = sorted({row["teacher"] for row in results.rows.values()})
    shown = ", ".join(f"{value:.4f}" for value in teachers)
    return Page(
        "Transfer sets",
        f"{MODEL} on the embedded images. The teachers learned from the labels of one half of the "
        f"training images and have {shown}; the students are as deep and {WIDTH:g} times as wide "
        f"({one['macs']:.2f} of the multiply-accumulates), and learn from the teacher's softmax at "
        f"temperature 4 alone, in as many steps as {EPOCHS} epochs of 5,000 images have. Accuracy "
        "and the share of answers that are the teacher's, on all 2,000 test images; the mean over "
        "seeds, and its range.",
        ["what the student learns from", "accuracy", "agreement with the teacher", "seeds"],
        rows,
    )


def main() -> None:
    keep_freed_memory()  # As the command does.
    flags = parser(__doc__ or "")
    flags.add_argument("--data_dir", default="", help="where TFDS keeps MNIST and CIFAR-10")
    flags.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="with commas")
    flags.add_argument("--sets", default=",".join(SETS), help="with commas")
    given: argparse.Namespace = flags.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    names = given.sets.split(",")
    if not set(names) <= set(SETS):
        flags.error(f"--sets takes {', '.join(SETS)}; got {given.sets}")
    todo = [] if given.render else steps(seeds, names, given.data_dir)
    conduct(given, todo, page_of, made=functools.partial(_made, given), timed=False)


def _made(given: argparse.Namespace) -> dict[str, Any]:
    return made_here(**({"data_dir": "DIR"} if given.data_dir else {}))


if __name__ == "__main__":
    main()
