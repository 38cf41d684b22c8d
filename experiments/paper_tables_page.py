"""The rows of `paper_tables.py`, the papers' figures beside them, and what follows from both."""

from __future__ import annotations

import dataclasses
import operator
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from measurements import Measurements, Row
from page import Page

from tfcompress.config import Distillation
from tfcompress.console import table

STUDY = "Rassadin and Savchenko 2017"
SURVEY = "Lagrange and Pedersoli"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Net:
    """A network that is trained, and the files that are written of it.

    Attributes:
        files: the page's name of each file, and its storage.
        technique: what is made of the float network; empty for the float network itself.
        options: of the technique.
        trains: whether the technique trains at all.
        teacher: the network whose answers it learns on images without labels; empty for labels.
        distillation: what it learns of them.
        few: whether it is trained on a part of the images only, so that it is a weak teacher.
    """

    files: Mapping[str, str]
    technique: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trains: bool = True
    teacher: str = ""
    distillation: Distillation | None = None
    few: bool = False


def _student(teacher: str, losses: str, title: str) -> Net:
    """Returns a student of half the width, which reads no labels."""
    return Net(
        files={f"student of the {teacher} teacher, {title}": "float32"},
        technique="distill",
        options={"student_width": 0.5},
        teacher={"weak": "weak", "strong": "float"}[teacher],
        distillation=Distillation(losses=losses, weight=1.0),
    )


PAPER = {"recipe": "paper"}
LABELS, SOFTMAX = "labels only", "labels and softmax"
NETS: dict[str, Net] = {
    "float": Net(files={"float32": "float32", "int8": "int8"}),
    "cp": Net(files={"CP": "float32"}, technique="cp", options={"macs_ratio": 0.5}),
    "hashed": Net(
        files={"HashedNets": "float32"},
        technique="hashed",
        options={
            "hashing": "elementwise",
            "hash_bias": True,
            "init": "scratch",
            "include": "all",
        },
    ),
    "hashed_dense": Net(
        files={"HashedNets, dense layers only": "float32"},
        technique="hashed",
        options={"hashing": "elementwise", "hash_bias": True, "init": "scratch"},
    ),
    "bwn": Net(
        files={"Binary-Weight-Network": "float32", "Binary-Weight-Network, 1 bit": "1bit"},
        technique="bwn",
        options=PAPER,
    ),
    "xnor": Net(
        files={"XNOR-Net": "float32", "XNOR-Net, 1 bit": "1bit"}, technique="xnor", options=PAPER
    ),
    "binary_activations": Net(
        files={"XNOR-Net without weight binarisation": "float32"},
        technique="binary_activations",
        options=PAPER,
    ),
    "weak": Net(files={"weak teacher": "float32"}, few=True),
    "weak_labels": _student("weak", "labels", LABELS),
    "weak_softmax": _student("weak", "labels+softmax", SOFTMAX),
    "strong_labels": _student("strong", "labels", LABELS),
    "strong_softmax": _student("strong", "labels+softmax", SOFTMAX),
    "separable": Net(
        files={"compact": "float32"}, technique="separable", options={"init": "scratch"}
    ),
    "minmax8": Net(files={"8 bits, simulated": "float32"}, technique="minmax8", trains=False),
}


@dataclasses.dataclass(frozen=True)
class Published:
    """What a paper has in a row; None where it says nothing.

    Attributes:
        source: the paper.
        accuracy: in percent.
        base: of the float network that it is compared with, in percent.
        size: of the network's, divided by the float one's.
        latency: likewise.
        step: a step of the training, likewise.
    """

    source: str
    accuracy: float
    base: float | None = None
    size: float | None = None
    latency: float | None = None
    step: float | None = None


# Accuracy in percent, MiB, ms of an inference and of a training's step.
_VGG_S, _SQUEEZENET = (97.13, 372.2, 33.4, 43.7), (89.14, 2.8, 4.94, 22.94)


