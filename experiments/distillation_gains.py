"""What teachers of several kinds add to techniques that train: accuracy beside no teacher's.

Run:

    nice .venv/bin/python experiments/distillation_gains.py --output=build/distillation_gains

One to four minutes a row on two free cores, 20 rows a seed. Every technique trains by its own
recipe on the embedded data, with the same seed, the same start and as many epochs, only the teacher
differs: none (the control), the float network that the technique begins with, or that network's
trainings with all seeds together (the mean of their probabilities), by one loss or another.
`--seeds=0` takes other seeds, `--students=xnor` some techniques; a later call measures what is
missing. The float networks are kept in build/distillation_gains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from float_nets import MODEL, float_net, images
from measurements import Measurements, Row, Step, conduct, parser, single
from page import Page, mean_and_range
from paired import gained, packed

from tfcompress import graph, keep_freed_memory, techniques
from tfcompress.config import Distillation
from tfcompress.data.transfer.unlabelled import without_targets
from tfcompress.techniques import Candidate, chains
from tfcompress.training import TrainingContext, classified, runner
from tfcompress.training.distill.teachers import one_teacher

SEEDS = (0, 1, 2)
KEPT = Path("build/distillation_gains")
# Techniques and their options, by what the page calls them.
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "separable": ("separable", {}),
    "a quarter of the width": ("distill", {"student_width": 0.25}),
    "half of the width": ("distill", {"student_width": 0.5}),
    "xnor": ("xnor", {}),
    "qat": ("qat", {"engine": "keras"}),
}
NONE = "no teacher"


@dataclasses.dataclass(frozen=True)
class Lesson:
    """Who teaches, and how.

    Attributes:
        distillation: what is learned.
        seeds: whether all seeds' float networks teach, or only the student's own.
        labels: whether labels are read.
    """

    distillation: Distillation
    seeds: bool = False
    labels: bool = True


LESSONS = {
    NONE: None,
    "its float network": Lesson(Distillation()),
    "three seeds": Lesson(Distillation(), seeds=True),
    "three seeds, mixtures": Lesson(Distillation(mix=1.0), seeds=True),
}
# For the students that are made anew.
UNLABELLED = {
    "its float network, no labels": Lesson(Distillation(), labels=False),
    "three seeds, no labels": Lesson(Distillation(), seeds=True, labels=False),
}


def lessons_of(student: str) -> Mapping[str, Lesson | None]:
    return {**LESSONS, **(UNLABELLED if student == "half of the width" else {})}


def trained(seed: int) -> keras.Model:
    """Returns the float network, from its file if it is there."""
    return float_net(KEPT, seed)


def measured(student: str, title: str, seed: int) -> Row:
    """Trains a student; returns its accuracy, and on which test images it is right."""
    name, options = STUDENTS[student]
    technique = techniques.get(name)
    made = technique.make_options(**options)
    lesson, model = lessons_of(student)[title], trained(seed)
    context = TrainingContext(seed=seed)
    training = dataclasses.replace(technique.training(made), distillation=None)
    if lesson is not None:
        training = dataclasses.replace(training, distillation=lesson.distillation)
        teachers = [trained(each) for each in (SEEDS if lesson.seeds else (seed,))]
        context = dataclasses.replace(
            context,
            teacher=one_teacher(teachers, model, temperature=lesson.distillation.temperature),
            transfer=None if lesson.labels else without_targets(images()),
        )
    candidate, _ = techniques.apply(
        Candidate(model, samples=images().representative(200)),
        [chains.Step(technique, made, training)],
        images(),
        context,
    )
    answers, labels = classified(runner(candidate.model), images())
    float_answers, _ = classified(runner(model), images())
    right = answers == labels
    return {
        "accuracy": float(right.mean()),
        "float": float((float_answers == labels).mean()),
        "macs": graph.macs(candidate.model) / graph.macs(model),
        "right": packed(right),
    }


def key_of(student: str, title: str, seed: int) -> str:
    return f"{student}, {title}, seed {seed}"


def steps(seeds: list[int], students: list[str]) -> list[Step]:
    return [
        single(key_of(student, title, seed), measured, student, title, seed)
        for seed in seeds
        for student in students
        for title in lessons_of(student)
    ]


def row_of(results: Measurements, student: str, title: str) -> tuple[list[str], list[str]] | None:
    """Returns a line of the table and its measurements' keys; None if there are none."""
    rows = {
        seed: results[key] for seed in SEEDS if (key := key_of(student, title, seed)) in results
    }
    if not rows:
        return None
    controls = {
        seed: results[key] for seed in rows if (key := key_of(student, NONE, seed)) in results
    }
    gain, test = gained({} if title == NONE else controls, rows, len(images().test))
    lost = np.mean([100 * (row["float"] - row["accuracy"]) for row in rows.values()])
    accuracies = mean_and_range([row["accuracy"] for row in rows.values()])
    cells = [student, title, accuracies, f"{lost:.2f}", gain, test, str(len(rows))]
    return cells, [key_of(student, title, seed) for seed in rows]


def page_of(results: Measurements) -> Page:
    lines = [
        row_of(results, student, title) for student in STUDENTS for title in lessons_of(student)
    ]
    floats = {row["float"] for row in results.rows.values()}
    return Page(
        "Teachers for techniques",
        f"{MODEL} on the embedded images, float {mean_and_range(sorted(floats))}. Each technique "
        "by its own recipe, with the same seed and epochs; teachers give 0.7 of the loss by `kd` "
        "at temperature 4, mixtures and training without labels all of it. Accuracy of the Keras "
        "model on all 2,000 test images, the mean over seeds and its range; points lost to the "
        "float network; points gained over no teacher, and McNemar's exact test of that on the "
        "test images of all seeds together.",
        ["student", "teacher", "accuracy", "points lost", "points gained", "p", "seeds"],
        [line for line in lines if line is not None],
    )


def main() -> None:
    keep_freed_memory()  # As the command does.
    flags = parser(__doc__ or "")
    flags.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="with commas")
    flags.add_argument("--students", default=",".join(STUDENTS), help="with commas")
    given = flags.parse_args()
    students = given.students.split(",")
    if not set(students) <= set(STUDENTS):
        flags.error(f"--students takes {', '.join(STUDENTS)}; got {given.students}")
    todo = steps([int(seed) for seed in given.seeds.split(",")], students)
    conduct(given, todo, page_of, timed=False)


if __name__ == "__main__":
    main()
