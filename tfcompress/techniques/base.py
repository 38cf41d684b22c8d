"""What a technique is, and how one is found by name."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfcompress.config import InputError, Training, typed_options, unknown_name

if TYPE_CHECKING:
    import keras


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


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What travels through a chain of techniques.

    Attributes:
        model: the Keras model as far as it has come.
        layers: the report's lines so far.
    """

    model: keras.Model
    layers: tuple[LayerLine, ...] = ()


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
    """

    name: str
    summary: str
    reference: str
    options: type
    start: Start
    transform: Callable[[Candidate, Any], Candidate]
    training: Callable[[Any], Training]
    storage: str

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
        if module.name != "base" and not module.name.startswith("_")
    )


def get(name: str) -> Technique:
    """One technique by name.

    Raises:
        InputError: no technique has that name, or it is a chain, which isn't supported.
    """
    if "+" in name:
        raise InputError(
            f"chains of techniques aren't supported yet; got '{name}': give one of "
            f"{', '.join(names())}"
        )
    if name not in names():
        raise unknown_name("technique", name, names())
    return importlib.import_module(f"tfcompress.techniques.{name}").TECHNIQUE
