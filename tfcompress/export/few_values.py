"""Says which weights of a file of floats need fewer bytes, and which storage gives them fewer.

A training for a few bits leaves weights of a few values. Written as floats they take as many bytes
as any others, which looks as if the technique had done nothing.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from keras import layers

from tfcompress.export import codebooks
from tfcompress.export.exact_grids import grid_steps
from tfcompress.export.storage import ModelTraits
from tfcompress.export.traits import hashed_layers
from tfcompress.graph.rewrite import operations
from tfcompress.tflite.weighted_ops import one_magnitude

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
# A filter of fewer weights lies on some grid by chance.
_LEAST_WEIGHTS = 4
# From which share of zeros on their places take fewer bytes than they do.
_ZEROS = 0.5
# How often each value must come, on the average, for a container to be much smaller.
_REPEATED = 8
# Weights by which values that repeat are ruled out before all are looked at.
_LOOKED_AT = 4096
# The share of all weights' bytes that must be spared to be worth a sentence.
_WORTH = 0.1
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class _Way:
    """How weights take fewer bytes.

    Attributes:
        needs: what the weights need, or are.
        bits: of a weight then; 0 where that depends on the weights.
        advice: what writes them so.
    """

    needs: str
    bits: int
    advice: str


_PACK = "python -m tfcompress.pack makes a small container of the file"
_GRIDS = {
    2: _Way("need 2 bits each", 2, "storage 'int2' writes them so, for newer runtimes"),
    4: _Way("need 4 bits each", 4, "storage 'int4' writes them so where that isn't slower"),
    8: _Way("need 8 bits each", 8, "storage 'dynamic' writes them so"),
}
_BIT = _Way("need 1 bit each", 1, "storage '1bit' writes them so")
_SIGNS = _Way("need 1 bit each", 1, f"{_BIT.advice}, and 'xnor' multiplies by bits")
_ZERO = _Way("are mostly zeros", 0, f"storage 'sparse' leaves these out, and {_PACK}")
_EQUAL = _Way("share few values", 0, _PACK)
_BOOK = _Way("are blocks of a codebook", 0, "storage 'pq' writes the codebook instead")


def notes(model: keras.Model, lowered: keras.Model, traits: ModelTraits) -> tuple[str, ...]:
    """Returns a sentence for each way to write the model's weights in fewer bytes.

    Args:
        model: what was asked for.
        lowered: the same in built-in layers, as it stands in the file of floats.
        traits: of the model.
    """
    if books := codebooks.of(model):
        return (_sentence(_BOOK, [f"{len(books)} layers"], sum(b.matrix.nbytes for b in books)),)
    in_buckets = {layer.name for layer in hashed_layers(operations(model))}
    total, found = 0, dict[_Way, list[tuple[str, int]]]()
    for layer in operations(lowered):
        if not isinstance(layer, (layers.Dense, *_CONVOLUTIONS, *_DEPTHWISE)):
            continue
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        total += kernel.nbytes
        width = -2 if isinstance(layer, _DEPTHWISE) else -1
        way = _way(kernel.reshape(-1, np.prod(kernel.shape[width:])).T)
        if way is _BIT and traits.binary_inputs:
            way = _SIGNS
        if way is not None and layer.name not in in_buckets:
            found.setdefault(way, []).append((layer.name, kernel.nbytes))
    sizes = {way: sum(size for _, size in of) for way, of in found.items()}
    return tuple(
        _sentence(way, [name for name, _ in of], sizes[way])
        for way, of in found.items()
        if sizes[way] * (1 - way.bits / 32) > _WORTH * total
    )


def _way(rows: np.ndarray) -> _Way | None:
    """Returns how weights take fewer bytes, None if not at all.

    Args:
        rows: a filter in each, (filters, weights).
    """
    first = rows[:1]  # Rules out most at once: there may be 100 million weights.
    if rows.shape[1] >= _LEAST_WEIGHTS and rows.any():
        if one_magnitude(first) and one_magnitude(rows):
            return _BIT
        for bits, way in _GRIDS.items():
            if grid_steps(first, bits) is not None and grid_steps(rows, bits) is not None:
                return way
    if np.mean(rows == 0) >= _ZEROS:
        return _ZERO
    weights = rows.ravel(order="K")  # As they lie in memory, without a copy.
    part = weights[:_LOOKED_AT]
    if len(np.unique(part)) * 2 > len(part):
        return None
    return _EQUAL if len(np.unique(weights)) * _REPEATED <= weights.size else None


def _sentence(way: _Way, names: list[str], size: int) -> str:
    """Says what the weights of some layers need, what they take and what writes them so."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    takes = f"take {size / 1024:,.1f} KiB as floats"
    if way.bits:
        takes += f", which would be {size * way.bits / 32 / 1024:,.1f}"
    return f"the weights of {', '.join(names[:_NAMED])}{more} {way.needs} and {takes}: {way.advice}"
