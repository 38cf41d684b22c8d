"""Defines what a technique is, and finds one by its name."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from tfcompress.config import Distillation, Training
from tfcompress.errors import unknown_name
from tfcompress.options import check_types, ranges, typed_options

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext
    from tfcompress.training.objective import Objective

# Training images that calibrations and reconstructions are given.
SAMPLES = 256


class Property(enum.StrEnum):
    """What a technique makes of a network's weights, and a later technique could undo.

    Attributes:
        undoing: what a later technique that doesn't preserve it would do, for the error message.
    """

    undoing: str

    BINARY = "binary", "it would turn the binary layers into float ones"
    BUCKETS = "buckets", "it would expand the shared weights"
    SPARSITY = "sparsity", "it would fill the zeros again"
    CLUSTERS = "clusters", "it would spread the shared values again"
    GRIDS = "grids", "it would move the weights off the few values that they were trained for"
    QUANTISED = "quantised", "it would change the quantised weights"

    def __new__(cls, word: str, undoing: str) -> Self:
        """Makes a member that equals its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.undoing = undoing
        return member


ActsIn = Literal["transform", "training", "export"]

# What layers of ours are and stay, whatever is done to the others or trained.
STRUCTURES = frozenset({Property.BINARY, Property.BUCKETS})


@dataclasses.dataclass(frozen=True)
class LayerLine:
    """Says for the report what was done to one layer, and why.

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


@dataclasses.dataclass(frozen=True)
class LayerWidth:
    """Says how many channels, or other parts of one kind, a layer makes before and after.

    Attributes:
        name: the layer's; with the kind's name behind a colon where it makes several kinds.
        before: how many it had.
        after: how many are left.
        frozen: why all of them had to stay; empty if some could go.
    """

    name: str
    before: int
    after: int
    frozen: str


@dataclasses.dataclass(frozen=True, eq=False)
class Control:
    """Holds a network that the command trains beside the compressed one, to compare with.

    Attributes:
        model: with the weights to start from; it is trained in place.
        name: what the report calls it, as in `the same widths from scratch`.
        training: how it learns from the labels; None for as the baseline does, for as many epochs
            as the baseline and the technique take together.
    """

    model: keras.Model
    name: str
    training: Training | None = None

    def settings(self, baseline: Training, epochs: int) -> Training:
        """Returns how it is trained.

        Args:
            baseline: how the float network is.
            epochs: of the float network and the technique together.
        """
        return self.training or dataclasses.replace(baseline, epochs=epochs)


# What a network's file can keep a share of.
Measured = Literal["size", "latency"]


def _silent(stage: str, text: str) -> None:
    """Prints nothing."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Holds what travels through a chain of techniques: the model, and what is known of it.

    Attributes:
        model: the Keras model as far as it has come.
        layers: the report's lines so far.
        samples: some training images as the model takes them, float32 (images, height, width,
            channels), or None where there is no data.
        data: of the training, for techniques that look at targets; None where there is none.
            `chains.apply` sets it.
        objective: what the training minimises if the user says so; None for what fits.
            `chains.apply` sets it.
        say: is called with a stage and what was done in it, such as each layer that is
            decomposed; by default nothing comes of it.
        properties: what earlier techniques made of the weights and later ones must keep;
            `chains.apply` adds what each technique produces, and nobody else does.
        validation: `images`, `labels` and `max_drop` by which the export chooses layers that keep
            more bits; empty if it isn't to choose.
        noise_budget: bits in every layer whose noise the export may make by allotting others; None
            if it isn't to allot.
        file_ratio: writes two models as float32 files, and returns what share of the first one's
            bytes (`size`) or time (`latency`) the second one takes; None where no file is written.
        judge: returns what a model is worth on the held-out examples; None where nobody asks.
        milestones: what models on the way were worth, by what had been done by then.
        widths: of the layers that techniques made narrower, or tried to.
        control: what the command trains to compare with; None where that isn't wanted.
    """

    model: keras.Model
    layers: tuple[LayerLine, ...] = ()
    samples: np.ndarray | None = None
    data: Data | None = None
    objective: Objective | None = None
    say: Callable[[str, str], None] = _silent
    properties: frozenset[Property] = frozenset()
    validation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    noise_budget: int | None = None
    file_ratio: Callable[[keras.Model, keras.Model, Measured], float] | None = None
    judge: Callable[[keras.Model], float] | None = None
    milestones: tuple[tuple[str, float], ...] = ()
    widths: tuple[LayerWidth, ...] = ()
    control: Control | None = None

    def then(self, model: keras.Model, *lines: LayerLine) -> Candidate:
        """Returns the candidate with a new model and further lines."""
        return dataclasses.replace(self, model=model, layers=(*self.layers, *lines))

    def judged(self, done: str, model: keras.Model) -> Candidate:
        """Returns the candidate with what a model on the way is worth, where somebody asks.

        Args:
            done: what had been done by then, as in `channels cut out`.
            model: as it is then.
        """
        if self.judge is None:
            return self
        value = self.judge(model)
        self.say("judged", f"{done}: {value:.4g} on the held-out examples")
        return dataclasses.replace(self, milestones=(*self.milestones, (done, value)))


class Fit(Protocol):
    """How a technique trains a transformed candidate."""

    def __call__(
        self,
        candidate: Candidate,
        options: Any,
        data: Data,
        training: Training,
        context: TrainingContext,
        /,
    ) -> tuple[Candidate, list[Row]]:
        """Returns the trained candidate, and one row an epoch as `training.fit` does."""
        ...


def fit_keras(
    candidate: Candidate,
    options: Any,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains the Keras model itself, in place, as most techniques do."""
    from tfcompress.training import fit  # Names are listed without it.

    return candidate, fit(candidate.model, data, training, context)


