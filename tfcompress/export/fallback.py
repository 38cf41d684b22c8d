"""Lets the most harmful layers keep more bits, until a file agrees with Keras."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tfcompress.export import mixed
from tfcompress.export.exported import LayerBits
from tfcompress.export.storage import BuiltFile, Rebuild
from tfcompress.export.verified import Verified
from tfcompress.runtime.rows import Rows

# Groups of neighbouring layers that are judged alone: a file is written for each, and one for each
# halving of their number then.
_GROUPS = 24
# Images that they are judged on.
_IMAGES = 32


def agreeing(
    built: BuiltFile,
    first: Verified,
    judged: Sequence[np.ndarray | Rows],
    verify: Callable[[BuiltFile], Verified],
) -> tuple[BuiltFile, Verified]:
    """Writes a file that differs too much from Keras again, with more bits where it helps most.

    Every layer is rounded alone first (of many layers, every group of neighbours), and the rms of
    what that does to the outputs orders them. Then as few of the worst as will do keep the next
    higher precision, by halving. One layer, or group, at least has the storage's own.

    Args:
        built: the file that failed, which is written in its place again.
        first: what was found of it.
        judged: real images, normalised, to judge layers on; and others, for where these don't help:
            images that gave the ranges don't show what the ranges cut.
        verify: completes a file in its place and compares it with Keras.

    Returns:
        The file that agrees and what was found of it; the first one as it was if none does.
    """
    rebuild = built.rebuild
    if rebuild is None or len(rebuild.more) < 2:
        return built, first
    original = _copy(built.path, "first")
    for images in judged:
        best = _tried(built, rebuild, images[:_IMAGES], verify)
        if best is not None:
            return best
    shutil.copyfile(original, built.path)
    return built, first


def _tried(
    built: BuiltFile,
    rebuild: Rebuild,
    images: np.ndarray | Rows,
    verify: Callable[[BuiltFile], Verified],
) -> tuple[BuiltFile, Verified] | None:
    """Writes the file with more bits where these images say that it helps; None if it doesn't."""
    groups, whole = _groups(rebuild)
    everything = [op for group in whole for op in group]
    alone = [[op for op in everything if op not in group] for group in whole]
    errors, _ = mixed.output_errors(built.path, images, rebuild.write, everything, alone)
    order = sorted(range(len(groups)), key=lambda group: -errors[group])

    def passing(count: int) -> tuple[BuiltFile, Verified] | None:
        """Writes the file with more bits for the worst groups; None if it still differs."""
        kept = {name: errors[group] for group in order[:count] for name in groups[group]}
        higher = [op for group in order[:count] for op in whole[group]]
        rebuild.write(higher)
        reasons = _reasons(rebuild, kept)
        file = dataclasses.replace(
            built,
            kept=built.kept | reasons,
            bits=dict(built.bits)
            | {name: _raised(built.bits[name]) for name in reasons if name in built.bits},
            higher=frozenset(higher),
            notes=(*built.notes, *(f"layer '{name}' {why}" for name, why in reasons.items())),
        )
        found = verify(file)
        return None if found.difference is not None else (file, found)

    few, enough = 0, len(groups) - 1
    best = passing(enough)
    if best is None:
        return None
    passed = _copy(built.path, "passed")
    while enough - few > 1:
        middle = (few + enough) // 2
        fewer = passing(middle)
        if fewer is None:
            few = middle
        else:
            best, enough, passed = fewer, middle, _copy(built.path, "passed")
    shutil.copyfile(passed, built.path)
    return best


def _groups(rebuild: Rebuild) -> tuple[list[list[str]], list[list[str]]]:
    """Returns neighbouring layers in groups, and the same with the ops that go with them."""
    names = list(rebuild.more)
    groups = [list(part) for part in np.array_split(names, min(len(names), _GROUPS))]
    whole = [
        [op for name in group for op in (name, *rebuild.behind.get(name, ()))] for group in groups
    ]
    return groups, whole


def _raised(layer: LayerBits) -> LayerBits:
    """Returns what a layer has with 8 bits in place of the fewer that it was allotted."""
    return dataclasses.replace(layer, bits=8, size_bytes=layer.size_bytes * 8 // layer.bits)


def _copy(path: Path, name: str) -> Path:
    """Copies a file beside itself, under another name."""
    return Path(shutil.copyfile(path, path.with_name(f"{name}-{path.name}")))


def _reasons(rebuild: Rebuild, kept: dict[str, float]) -> dict[str, str]:
    """Says why layers got more bits, by their names."""
    return {
        rebuild.layers[name]: f"kept {rebuild.more[name]}: with fewer bits the file differs too "
        f"much from Keras, and this part alone changes the outputs by {error:.1%} of their rms"
        for name, error in kept.items()
    }
