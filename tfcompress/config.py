"""Holds the settings of a training and of a run as frozen, validated values.

Nothing here imports more than the standard library, so that a misspelled flag is answered at once.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tfcompress.deprecated import moved
from tfcompress.errors import one_of, require
from tfcompress.metric import parse
from tfcompress.options import check_names, check_types

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
# How integer activations take their ranges from images: from the least to the largest value, or
# where the squared error is least.
RANGES = ("minmax", "mse")
# How weights of few bits are rounded: each to the nearest, or so that the layer's outputs for the
# calibration inputs change least.
ROUNDINGS = ("nearest", "gptq")
NORMALIZATIONS = ("auto", "standardize", "none", "unit", "symmetric")
DISTILLATION_LOSSES = ("kd", "labels", "softmax", "logits", "dkd", "at", "hint")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """Says how a student learns from a teacher.

    The whole loss is `(1 - weight) * labels' loss + weight * sum of the teacher's losses`. Where
    no labels are read, it is the sum of the teacher's losses.

    Attributes:
        losses: one or several of `DISTILLATION_LOSSES` with + between them: `kd` (Hinton et al.
            2015, arXiv:1503.02531), `labels` (the class that the teacher gives is the label),
            `softmax` (the teacher's probabilities at temperature 1; `labels+softmax` is the loss
            of Rassadin and Savchenko 2017), `logits` (Ba and Caruana 2014, arXiv:1312.6184), `dkd`
            (Zhao et al. 2022, arXiv:2203.08679), `at` (Zagoruyko and Komodakis 2017,
            arXiv:1612.03928) and `hint` (Romero et al. 2015, arXiv:1412.6550).
        weight: the teacher's share of the loss, 0 to 1. 0.9 in common implementations; 0.7 was
            as good as any here.
        temperature: of the softmax in `kd` and `dkd`, and of the mean of several teachers; 4, as
            in common implementations.
        alpha: factor of the target class's part of `dkd`; 1, as its authors have it.
        beta: factor of the other classes' part; 8, as its authors have it for most pairs, and 0.5
            to 10 for some.
        hint_weight: factor of `hint` beside the other losses; 100, as in common implementations.
        hint_epochs: so many first epochs train by `hint` alone, up to the layer that it looks at;
            the others then go without it (the two stages of Romero et al.). 0 trains by all losses
            at once.
        attention_weight: factor of `at` for each pair of maps; 1000, as in its authors' code,
            where the mean over the map's squares stands in place of the paper's norm.
        noise: standard deviation of the factors `1 + xi` by which the teacher's logits are
            disturbed (Sau and Balasubramanian 2016, arXiv:1610.09650); 0 disturbs none.
        noise_share: the share of the examples whose logits are disturbed.
        mix: alpha of the Beta distribution by which pairs of examples are mixed (Zhang et al.
            2018, arXiv:1710.09412); teacher and student see the same mixture, and no labels are
            read. 1 is what Beyer et al. 2022, arXiv:2106.05237, take; 0 mixes nothing.
    """

    losses: str = "kd"
    weight: float = 0.7
    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    hint_weight: float = 100.0
    hint_epochs: int = 0
    attention_weight: float = 1000.0
    noise: float = 0.0
    noise_share: float = 0.5
    mix: float = 0.0

    def __post_init__(self) -> None:
        """Refuses unknown losses and values that can't be."""
        check_types(Distillation, vars(self), "distillation.")
        names = self.names
        for name in names:
            one_of("distillation.losses", name, DISTILLATION_LOSSES)
        require(len(set(names)) == len(names), f"distillation.losses has one twice: {self.losses}")
        for name in ("weight", "noise_share"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"distillation.{name} must be in [0, 1]; got {value}")
        require(
            self.temperature > 0,
            f"distillation.temperature must be positive; got {self.temperature}",
        )
        for name in (
            "alpha", "beta", "hint_weight", "hint_epochs", "attention_weight", "noise", "mix"
        ):  # fmt: skip
            value = getattr(self, name)
            require(
                0 <= value < float("inf"), f"distillation.{name} must be 0 or more; got {value}"
            )
        require(
            not self.hint_epochs or "hint" in names,
            f"distillation.hint_epochs takes 'hint' among distillation.losses; got '{self.losses}'",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The losses, one by one."""
        return tuple(name.strip() for name in self.losses.split("+"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inversion:
    """Says how images are made from a teacher alone (Yin et al. 2020, arXiv:1912.08795).

    The defaults of weights and rate are those of the authors' own runs on CIFAR-10.

    Attributes:
        steps: of the optimizer, for each batch of images; 500, where the authors take 2,000.
        batch_size: images that are made together, whose statistics are compared with those that
            the batch normalisations have learned; 256, as the authors have it.
        learning_rate: Adam's; 0.1.
        bn_weight: factor of the mismatch of these statistics; 10.
        tv_weight: factor of the total variation, the norm of the differences of neighbouring
            pixels; 1e-3.
        l2_weight: factor of the norm of the images, on the scale on which noise has deviation 1;
            0, or 3e-8 for large images.
        jitter: pixels by which the images are shifted at most in each step, around their edges; 2.
        adversarial_weight: factor of 1 less the Jensen-Shannon divergence of the teacher's classes
            from the student's, so that images are made on which the two differ (their "adaptive"
            form); 0 leaves it out.
    """

    steps: int = 500
    batch_size: int = 256
    learning_rate: float = 0.1
    bn_weight: float = 10.0
    tv_weight: float = 1e-3
    l2_weight: float = 0.0
    jitter: int = 2
    adversarial_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuses values that make no images."""
        check_types(Inversion, vars(self), "inversion.")
        for name, least in (("steps", 1), ("batch_size", 2), ("jitter", 0)):
            value = getattr(self, name)
            require(value >= least, f"inversion.{name} must be {least} or more; got {value}")
        for name in ("bn_weight", "tv_weight", "l2_weight", "adversarial_weight"):
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"inversion.{name} must be 0 or more; got {value}")
        require(
            0 < self.learning_rate < float("inf"),
            f"inversion.learning_rate must be a positive number; got {self.learning_rate}",
        )