def _study(accuracy: float, *costs: float, base: Sequence[float] = _VGG_S) -> Published:
    ratios = map(operator.truediv, costs, base[1:])
    return Published(STUDY, accuracy, base[0], *ratios)


# The study's binary networks have their sizes on paper only: the files did not shrink.
PUBLISHED: dict[str, Published] = {
    "float32": Published(STUDY, 97.13, 97.13, 1.0, 1.0, 1.0),
    "CP": _study(87.5, 2.1, 7.74, 22.94, base=_SQUEEZENET),
    "HashedNets, dense layers only": _study(96.31, 68.3, 158.2, 294.8),
    "Binary-Weight-Network": _study(98.57, 372.2, 33.5, 83.8),
    "Binary-Weight-Network, 1 bit": _study(98.57, 11.6),
    "XNOR-Net": _study(58.81, 372.2, 34.2, 84.3),
    "XNOR-Net, 1 bit": _study(58.81, 11.6),
    "XNOR-Net without weight binarisation": _study(88.32, 372.2, 34.1, 43.4),
    "weak teacher": Published(STUDY, 41.45),
    f"student of the weak teacher, {LABELS}": Published(STUDY, 12.3),
    f"student of the weak teacher, {SOFTMAX}": Published(STUDY, 23.8),
    f"student of the strong teacher, {LABELS}": Published(STUDY, 40.9),
    f"student of the strong teacher, {SOFTMAX}": Published(STUDY, 46.9),
    "compact": Published(SURVEY, 89.98, 90.03, 6.53 / 56.2, step=2.24 / 11.26),
    "8 bits, simulated": Published(SURVEY, 88.13, 90.03, 1.0),
}
Metric = Literal["points", "size", "latency", "step"]
# Sizes and times as good as equal.
ALIKE = 0.95
UNTRAINED = "not trained"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a paper says of two files, as a bound of one number.

    Attributes:
        text: what it says.
        paper: its figures.
        file: of which it says it.
        metric: points of accuracy above `other`, or bytes, latency or a training's step divided
            by the float network's.
        bound: where the finding begins.
        above: whether the number must be at least the bound, or else below it.
        other: what accuracy is compared with.
    """

    text: str
    paper: str
    file: str
    metric: Metric
    bound: float
    above: bool
    other: str = "float32"


def _helps(teacher: str, paper: str) -> Finding:
    name = f"student of the {teacher} teacher, "
    text = f"softmax outputs help the student of a {teacher} teacher"
    return Finding(text, paper, name + SOFTMAX, "points", 0, True, name + LABELS)


BINARY, HASHED, COMPACT = "Binary-Weight-Network", "HashedNets", "compact"
FINDINGS = (
    Finding("CP loses accuracy", "89.14 to 87.5", "CP", "points", 0, False),
    Finding("CP is smaller", "0.75 of the float network's size", "CP", "size", 1, False),
    Finding("CP is slower", "1.57 of float's latency", "CP", "latency", 1, True),
    Finding("hashed networks lose accuracy", "97.13 to 96.31", HASHED, "points", 0, False),
    Finding("hashed networks are smaller", "0.18 of the size", HASHED, "size", 1, False),
    Finding("hashed networks are slower", "4.7 of float's latency", HASHED, "latency", 1, True),
    Finding("hashed networks train slower", "6.7 of float's step", HASHED, "step", 1, True),
    Finding("binary weights cost no accuracy", "97.13 to 98.57", BINARY, "points", 0, True),
    Finding("binary networks stay large as floats", "none shrank", BINARY, "size", ALIKE, True),
    Finding("binary networks aren't faster as floats", "1.00", BINARY, "latency", ALIKE, True),
    Finding("binary weights train slower", "1.92 of float's step", BINARY, "step", 1, True),
    Finding(
        "binary weights need 1/32 on paper (a file: under a quarter)", "11.6 of 372.2 MiB",
        f"{BINARY}, 1 bit", "size", 0.25, False,
    ),
    Finding(
        "XNOR-Net loses much (over 5 points)", "97.13 to 58.81", "XNOR-Net", "points", -5, False
    ),
    Finding("XNOR-Net isn't faster as floats", "1.02", "XNOR-Net", "latency", ALIKE, True),
    Finding(
        "float weights win back accuracy of binary inputs", "58.81 to 88.32",
        "XNOR-Net without weight binarisation", "points", 0, True, "XNOR-Net",
    ),
    _helps("weak", "12.3 to 23.8"),
    _helps("strong", "40.9 to 46.9"),
    Finding(
        "a better teacher makes a better student", "23.8 to 46.9",
        f"student of the strong teacher, {SOFTMAX}", "points", 0, True,
        f"student of the weak teacher, {SOFTMAX}",
    ),
    Finding("compact networks lose under a point", "90.03 to 89.98", COMPACT, "points", -1, True),
    Finding("compact networks are smaller", "0.12 of the size", COMPACT, "size", 1, False),
    Finding("compact networks train faster", "0.20 of the time", COMPACT, "step", 1, False),
    Finding(
        "8 simulated bits lose accuracy", "90.03 to 88.13", "8 bits, simulated", "points", 0, False
    ),
    Finding(
        "8 simulated bits save no bytes", "56.2 MB both", "8 bits, simulated", "size", ALIKE, True
    ),
)  # fmt: skip


def key_of(model: str, file: str, seed: int) -> str:
    return f"{model}, {file}, seed {seed}"


def rows_of(results: Measurements, model: str, file: str) -> dict[int, Row]:
    """Returns a file's rows by seed, as far as they are measured."""
    start = f"{model}, {file}, seed "
    rows = {
        key.removeprefix(start): row for key, row in results.rows.items() if key.startswith(start)
    }
    return {int(seed): rows[seed] for seed in sorted(rows) if seed.isdecimal()}


