"""The transfer sets that are made, by their names; nothing here needs more than the names."""

from __future__ import annotations

import dataclasses
import os

from tfcompress import data as data_sets
from tfcompress.errors import require

INVERTED = "inverted"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of transfer set that is made, not read.

    Attributes:
        pattern: how its name is written: `half`, `noise:N`, or `inverted[:N]` where the count may
            be left out.
        summary: one line for `--list`.
        usual: what stands for a count that is left out.
    """

    pattern: str
    summary: str
    usual: int = 0

    @property
    def word(self) -> str:
        """The name's first word."""
        return self.pattern.partition(":")[0].rstrip("[")

    def count(self, name: str) -> int:
        """Returns the count in a name, 0 of a kind that takes none.

        Raises:
            InputError: it is missing, no positive number, or too much.
        """
        counted = ":" in self.pattern
        if name == self.word and (self.usual or not counted):
            return self.usual
        text = name.partition(":")[2]
        right = counted and text.isascii() and text.isdigit() and 0 < int(text) <= 10_000_000
        require(right, f"transfer set '{name}' must be {self.pattern}{', N examples' * counted}")
        return int(text)


KINDS = (
    Kind("half", "the labels of one half of the training examples, the inputs of the other"),
    Kind("mixup:N", "mixtures of pairs of N training examples"),
    Kind("noise:N", "N examples of noise: the control, which must fail"),
    Kind(f"{INVERTED}[:N]", "N images made from the teacher alone (DeepInversion)", usual=1024),
    Kind("munge:N", "N rows made of a table's rows and their neighbours (Bucila et al. 2006)"),
)


def kind_of(name: str) -> Kind | None:
    """Returns the kind of a transfer set that is made; None of a data set's name."""
    word = name.partition(":")[0]
    return next((kind for kind in KINDS if kind.word == word), None)


def is_inverted(name: str | None) -> bool:
    """Says whether a transfer set is made from the teacher, once there is one."""
    kind = None if name is None else kind_of(name)
    return kind is not None and kind.word == INVERTED


def names() -> dict[str, str]:
    """Returns the patterns of the sets that are made, each with a line that explains it."""
    return {kind.pattern: kind.summary for kind in KINDS}


def check_name(name: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Checks a transfer set's name, without reading any data.

    Raises:
        InputError: it is no transfer set's.
    """
    kind = kind_of(name)
    if kind is None:
        data_sets.check_name(name, data_dir)
    else:
        kind.count(name)


def runs_code(name: str) -> bool:
    """Says whether reading a transfer set runs code of the user's own."""
    return kind_of(name) is None and data_sets.runs_code(name)
