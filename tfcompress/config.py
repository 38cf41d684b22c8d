"""The settings of a run as frozen, validated values, and the error for what a user hands in.

Nothing here imports more than the standard library, so that a misspelled flag is answered at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

BENCHMARK_BACKENDS = ("cpu", "cpu-noxnn", "gpu", "gpu+cpu", "delegate:PATH")
Optimizer = Literal["adam", "sgd"]
Schedule = Literal["cosine", "constant", "step"]
AUGMENTATIONS = ("none", "flip", "flip+shift", "shift")
IO = ("float32", "int8", "uint8")
NORMALIZATIONS = ("auto", "standardize", "none", "unit", "symmetric")


class InputError(ValueError):
    """What the user handed in can't be used.

    The message is one line that says what was wrong and what would be right; the runner prints it
    behind `error:` and exits with 2.
    """


class ExportError(RuntimeError):
    """A file failed its audit or its parity check; nothing was written.

    It stands here for the commands, which say it in one line and don't import what exports.
    """


def unknown_name(what: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that isn't in a list: says the nearest one, or all of them.

    >>> str(unknown_name("technique", "xnr", ["baseline", "xnor"]))
    "unknown technique 'xnr': did you mean 'xnor'? Known: baseline, xnor"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return InputError(f"unknown {what} '{name}': {hint}Known: {', '.join(known) or 'none'}")


def require(condition: bool, message: str) -> None:
    """Raises `InputError(message)` unless the condition holds."""
    if not condition:
        raise InputError(message)


def one_of(flag: str, value: str, allowed: Iterable[str]) -> None:
    """Raises `InputError` unless the value is one of the allowed words."""
    allowed = tuple(allowed)
    require(value in allowed, f"{flag} must be one of {', '.join(allowed)}; got '{value}'")


def parse_assignments(pairs: Iterable[str]) -> dict[str, str]:
    """`["rank=64", "width=2"]` as `{"rank": "64", "width": "2"}`.

    Raises:
        InputError: a pair has no `=`, no key, or repeats a key.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        require(bool(equals and key), f"--set takes key=value, as in --set width=2; got '{pair}'")
        require(key not in values, f"--set {key} is given twice")
        values[key] = value.strip()
    return values


def option_types(target: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only options of a dataclass or function, by name, with their annotated types."""
    # Of a dataclass itself: the annotations of a base in another module are of that module's names.
    plain = inspect.isclass(target) and not dataclasses.is_dataclass(target)
    hints = typing.get_type_hints(target.__init__ if plain else target)
    return {
        name: hints.get(name, str)
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def typed_options(target: Callable[..., Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Converts option texts to the types that a dataclass or function annotates.

    Args:
        target: a dataclass or function whose keyword-only parameters are the options.
        texts: option name to text, as `parse_assignments` gives them.

    Returns:
        Option name to a value of the annotated type.

    Raises:
        InputError: an option that the target doesn't have, or a text that isn't of its type.
    """
    kinds = option_types(target)
    for key in texts:
        if key not in kinds:
            raise unknown_name("option", key, kinds)
    return {key: _typed(key, text, kinds[key]) for key, text in texts.items()}


def _typed(key: str, text: str, kind: Any) -> Any:
    """One option's text as a value of its annotated type."""
    members = [kind]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        members = list(typing.get_args(kind))
    if type(None) in members and text.lower() == "none":
        return None
    for member in members:
        if member is bool:
            if text.lower() in ("true", "1", "yes"):
                return True
            if text.lower() in ("false", "0", "no"):
                return False
        elif member is str:
            return text
        elif typing.get_origin(member) is Literal:
            if text in typing.get_args(member):
                return text
        elif typing.get_origin(member) is tuple:
            parts = (part.strip() for part in text.split(",") if part.strip())
            return tuple(_typed(key, part, typing.get_args(member)[0]) for part in parts)
        elif member in (int, float):
            try:
                return member(text)
            except ValueError:
                continue
    wanted = " or ".join(_described(member) for member in members if member is not type(None))
    raise InputError(f"option {key} takes {wanted}; got '{text}'")


def _described(kind: Any) -> str:
    """What a value of this type looks like.

    >>> _described(float), _described(Literal["a", "b"])
    ('a number', 'one of a, b')
    """
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(kind, "values with commas between them")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

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
        require(self.epochs >= 0, f"--epochs must be 0 or more; got {self.epochs}")
        require(self.batch_size >= 1, f"--batch_size must be 1 or more; got {self.batch_size}")
        require(
            0 < self.learning_rate < float("inf"),
            f"--learning_rate must be a positive number; got {self.learning_rate}",
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run of the pipeline, as the flags of `tfcompress.run` give it.

    `None` means "as the technique, the model or the data set has it".
    """

    technique: str = "xnor"
    model: str = "vgg_small"
    dataset: str = "fashion_mnist_small"
    data_dir: str | None = None
    image_size: int | None = None
    augment: str | None = None
    normalization: str = "auto"
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
        """The settings as JSON values."""
        return {**dataclasses.asdict(self), "benchmark": list(self.benchmark)}
