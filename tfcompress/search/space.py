"""Which compressions a search tries: legal chains of techniques, and their options' values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfcompress import techniques
from tfcompress.errors import InputError, require
from tfcompress.options import Range, ranges
from tfcompress.techniques.base import Technique

# Stands in a choice for no technique of a kind.
NONE = "none"
# Gives a value for a name, one of those that a range has.
Suggest = Callable[[str, Range], Any]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One compression: a chain and the options that aren't its defaults.

    Attributes:
        chain: techniques with + between them; empty for the float network, as storages write it.
        options: values by `technique.option`.
    """

    chain: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        """Writes the chain with its options."""
        options = " ".join(f"{key}={text}" for key, text in self.texts.items())
        return f"{self.chain or 'baseline'} {options}".strip()

    @property
    def texts(self) -> dict[str, str]:
        """The options as `--set` takes them."""
        return {key: _text(value) for key, value in self.options.items()}


@dataclasses.dataclass(frozen=True)
class Space:
    """What a search draws from: at most one technique of each kind, in this order.

    Attributes:
        shapes: techniques that change the layers and leave the weights free.
        weights: techniques behind them, that make something of the weights.
    """

    shapes: tuple[str, ...]
    weights: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str] | None = None) -> Space:
        """Returns the space of some techniques, or of those that take part unless told otherwise.

        Raises:
            InputError: an unknown technique, or one that every search contains already.
        """
        chosen = [techniques.get(name) for name in (techniques.names() if names is None else names)]
        if names is None:
            chosen = [each for each in chosen if each.tried]
        for each in chosen:
            require(
                not _is_storage(each) and each.name != "baseline",
                f"{each.name} changes no weights, and each network is written in its storages "
                "anyway: leave it out of --techniques",
            )
        shapes = tuple(each.name for each in chosen if not each.produces)
        return cls(shapes, tuple(each.name for each in chosen if each.produces))

    def draw(self, suggest: Suggest) -> Choice | None:
        """Draws a chain and the values of its options; None if such a chain isn't allowed."""
        kinds = {"shape": self.shapes, "weights": self.weights}
        drawn = [suggest(kind, Range((NONE, *names))) for kind, names in kinds.items() if names]
        names = [name for name in drawn if name != NONE]
        options = {
            f"{name}.{option}": suggest(f"{name}.{option}", values)
            for name in names
            for option, values in ranges(techniques.get(name).options).items()
        }
        choice = Choice("+".join(names), options)
        return choice if allowed(choice) else None


def allowed(choice: Choice) -> bool:
    """Says whether the techniques may follow one another, and take these values together."""
    try:
        chain = techniques.chain(choice.chain) if choice.chain else ()
        techniques.make_steps(chain, choice.options, {})
    except InputError:
        return False
    return True


def _is_storage(technique: Technique) -> bool:
    """Says whether a technique does nothing but name a storage."""
    return technique.acts_in == "export" and not dataclasses.fields(technique.options)


def _text(value: Any) -> str:
    """Writes a value as `--set` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
