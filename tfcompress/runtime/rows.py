"""Holds what a model with several inputs takes: arrays whose rows belong together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tfcompress.errors import require

if TYPE_CHECKING:
    import numpy as np


class Rows:
    """Arrays of the same length, one an input, which are sliced together as one array would be.

    Args:
        arrays: in the inputs' order, the rows on each one's first axis.

    Attributes:
        arrays: as they were given.

    Raises:
        InputError: there are none, or they have different lengths.

    Example:
        >>> import numpy as np
        >>> rows = Rows([np.zeros((6, 4, 4, 3)), np.zeros((6, 5))])
        >>> [array.shape for array in rows[::2].arrays]
        [(3, 4, 4, 3), (3, 5)]
    """

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self.arrays = tuple(arrays)
        require(len(self.arrays) > 0, "there is no array of inputs")
        lengths = [len(array) if array.ndim else -1 for array in self.arrays]
        require(
            min(lengths) >= 0 and len(set(lengths)) == 1,
            "inputs that belong together must have one length; got the shapes "
            f"{', '.join(str(tuple(array.shape)) for array in self.arrays)}",
        )

    @classmethod
    def of(cls, values: np.ndarray | Rows) -> Rows:
        """Returns the rows of one array, or rows as they are."""
        return values if isinstance(values, Rows) else cls([values])

    def __len__(self) -> int:
        """Returns how many rows there are."""
        return len(self.arrays[0])

    def __getitem__(self, rows: Any) -> Rows:
        """Returns some of the rows: a slice, a list of numbers, or a mask."""
        return Rows(array[rows] for array in self.arrays)