def numbers(results: Measurements, model: str, finding: Finding) -> list[float]:
    """Returns a finding's number of each seed for which its rows are there."""
    rows = rows_of(results, model, finding.file)
    others = rows_of(results, model, finding.other)
    if finding.metric == "points":
        return [
            100 * (rows[seed]["accuracy"] - others[seed]["accuracy"])
            for seed in rows.keys() & others.keys()
        ]
    names = {"size": "size_ratio", "latency": "ratio", "step": "step_ratio"}
    found = [row.get(names[finding.metric]) for row in rows.values()]
    return [number for number in found if number is not None]


def verdict(results: Measurements, model: str, finding: Finding) -> str:
    """Says whether the mean over seeds confirms a finding, and how many seeds do."""
    found = numbers(results, model, finding)
    if not found:
        return "not measured"
    agree = [(number >= finding.bound) == finding.above for number in found]
    mean = statistics.mean(found)
    said = "confirmed" if (mean >= finding.bound) == finding.above else "refuted"
    shown = f"{mean:+.2f} points" if finding.metric == "points" else f"{mean:.3f}"
    seeds = "seed" if len(found) == 1 else "seeds"
    return f"{said} ({shown}; it holds for {sum(agree)} of {len(found)} {seeds})"


def findings(results: Measurements, models: Iterable[str]) -> Iterator[str]:
    """Yields a line for each of the papers' findings."""
    models = tuple(models)
    for finding in FINDINGS:
        verdicts = "; ".join(f"{model} {verdict(results, model, finding)}" for model in models)
        yield f"- {finding.text[0].upper()}{finding.text[1:]} ({finding.paper}): {verdicts}."


