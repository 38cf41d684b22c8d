"""Gives a file's constants one zero in place of two."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfcompress.container.ranges import constants


def one_zero(path: Path) -> None:
    """Makes every negative zero of the long float constants a positive one, in place.

    The converter folds a batch normalisation's scale into the filter before it, and where that is
    negative a pruned filter's zeros become negative ones. Nothing computes otherwise for it, but
    what packs the file sees two values, one filter this and the next filter that.
    """
    data = bytearray(path.read_bytes())
    for one in constants(bytes(data), str(path)):
        if one.dtype == "float32":
            bits = np.frombuffer(data, "<u4", one.size_bytes // 4, one.start)
            bits[bits == 1 << 31] = 0
    path.write_bytes(data)