# What said it in `Training` before there was `Distillation`.
OLD_DISTILLATION = {"distillation_weight": "weight", "distillation_temperature": "temperature"}


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
        distillation: how it learns from a teacher; None for the labels alone.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    learning_rate_schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    distillation: Distillation | None = None

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

    def with_settings(self, settings: Mapping[str, Any]) -> Training:
        """Returns a recipe's training with the user's settings in place of its own.

        A training of 0 epochs stays one: what isn't trained by itself isn't by `epochs`.

        Args:
            settings: field name to value. `distillation` may be a mapping, too: fields of
                `Distillation`, each in place of the recipe's own.
        """
        settings = dict(settings)
        if isinstance(settings.get("distillation"), Mapping):
            changes = settings.pop("distillation")
            check_names(Distillation, changes, "distillation.")
            distillation = dataclasses.replace(self.distillation or Distillation(), **changes)
            settings["distillation"] = distillation if self.epochs else self.distillation
        changed = dataclasses.replace(self, **settings)
        return changed if self.epochs else dataclasses.replace(changed, epochs=0)

    @classmethod
    def setting_names(cls) -> frozenset[str]:
        """Returns the names of the fields, and those that they had before."""
        return frozenset(cls.__dataclass_fields__) | frozenset(OLD_DISTILLATION)

    @property
    def distillation_weight(self) -> float:
        """The weight of `distillation`, 0 without one; deprecated."""
        _warn_of_old("distillation_weight")
        return self.distillation.weight if self.distillation else 0.0

    @property
    def distillation_temperature(self) -> float:
        """The temperature of `distillation`, 4 without one; deprecated."""
        _warn_of_old("distillation_temperature")
        return (self.distillation or Distillation()).temperature