def once(candidate: Candidate, options: Any, settings: Training) -> Sequence[tuple[Any, Training]]:
    """Transforms and trains once, as most techniques do."""
    return [(options, settings)]


def shared(settings: Training, count: int) -> list[Training]:
    """Shares a training's epochs out among rounds; the last one takes those left over."""
    epochs = [settings.epochs // count] * (count - 1)
    epochs.append(settings.epochs - sum(epochs))
    return [dataclasses.replace(settings, epochs=each) for each in epochs]


def distilled(**settings: Any) -> Callable[[Any], Training]:
    """Makes a technique's `training`: these settings, with the original network as teacher."""
    training = Training(distillation=Distillation(), **settings)
    return lambda options: training


def unchecked(candidate: Candidate, options: Any) -> object:
    """Checks nothing: whether the technique fits depends on the trained weights."""
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Technique:
    """One way to compress a network: a value, not a class to inherit from.

    Attributes:
        name: the flag's value and the module's name.
        summary: one line for `--list`.
        reference: authors, year, arXiv id.
        options: frozen dataclass of the hyper-parameters, all with defaults.
        transform: from a candidate and options to a candidate with weights of its own.
        training: how the transformed model is trained, from the options.
        storages: how the export writes it by default: one file each, the first one on any machine,
            the others where they can be had.
        fit: trains the transformed candidate and returns it with the history.
        rounds: from the candidate before the first round, the options and the training to rounds
            of (options, training), each of which transforms and trains what came of the one
            before it.
        check: raises what `transform` would for this network, trained or not, in a second or so;
            the command calls it before the baseline is trained.
        sketch: as `transform`, in a second or so: of the same layers, whatever their weights; None
            in place of a candidate if which layers these are depends on the trained weights. By
            default it is `transform`.
        produces: what it makes of the weights that a later technique could undo.
        preserves: what of that, made by earlier ones, it doesn't undo.
        prepare: from a candidate and options to a model that any training of the user's own turns
            into what the technique makes, by `tfcompress.callbacks` and `finish`; None where
            `transform` is all that it takes, or where nothing but `fit` knows how.
        acts_in: what changes the network's outputs: its `transform`; its `fit`, the transform
            only preparing for that; or the export alone, by how the weights are written.
        tried: whether a search tries it where it isn't told what to try. By default those are
            tried whose options say which of their values are.
        aliases: other words for it, as papers and other programs have them.

    Raises:
        InputError: `produces` or `preserves` has a word that is no `Property`.
    """

    name: str
    summary: str
    reference: str
    options: type
    transform: Callable[[Candidate, Any], Candidate]
    training: Callable[[Any], Training]
    storages: tuple[str, ...]
    fit: Fit = fit_keras
    rounds: Callable[[Candidate, Any, Training], Sequence[tuple[Any, Training]]] = once
    check: Callable[[Candidate, Any], object] = unchecked
    sketch: Callable[[Candidate, Any], Candidate | None] | None = None
    produces: frozenset[Property] = frozenset()
    preserves: frozenset[Property] = STRUCTURES
    prepare: Callable[[Candidate, Any], keras.Model] | None = None
    acts_in: ActsIn = "transform"
    tried: bool | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses words that no technique of a chain would know."""
        for field in ("produces", "preserves"):
            words = getattr(self, field)
            for word in words:
                if word not in [*Property]:
                    raise unknown_name(f"word in {field} of technique {self.name}:", word, Property)
            # A plain word becomes the property that equals it.
            object.__setattr__(self, field, frozenset(each for each in Property if each in words))
        if self.tried is None:
            object.__setattr__(self, "tried", bool(ranges(self.options)))

    @property
    def storage(self) -> str:
        """The first of `storages`."""
        return self.storages[0]

    def make_options(self, **values: Any) -> Any:
        """Makes the options from these values; texts are converted to their types.

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
        others = {key: value for key, value in values.items() if key not in texts}
        check_types(self.options, others, "option ")
        return self.options(**{**values, **typed_options(self.options, texts)})


def names() -> list[str]:
    """Returns the techniques' names, without importing them."""
    package = importlib.import_module("tfcompress.techniques")
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if module.name not in ("base", "chains") and not module.name.startswith("_")
    )


def get(name: str) -> Technique:
    """Imports one technique by its name, or by another word for it.

    Raises:
        InputError: no technique has that name.
    """
    if name in names():
        return _imported(name)
    for technique in map(_imported, names()):
        if name in technique.aliases:
            return technique
    raise unknown_name("technique", name, names())


def _imported(name: str) -> Technique:
    """Imports the technique of a module."""
    technique: Technique = importlib.import_module(f"tfcompress.techniques.{name}").TECHNIQUE
    return technique
