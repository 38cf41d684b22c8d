"""What a run tells of the data that it was given: in its first lines, its report and its files."""

# Annotations are values here, not texts: pdoc looks those up in the modules of derived classes.
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tfcompress.data.protocol import Data


class DescribedData(Data, Protocol):
    """Data that `tfcompress.data.load` returns: examples, and what is known of them."""

    @property
    def local(self) -> bool:
        """Whether they are the user's own files, whose folder nothing that is written tells."""
        ...

    @property
    def public_name(self) -> str:
        """The name without the folders that local data lie in."""
        ...

    @property
    def licence(self) -> str:
        """The licence of the data, or that none is stated."""
        ...

    @property
    def source(self) -> str:
        """Where the data come from."""
        ...

    @property
    def split(self) -> str:
        """A sentence that says how training and test examples were told apart."""
        ...

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes of the targets; None if these are no classes, or their names unknown."""
        ...

    @property
    def metric(self) -> str | None:
        """The metric that the source judges by; None for what follows from the targets."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one example's input; None where there are several, or it isn't known."""
        ...

    @property
    def num_outputs(self) -> int | None:
        """Classes, or values of one target, that a builder's last layer needs; None if unknown."""
        ...

    @property
    def model_options(self) -> Mapping[str, Any]:
        """What a builder is told of the data, unless the user sets it; others heed none of it."""
        ...

    @property
    def preparation(self) -> Mapping[str, Any]:
        """How an input was made of what the user gave, in values that JSON has."""
        ...

    @property
    def test_examples(self) -> int | None:
        """The number of held-out examples; None of a stream."""
        ...

    def describe(self) -> str:
        """Returns one line: how many examples there are, and of what."""
        ...


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Description:
    """Holds what `DescribedData` has besides its examples.

    Attributes:
        name: as it was asked for, for errors and reports.
        local: whether the data are the user's own files.
        licence: of the data, or that none is stated.
        source: where they come from.
        split: a sentence that says how training and test examples were told apart.
        class_names: the classes of the targets; None if these are no classes.
        metric: what the source judges by; None for what follows from the targets.
        model_options: options that the builders which have them are given.
        preparation: how an input was made of what the user gave, in values that JSON has: what a
            program that uses the model has to do, too.
        units: what the examples are called, such as `rows`.
        details: what `describe` says behind their number.
    """

    name: str = "the data"
    local: bool = True
    licence: str = "not stated: data of the user's own"
    source: str = "memory"
    split: str = ""
    class_names: tuple[str, ...] | None = None
    metric: str | None = None
    model_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preparation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    units: str = "examples"
    details: str = ""

    @property
    def public_name(self) -> str:
        """The name without the folders that local data lie in."""
        return public_name(self.name) if self.local else self.name


def public_name(name: str) -> str:
    """Returns a data set's name without folders.

    >>> public_name("folder:/home/ann/photos")
    'folder:photos'
    """
    before, colon, after = name.partition(":")
    return f"{Path(before).name}{colon}{Path(after).name}"
