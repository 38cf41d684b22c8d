"""Compares networks on the same test images, those of several seeds together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfcompress.runtime.accuracy import paired_test

Row = Mapping[str, Any]


def packed(right: np.ndarray) -> str:
    """Writes on which images a network is right, a bit each, as a row of JSON holds it."""
    return np.packbits(right).tobytes().hex()


def right(texts: Iterable[str], images: int) -> np.ndarray:
    """Returns on which images networks are right, one network behind another.

    Args:
        texts: of `packed`.
        images: how many each of them saw.
    """
    bits = [np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in texts]
    return np.concatenate([each[:images] for each in bits]).astype(bool)


def gained(controls: Mapping[int, Row], rows: Mapping[int, Row], images: int) -> list[str]:
    """Returns two cells: the mean gain in points, and McNemar's p-value of it.

    Args:
        controls: by seed, rows with `accuracy` and `right`; of none both cells are empty.
        rows: of these seeds and perhaps of others.
        images: how many test images there are.
    """
    if not controls:
        return ["", ""]
    gains = [100 * (rows[seed]["accuracy"] - row["accuracy"]) for seed, row in controls.items()]
    before, after = (
        right((of[seed]["right"] for seed in controls), images) for of in (controls, rows)
    )
    return [f"{np.mean(gains):+.2f}", f"{paired_test(before, after).p_value:.2g}"]