def errors_by_epoch(results: Measurements, models: Iterable[str]) -> str:
    """Returns the table of training and test errors, in percent, at quarters of the epochs."""
    lines = []
    for model in models:
        for name, net in NETS.items():
            rows = rows_of(results, model, next(iter(net.files))).values()
            histories = [row["history"] for row in rows if row.get("history")]
            if histories:
                last = min(map(len, histories)) - 1
                lines.append([model, name, *(_errors(histories, last * n // 4) for n in range(5))])
    marks = ["a quarter", "half", "three quarters", "last epoch"]
    return table(lines, ["network", "training", "first epoch", *marks], markdown=True)


def _errors(histories: Sequence[Sequence[Mapping[str, float]]], epoch: int) -> str:
    """Returns the mean training and test error of an epoch; a dash where it isn't known."""
    shown = []
    for name in ("train_error", "test_error"):
        values = [history[epoch][name] for history in histories if name in history[epoch]]
        shown.append(f"{100 * statistics.mean(values):.1f}" if values else "-")
    return " / ".join(shown)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _spread(values: Sequence[float], digits: int) -> str:
    """Returns the mean of values, of several with their range."""
    if not values:
        return ""
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def cells_of(results: Measurements, model: str, file: str) -> list[str]:
    """Returns a file's line of the table, the paper's figures beside ours."""
    known, rows = PUBLISHED.get(file), list(rows_of(results, model, file).values())
    paper = [""] * 5
    if known is not None:
        accuracy = f"{known.accuracy:g}" + (f" ({known.base:g})" if known.base else "")
        ratios = map(_ratio, (known.size, known.latency, known.step))
        paper = [known.source, accuracy, *ratios]
    sizes = f"{statistics.mean(row['size_bytes'] for row in rows):,.0f}" if rows else ""
    steps = [row["step_ratio"] for row in rows if row.get("step_ratio") is not None]
    return [
        model,
        file,
        paper[0],
        paper[1],
        _spread([100 * row["accuracy"] for row in rows], 2) if rows else UNTRAINED,
        sizes,
        paper[2],
        _spread([row["size_ratio"] for row in rows], 3),
        paper[3],
        _spread([row["ratio"] for row in rows], 2),
        paper[4],
        _spread(steps, 2),
        str(len(rows)),
    ]


HEADERS = [
    "network", "file", "paper", "paper's accuracy (its float's), %", "accuracy, %", "bytes",
    "paper's size", "size", "paper's latency", "latency", "paper's step", "step", "seeds",
]  # fmt: skip
# VGG-16 is both papers' kind of network: while it has no rows, the page says so.
WANTED = ("vgg_small", "resnet8", "vgg16")


def page_of(results: Measurements) -> Page:
    models = [*WANTED, *sorted({key.split(",")[0] for key in results.rows} - {*WANTED})]
    there = [model for model in models if any(key.startswith(f"{model},") for key in results.rows)]
    missing = [model for model in models if model not in there]
    lines = [
        (
            cells_of(results, model, file),
            [key_of(model, file, seed) for seed in rows_of(results, model, file)],
        )
        for model in there
        for net in NETS.values()
        for file in net.files
    ]
    untrained = f" {' and '.join(missing)}: {UNTRAINED}, no rows." if missing else ""
    trained = sorted({row["trained"] for row in results.rows.values()})
    note = (
        f"CIFAR-10, {results.settings['epochs']} epochs of each training, Adam with cosine decay; "
        "accuracy of the `.tflite` file on all test images, the mean over seeds and its range. "
        "Sizes, latencies (one thread, in turns, median) and steps of the training (in turns) are "
        "divided by the float32 file's or network's of the same seed. The papers' rows are of "
        "other data and networks (VGG-S and for CP SqueezeNet on RaFD; VGG-16 on CIFAR-10), so "
        "that only the signs compare. All are trained by the labels, from new weights but for CP; "
        "students have half the width and learn a teacher's answers on the training images "
        "without labels: the strong teacher is the float network, the weak one has seen 1/25 of "
        f"the images. Trained by {'; '.join(trained)}.{untrained}\n\n"
        "## Findings of the papers\n\n"
        f"Confirmed or refuted by the mean over seeds; 'alike' is {ALIKE} or more.\n\n"
        + "\n".join(findings(results, models))
        + "\n\n## Training and test error, %, by epoch\n\n"
        + errors_by_epoch(results, there)
        + "\n\n## The tables"
    )
    return Page("The papers' tables on CIFAR-10", note, HEADERS, lines)
