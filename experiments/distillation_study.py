"""What softmax adds to a teacher's labels on unlabelled images, as in a study of 2017.

Run:

    nice .venv/bin/python experiments/distillation_study.py --output=build/distillation_study

About two minutes a row on two free cores, ten rows a seed. The rows are those of Table 3 of
Rassadin and Savchenko 2017, "Compressing deep convolutional neural networks in visual emotion
recognition", on public data: students learn on one half of the embedded training images, whose
labels nobody reads, from a teacher of the other half. `labels` learns the class that the teacher
gives, `labels + softmax` its probabilities, too (KL divergence at temperature 1), `true labels` is
what a student without a teacher learns from the labels of the same images. The good teacher
learned from 5,000 labelled images, the weak one from 500 of them. `--seeds=0` takes other seeds; a
later call measures what is missing. Teachers are kept in build/distillation_study.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
from float_nets import kept
from measurements import Measurements, Row, Step, conduct, parser, single
from page import Page, mean_and_range

from tfcompress import data, graph, keep_freed_memory, models
from tfcompress.config import Distillation, Training
from tfcompress.data.dataset import Split
from tfcompress.data.random_split import split_groups
from tfcompress.data.stores import SelectedImages
from tfcompress.data.transfer.unlabelled import without_targets
from tfcompress.training import TrainingContext, accuracy, classified, fit, runner

# Width and learning rate. At higher rates SqueezeNet stays at chance for a while or for good: at
# 2e-3 .22 after six epochs (seed 0, true labels), at 1e-3 .10 in the end (seed 1, labels of a good
# teacher).
STUDENTS = {"squeezenet": (1.0, 5e-4), "vgg_small": (0.5, 2e-3)}
TEACHER = "vgg_small"
EPOCHS = 20
SEEDS = (0, 1, 2)
# Labelled images that the teachers learn from.
TEACHERS = {"weak": 500, "good": 5000}
LOSSES = {"labels": "labels", "labels + softmax": "labels+softmax"}
TRUE = "true labels"
KEPT = Path("build/distillation_study")


@functools.cache
def images(part: str = "") -> data.Dataset:
    """Returns the data set with all training images or a part: `good`, `weak` or `unlabelled`."""
    if not part:
        return data.load("fashion_mnist_small")
    if part == "weak":
        return parted(images("good"), TEACHERS["weak"] / TEACHERS["good"])[1]
    return parted(images(), 0.5)[int(part == "unlabelled")]


def parted(given: data.Dataset, share: float) -> list[data.Dataset]:
    """Returns the data set twice, with parts of its training images, each class by one share."""
    labels = given.train.labels
    groups = [np.flatnonzero(labels == label) for label in range(given.num_classes)]
    return [
        dataclasses.replace(
            given, train=Split(SelectedImages(given.train.images, places), labels[places])
        )
        for places in split_groups(groups, share, 0)
    ]


def net(name: str, seed: int, width: float = 1.0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return models.build(name, images().image_shape, images().num_classes, width=width)


@functools.cache
def teacher(kind: str, seed: int) -> keras.Model:
    """Returns a trained teacher, from its file if it is there."""

    def trained() -> keras.Model:
        made = net(TEACHER, seed)
        epochs = EPOCHS * TEACHERS["good"] // TEACHERS[kind]  # As many steps.
        fit(made, images(kind), Training(epochs=epochs), TrainingContext(seed=seed))
        return made

    return kept(KEPT / f"{kind}_{seed}.keras", trained)


def measured(student: str, kind: str, loss: str, seed: int) -> Row:
    """Trains a student on the unlabelled images; returns what it and its teacher are worth."""
    width, rate = STUDENTS[student]
    small = net(student, seed, width)
    settings = Training(epochs=EPOCHS, learning_rate=rate)
    if loss == TRUE:
        fit(small, images("unlabelled"), settings, TrainingContext(seed=seed))
        return {"accuracy": accuracy(runner(small), images())}
    source = teacher(kind, seed)
    settings = dataclasses.replace(settings, distillation=Distillation(losses=LOSSES[loss]))
    transfer = without_targets(images("unlabelled"))
    fit(small, images(), settings, TrainingContext(seed=seed, teacher=source, transfer=transfer))
    answers = [classified(runner(model), images())[0] for model in (small, source)]
    return {
        "accuracy": accuracy(runner(small), images()),
        "teacher": accuracy(runner(source), images()),
        "agreement": float((answers[0] == answers[1]).mean()),
        "parameters": graph.parameters(small),
    }


def key_of(student: str, kind: str, loss: str, seed: int) -> str:
    by = "" if loss == TRUE else f"{kind} teacher, "
    return f"{student}, {by}{loss}, seed {seed}"


def rows_of(student: str) -> list[tuple[str, str]]:
    """Returns teacher and loss of each of a student's rows."""
    return [*((kind, loss) for kind in TEACHERS for loss in LOSSES), ("", TRUE)]


def steps(seeds: list[int]) -> list[Step]:
    return [
        single(key_of(student, kind, loss, seed), measured, student, kind, loss, seed)
        for seed in seeds
        for student in STUDENTS
        for kind, loss in rows_of(student)
    ]


def page_of(results: Measurements) -> Page:
    def known(student: str, kind: str, loss: str) -> dict[int, Row]:
        keys = {seed: key_of(student, kind, loss, seed) for seed in SEEDS}
        return {seed: results[key] for seed, key in keys.items() if key in results}

    rows = []
    for student in STUDENTS:
        for kind, loss in rows_of(student):
            of_row = known(student, kind, loss)
            if not of_row:
                continue
            plain = known(student, kind, "labels") if loss == "labels + softmax" else {}
            both = [seed for seed in of_row if seed in plain]
            gains = [100 * (of_row[at]["accuracy"] - plain[at]["accuracy"]) for at in both]
            rows.append(
                (
                    [
                        student,
                        kind,
                        mean_and_range(
                            [row["teacher"] for row in of_row.values() if "teacher" in row]
                        ),
                        loss,
                        mean_and_range([row["accuracy"] for row in of_row.values()]),
                        f"{np.mean(gains):+.2f}" if gains else "",
                        str(len(of_row)),
                    ],
                    [key_of(student, kind, loss, seed) for seed in of_row],
                )
            )
    students = ", ".join(f"{name} at width {width:g}" for name, (width, _) in STUDENTS.items())
    return Page(
        "Labels or softmax of a teacher",
        "Students that learn from a teacher alone, on 5,000 of the embedded training images "
        f"without labels: {students}, {EPOCHS} epochs each. The teachers, {TEACHER}, learned "
        "from other images with labels, "
        f"{' and '.join(f'{count:,} ({kind})' for kind, count in TEACHERS.items())}, in as many "
        "steps. Accuracy on all 2,000 test images, the mean over seeds and its range; the gain is "
        "that of the softmax over the teacher's labels alone, in points. Rassadin and Savchenko "
        "2017 report gains of 11.5 points with a weak teacher and 6.0 with a good one.",
        ["student", "teacher", "its accuracy", "learns", "accuracy", "gain, points", "seeds"],
        rows,
    )


def main() -> None:
    keep_freed_memory()  # As the command does.
    flags = parser(__doc__)
    flags.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="with commas")
    given = flags.parse_args()
    todo = steps([int(seed) for seed in given.seeds.split(",")])
    conduct(given, todo, page_of, timed=False)


if __name__ == "__main__":
    main()
