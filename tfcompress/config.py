"""Holds the settings of a training and of a run as frozen, validated values.

Nothing here imports more than the standard library, so that a misspelled flag is answered at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal

from tfcompress.deprecated import moved
from tfcompress.errors import one_of, require
from tfcompress.metric import parse
from tfcompress.options import check_types

__getattr__ = moved(
    __name__,
    {
        "ExportError": "tfcompress.errors.ExportError",
        "InputError": "tfcompress.errors.InputError",
    },
)

BENCHMARK_BACKENDS = ("cpu", "cpu-noxnn", "gpu", "gpu+cpu", "delegate:PATH")
Optimizer = Literal["adam", "sgd"]
Schedule = Literal["cosine", "constant", "step"]
AUGMENTATIONS = ("none", "flip", "flip+shift", "shift")
IO = ("float32", "int8", "uint8")
NORMALIZATIONS = ("auto", "standardize", "none", "unit", "symmetric")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """Says how a model is trained.

    Attributes:
        epochs: passes over the training images; 0 trains nothing.
        batch_size: images in a step.
        learning_rate: the rate at the start.
        optimizer: `adam` or `sgd`.
        momentum: of `sgd`.
        learning_rate_schedule: `cosine` (to zero over all epochs), `constant`, or `step` (a tenth
            after half of the epochs).
        weight_decay: L2 penalty's factor, decoupled (`AdamW`, `SGDW`); 0 for none.
        distillation_weight: the share of the teacher's soft targets in the loss, 0 to 1.
        distillation_temperature: the softmax temperature of those targets.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    learning_rate_schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    distillation_weight: float = 0.0
    distillation_temperature: float = 4.0

    def __post_init__(self) -> None:
        """Refuses values that can't train."""
        check_types(Training, vars(self))
        require(self.epochs >= 0, f"epochs must be 0 or more; got {self.epochs}")
        require(self.batch_size >= 1, f"batch_size must be 1 or more; got {self.batch_size}")
        require(
            0 < self.learning_rate < float("inf"),
            f"learning_rate must be a positive number; got {self.learning_rate}",
        )
        one_of("optimizer", self.optimizer, typing.get_args(Optimizer))
        one_of("learning_rate_schedule", self.learning_rate_schedule, typing.get_args(Schedule))
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1); got {self.momentum}")
        require(self.weight_decay >= 0, f"weight_decay must be 0 or more; got {self.weight_decay}")
        require(
            0 <= self.distillation_weight <= 1,
            f"distillation_weight must be in [0, 1]; got {self.distillation_weight}",
        )
        require(
            self.distillation_temperature > 0,
            f"distillation_temperature must be positive; got {self.distillation_temperature}",
        )

    def with_settings(self, settings: Mapping[str, Any]) -> Training:
        """Returns a recipe's training with the user's settings in place of its own.

        A training of 0 epochs stays one: what isn't trained by itself isn't by `epochs`.

        Args:
            settings: field name to value.
        """
        changed = dataclasses.replace(self, **settings)
        return changed if self.epochs else dataclasses.replace(changed, epochs=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Holds the settings of one run, as the flags of `tfcompress.run` give them.

    `None` means "as the technique, the model or the data set has it".
    """

    technique: str = "xnor"
    model: str = "vgg_small"
    dataset: str = "fashion_mnist_small"
    data_dir: str | None = None
    image_size: int | None = None
    augment: str | None = None
    normalization: str = "auto"
    metric: str | None = None
    epochs: int | None = None
    baseline_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    storage: str | None = None
    io: str | None = None
    benchmark: tuple[str, ...] = ("cpu",)
    benchmark_runs: int = 200
    output_dir: str | None = None
    resume: bool = True
    tensorboard: bool = False
    allow_difference: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuses what no run could use; names are checked by the rooms that know them."""
        for flag in ("epochs", "baseline_epochs"):
            value = getattr(self, flag)
            require(value is None or value >= 0, f"--{flag} must be 0 or more; got {value}")
        for flag in ("batch_size", "image_size", "benchmark_runs"):
            value = getattr(self, flag)
            require(value is None or value >= 1, f"--{flag} must be 1 or more; got {value}")
        require(
            self.learning_rate is None or 0 < self.learning_rate < float("inf"),
            f"--learning_rate must be a positive number; got {self.learning_rate}",
        )
        require(0 <= self.seed < 2**32, f"--seed must be in 0..{2**32 - 1}; got {self.seed}")
        if self.augment is not None:
            one_of("--augment", self.augment, AUGMENTATIONS)
        one_of("--normalization", self.normalization, NORMALIZATIONS)
        if self.metric is not None:
            parse(self.metric)
        if self.io is not None:
            one_of("--io", self.io, IO)
        for backend in self.benchmark:
            # Behind a question mark stand options, which the benchmark knows.
            known = "delegate:PATH" if backend.startswith("delegate:") else backend.split("?")[0]
            one_of("--benchmark", known, (*BENCHMARK_BACKENDS, "none"))
        require(
            "none" not in self.benchmark or len(self.benchmark) == 1,
            "--benchmark none excludes every other backend",
        )
        object.__setattr__(self, "options", dict(self.options))

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as JSON values."""
        return {**dataclasses.asdict(self), "benchmark": list(self.benchmark)}