def _warn_of_old(name: str) -> None:
    """Warns that a field of `Training` is one of `Distillation` now."""
    warnings.warn(
        f"Training.{name} is Training.distillation.{OLD_DISTILLATION[name]} now; the old name "
        "goes with the next version",
        DeprecationWarning,
        stacklevel=3,
    )


def _taking_old_names(make: Callable[..., None]) -> Callable[..., None]:
    """Returns the `__init__` of `Training` that takes the names of before, too."""

    @functools.wraps(make)
    def init(self: Training, **values: Any) -> None:
        old = {name: values.pop(name) for name in OLD_DISTILLATION if name in values}
        for name in old:
            _warn_of_old(name)
        if old:
            values["distillation"] = with_old_distillation(values.get("distillation"), old)
        make(self, **values)

    return init


def with_old_distillation(
    distillation: Distillation | None, old: Mapping[str, Any]
) -> Distillation | None:
    """Returns a distillation with values that were fields of `Training`; a weight of 0 is None.

    Args:
        distillation: what they change.
        old: `distillation_weight`, `distillation_temperature` or both.
    """
    weight = old.get("distillation_weight", distillation.weight if distillation else 0)
    changes = {OLD_DISTILLATION[name]: value for name, value in old.items()}
    changed = dataclasses.replace(distillation or Distillation(), **{**changes, "weight": weight})
    return changed if weight else None


def recorded_training(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON values of a training as they are now, those of an older run's, too."""
    now = dict(values)
    old = {name: now.pop(name) for name in OLD_DISTILLATION if name in now}
    if old:
        distillation = with_old_distillation(None, old)
        now["distillation"] = distillation and dataclasses.asdict(distillation)
    return now


Training.__init__ = _taking_old_names(Training.__init__)  # type: ignore[method-assign]


def check_devices(name: str, value: Any) -> None:
    """Refuses what is no number of devices to train on, and not `all`.

    Args:
        name: of the flag or argument.
        value: the user's.

    Raises:
        InputError: says what is taken.
    """
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    require(whole or value == "all", f"{name} takes a number from 1 on, or all; got {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Holds the settings of one run, as the flags of `tfcompress.run` give them.

    `None` means "as the technique, the model or the data set has it".
    """

    technique: str = "xnor"
    model: str = "vgg_small"
    dataset: str = "fashion_mnist_small"
    data_dir: str | None = None
    teacher: tuple[str, ...] = ()
    distil: str | None = None
    transfer: str | None = None
    image_size: int | None = None
    augment: str | None = None
    normalization: str = "auto"
    metric: str | None = None
    epochs: int | None = None
    baseline_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    devices: int | str = 1
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    storage: str | None = None
    io: str | None = None
    ranges: str = RANGES[0]
    rounding: str = ROUNDINGS[0]
    short_names: bool = False
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
        check_devices("--devices", self.devices)
        require(0 <= self.seed < 2**32, f"--seed must be in 0..{2**32 - 1}; got {self.seed}")
        if self.augment is not None:
            one_of("--augment", self.augment, AUGMENTATIONS)
        one_of("--normalization", self.normalization, NORMALIZATIONS)
        if self.metric is not None:
            parse(self.metric)
        if self.io is not None:
            one_of("--io", self.io, IO)
        one_of("--ranges", self.ranges, RANGES)
        one_of("--rounding", self.rounding, ROUNDINGS)
        for backend in self.benchmark:
            # Behind a question mark stand options, which the benchmark knows.
            known = "delegate:PATH" if backend.startswith("delegate:") else backend.split("?")[0]
            one_of("--benchmark", known, (*BENCHMARK_BACKENDS, "none"))
        require(
            "none" not in self.benchmark or len(self.benchmark) == 1,
            "--benchmark none excludes every other backend",
        )
        if self.distil is not None:
            Distillation(losses=self.distil)
        object.__setattr__(self, "options", dict(self.options))
        object.__setattr__(self, "teacher", tuple(self.teacher))

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as JSON values."""
        return {
            **dataclasses.asdict(self),
            "benchmark": list(self.benchmark),
            "teacher": list(self.teacher),
        }
