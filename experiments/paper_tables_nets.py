"""The networks of `paper_tables.py`: how each is trained, and which files are written of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfcompress.config import Distillation


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
    "cp_16": Net(
        files={"CP, all layers at rank 16": "float32"}, technique="cp", options={"rank": 16}
    ),
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
