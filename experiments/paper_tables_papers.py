"""What two papers publish of the files of `paper_tables.py`, and what they found."""

from __future__ import annotations

import dataclasses
import operator
from typing import Literal

from paper_tables_nets import LABELS, SOFTMAX

STUDY = "Rassadin and Savchenko 2017"
SURVEY = "Lagrange and Pedersoli"


Metric = Literal["points", "size", "latency", "step", "parameters", "macs"]
# Sizes and times as good as equal: from this share of the float network's to its reciprocal.
ALIKE = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """What a paper has in a row; None where it says nothing.

    Attributes:
        source: the paper.
        accuracy: in percent.
        base: of the float network that it is compared with, in percent.
        size: of the network's, divided by the float one's.
        latency: likewise.
        step: a step of the training, likewise; of `SURVEY` the whole training.
        parameters: likewise.
        macs: multiply-accumulates, likewise.
    """

    source: str
    accuracy: float | None = None
    base: float | None = None
    size: float | None = None
    latency: float | None = None
    step: float | None = None
    parameters: float | None = None
    macs: float | None = None


# MiB, ms of an inference, ms of a training's step.
_COSTS = {"vgg_s": (372.2, 33.4, 43.7), "squeezenet": (2.8, 4.94, 22.94)}
_ACCURACIES = {"vgg_s": 97.13, "squeezenet": 89.14}


def _study(
    accuracy: float, *costs: float, base: str = "vgg_s", parameters: float | None = None
) -> Published:
    """Returns a row of the study's tables, its costs as shares of the float network's."""
    ratios = map(operator.truediv, costs, _COSTS[base])
    names = ("size", "latency", "step")
    return Published(
        source=STUDY,
        accuracy=accuracy,
        base=_ACCURACIES[base],
        parameters=parameters,
        **dict(zip(names, ratios, strict=False)),
    )


def _student(accuracy: float) -> Published:
    return Published(source=STUDY, accuracy=accuracy)


# The study's binary networks have their sizes on paper only: the files did not shrink.
PUBLISHED: dict[str, Published] = {
    "float32": _study(97.13, *_COSTS["vgg_s"], parameters=1.0),
    "CP": _study(87.5, 2.1, 7.74, 22.94, base="squeezenet", parameters=1 - 0.235),
    "HashedNets, dense layers only": _study(96.31, 68.3, 158.2, 294.8, parameters=1 - 0.8164),
    "Binary-Weight-Network": _study(98.57, 372.2, 33.5, 83.8),
    "Binary-Weight-Network, 1 bit": _study(98.57, 11.6),
    "XNOR-Net": _study(58.81, 372.2, 34.2, 84.3),
    "XNOR-Net, 1 bit": _study(58.81, 11.6),
    "XNOR-Net without weight binarisation": _study(88.32, 372.2, 34.1, 43.4),
    "weak teacher": _student(41.45),
    f"student of the weak teacher, {LABELS}": _student(12.3),
    f"student of the weak teacher, {SOFTMAX}": _student(23.8),
    f"student of the strong teacher, {LABELS}": _student(40.9),
    f"student of the strong teacher, {SOFTMAX}": _student(46.9),
    "compact": Published(
        source=SURVEY,
        accuracy=89.98,
        base=90.03,
        size=6.53 / 56.2,
        step=2.24 / 11.26,
        parameters=1.70 / 14.73,
        macs=38.0 / 313.2,
    ),
    "8 bits, simulated": Published(
        source=SURVEY, accuracy=88.13, base=90.03, size=1.0, parameters=1.0, macs=1.0
    ),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a paper says of two files, as a bound of one number.

    Attributes:
        text: what it says.
        paper: its figures.
        file: of which it says it.
        metric: points of accuracy above `other`, or bytes, latency, a training's step, parameters
            or multiply-accumulates divided by the float network's.
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
SIGNS = "XNOR-Net without weight binarisation"
FINDINGS = (
    Finding("CP loses accuracy", "89.14 to 87.5", "CP", "points", 0, False),
    Finding(
        "CP of all layers at rank 16 loses accuracy", "said without figures",
        "CP, all layers at rank 16", "points", 0, False,
    ),
    Finding("CP has fewer parameters", "0.765 of float's", "CP", "parameters", 1, False),
    Finding("CP is smaller", "0.75 of the float network's size", "CP", "size", 1, False),
    Finding("CP is slower", "1.57 of float's latency", "CP", "latency", 1, True),
    Finding("CP doesn't train slower", "1.00 of float's step", "CP", "step", 1 / ALIKE, False),
    Finding("hashed networks lose accuracy", "97.13 to 96.31", HASHED, "points", 0, False),
    Finding("hashed networks have fewer weights", "0.184", HASHED, "parameters", 1, False),
    Finding("hashed networks are smaller", "0.18 of the size", HASHED, "size", 1, False),
    Finding("hashed networks are slower", "4.7 of float's latency", HASHED, "latency", 1, True),
    Finding("hashed networks train slower", "6.7 of float's step", HASHED, "step", 1, True),
    Finding("binary weights cost no accuracy", "97.13 to 98.57", BINARY, "points", 0, True),
    Finding("binary networks stay large as floats", "none shrank", BINARY, "size", ALIKE, True),
    Finding("binary networks aren't faster as floats", "1.00", BINARY, "latency", ALIKE, True),
    Finding("binary weights train slower", "1.92 of float's step", BINARY, "step", 1, True),
    Finding(
        "binary weights need under a quarter as bits", "1/32 on paper, 11.6 of 372.2 MiB",
        f"{BINARY}, 1 bit", "size", 0.25, False,
    ),
    Finding(
        "XNOR-Net loses much (over 5 points)", "97.13 to 58.81", "XNOR-Net", "points", -5, False
    ),
    Finding("XNOR-Net isn't faster as floats", "1.02", "XNOR-Net", "latency", ALIKE, True),
    Finding("XNOR-Net trains slower", "1.93 of float's step", "XNOR-Net", "step", 1, True),
    Finding("binary inputs alone lose accuracy", "97.13 to 88.32", SIGNS, "points", 0, False),
    Finding(
        "float weights win back accuracy of binary inputs", "58.81 to 88.32",
        SIGNS, "points", 0, True, "XNOR-Net",
    ),
    Finding("binary inputs alone aren't faster as floats", "1.02", SIGNS, "latency", ALIKE, True),
    Finding(
        "binary inputs alone don't train slower", "0.99 of float's step",
        SIGNS, "step", 1 / ALIKE, False,
    ),
    _helps("weak", "12.3 to 23.8"),
    _helps("strong", "40.9 to 46.9"),
    Finding(
        "a better teacher makes a better student", "23.8 to 46.9",
        f"student of the strong teacher, {SOFTMAX}", "points", 0, True,
        f"student of the weak teacher, {SOFTMAX}",
    ),
    Finding("compact networks lose under a point", "90.03 to 89.98", COMPACT, "points", -1, True),
    Finding("compact networks have fewer parameters", "0.115", COMPACT, "parameters", 1, False),
    Finding(
        "compact networks have fewer multiply-accumulates", "0.121", COMPACT, "macs", 1, False
    ),
    Finding("compact networks are smaller", "0.12 of the size", COMPACT, "size", 1, False),
    Finding("compact networks train faster", "0.20 of the time", COMPACT, "step", 1, False),
    Finding(
        "8 simulated bits lose accuracy", "90.03 to 88.13", "8 bits, simulated", "points", 0, False
    ),
    Finding(
        "8 simulated bits save no bytes", "56.2 MB both", "8 bits, simulated", "size", ALIKE, True
    ),
)  # fmt: skip
