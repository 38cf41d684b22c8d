"""What a technique is, and how one is found by name."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tfcompress.config import Training
from tfcompress.errors import unknown_name
from tfcompress.options import typed_options

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tfcompress.data.dataset import Dataset
    from tfcompress.training.context import Row, TrainingContext

# Training images that calibrations and reconstructions are given.
SAMPLES = 256
# What layers of ours are and stay, whatever is done to the others or trained.
STRUCTURES = frozenset({"binary", "buckets"})


class Start(enum.Enum):
    """What a technique's transform takes."""

    SCRATCH = "new weights"
    TRAINED = "a trained baseline"


@dataclasses.dataclass(frozen=True)
class LayerLine:
    """What was done to one layer, and why, for the report.

    Attributes:
        name: the layer's.
        kind: its class name before.
        action: one or two words, such as `binarised` or `kept`.
        reason: why, in plain words.
    """

    name: str
    kind: str
    action: str
    reason: str


def _silent(stage: str, text: str) -> None:
    """Tells nobody."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What travels through a chain of techniques.

    Attributes:
        model: the Keras model as far as it has come.
        layers: the report's lines so far.
        samples: some training images as the model takes them, float32 (images, height, width,
            channels), or None where there is no data.
        say: is told a stage and what was done in it, such as each layer that is decomposed; nobody
            by default.
        properties: what earlier techniques made of the weights and later ones must keep: of the
            words of `Technique.produces`.
        validation: `images`, `labels` and `max_drop` by which the export chooses layers that keep
            more bits; empty if it isn't to choose.
    """

    model: keras.Model
    layers: tuple[LayerLine, ...] = ()
    samples: np.ndarray | None = None
    say: Callable[[str, str], None] = _silent
    properties: frozenset[str] = frozenset()
    validation: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def then(self, model: keras.Model, *lines: LayerLine) -> Candidate:
        """The candidate with a new model and further lines."""
        return dataclasses.replace(self, model=model, layers=(*self.layers, *lines))


class Fit(Protocol):
    """How a technique trains a transformed candidate."""

    def __call__(
        self,
        candidate: Candidate,
        options: Any,
        data: Dataset,
        training: Training,
        context: TrainingContext,
        /,
    ) -> tuple[Candidate, list[Row]]:
        """Returns the trained candidate, and one row an epoch as `training.fit` does."""
        ...


def fit_keras(
    candidate: Candidate,
    options: Any,
    data: Dataset,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains the Keras model itself, in place, as most techniques do."""
    from tfcompress.training import fit  # Names are listed without it.

    return candidate, fit(candidate.model, data, training, context)


def once(candidate: Candidate, options: Any, settings: Training) -> Sequence[tuple[Any, Training]]:
    """The usual rounds: transformed and trained once."""
    return [(options, settings)]


def distilled(**settings: Any) -> Callable[[Any], Training]:
    """A technique's `training`: these settings, with the original network as the teacher."""
    training = Training(distillation_weight=0.7, distillation_temperature=4.0, **settings)
    return lambda options: training


def unchecked(candidate: Candidate, options: Any) -> object:
    """No check before the training: whether the technique fits depends on the trained weights."""
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Technique:
    """One way to compress a network: a value, not a class to inherit from.

    Attributes:
        name: the flag's value and the module's name.
        summary: one line for `--list`.
        reference: authors, year, arXiv id.
        options: frozen dataclass of the hyper-parameters, all with defaults.
        start: what `transform` takes.
        transform: from a candidate and options to a candidate with weights of its own.
        training: how the transformed model is trained, from the options.
        storage: how the export writes it unless told otherwise.
        fit: trains the transformed candidate and returns it with the history.
        rounds: the technique as rounds of (options, training), each of which transforms and
            trains what the one before it left; from the candidate before the first.
        check: raises what `transform` would for this network, trained or not, in a second or so;
            the command calls it before the baseline is trained.
        produces: what it makes of the weights that a later technique could undo: `binary`,
            `buckets`, `sparsity`, `clusters`, `quantised`.
        preserves: what of that, made by earlier ones, it doesn't undo.
    """

    name: str
    summary: str
    reference: str
    options: type
    start: Start
    transform: Callable[[Candidate, Any], Candidate]
    training: Callable[[Any], Training]
    storage: str
    fit: Fit = fit_keras
    rounds: Callable[[Candidate, Any, Training], Sequence[tuple[Any, Training]]] = once
    check: Callable[[Candidate, Any], object] = unchecked
    produces: frozenset[str] = frozenset()
    preserves: frozenset[str] = STRUCTURES

    def make_options(self, **values: Any) -> Any:
        """The options with these values; texts are converted to their types.

        Raises:
            InputError: an unknown option or a value that it can't have.
        """
        texts = {key: value for key, value in values.items() if isinstance(value, str)}
        for key in values:
            if key not in self.options.__dataclass_fields__:  # type: ignore[attr-defined]
                raise unknown_name(
                    f"option of {self.name}",
                    key,
                    self.options.__dataclass_fields__,  # type: ignore[attr-defined]
                )
        return self.options(**{**values, **typed_options(self.options, texts)})


def names() -> list[str]:
    """The techniques' names, without importing them."""
    package = importlib.import_module("tfcompress.techniques")
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if module.name not in ("base", "chains") and not module.name.startswith("_")
    )


def get(name: str) -> Technique:
    """One technique by name.

    Raises:
        InputError: no technique has that name.
    """
    if name not in names():
        raise unknown_name("technique", name, names())
    return importlib.import_module(f"tfcompress.techniques.{name}").TECHNIQUE
