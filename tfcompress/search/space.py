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

    def scaled(self, factor: float) -> Choice | None:
        """Returns the choice that takes so many times the bytes and time, nearly.

        Its first option that they follow is changed: by a value at least, if there is one.

        >>> Choice("channels", {"channels.macs_ratio": 0.5}).scaled(0.62).texts
        {'channels.macs_ratio': '0.3'}
        """
        for name, value in self.options.items():
            technique, _, option = name.partition(".")
            values = ranges(techniques.get(technique).options)[option]
            if not values.grows:
                continue
            limit = value * factor ** (1 / values.grows)
            found = values.at_most(limit)
            if found is not None and factor < 1 and found >= value:
                found = values.at_most(value * (1 - 1e-6))
            if found is None or found == value or (factor > 1 and found < value):
                return None
            changed = Choice(self.chain, {**self.options, name: found})
            return changed if allowed(changed) else None
        return None


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

    def drawn_as(self, choice: Choice) -> dict[str, Any]:
        """Returns by name the values that `draw` makes a choice of."""
        names = choice.chain.split("+") if choice.chain else []
        kinds = {"shape": self.shapes, "weights": self.weights}
        drawn = {
            kind: next((name for name in names if name in those), NONE)
            for kind, those in kinds.items()
            if those
        }
        return {**drawn, **choice.options}


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
