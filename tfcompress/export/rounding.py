"""Measures what rounding in another order may make of a model's outputs.

A network with large factors, such as one whose weights are random, makes much of the last bits of
its floats: Keras's own outputs are then off by as much as a right file's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np

from tfcompress.export import sign_flips
from tfcompress.graph import clone
from tfcompress.graph.rewrite import functional, operations
from tfcompress.ops.differences import nudged, relative_rms
from tfcompress.runtime.rows import Rows

# Of a value: half the distance to the next float.
UNIT = float(np.finfo(np.float32).eps) / 2
# Units of a value that isn't a sum: functions such as exp and tanh are right to about as many.
_FEW = 4.0
# Of the largest output: a file that differs by more is refused, whatever the model makes of it.
MOST = 1e-3


@dataclasses.dataclass(frozen=True)
class Rounding:
    """By how much rounding may move an output.

    Attributes:
        largest: the largest difference, as a share of the output's largest value.
        relative_rms: rms of the differences by rms of the output.
    """

    largest: float = 0.0
    relative_rms: float = 0.0


NO_ROUNDING = Rounding()


def allowances(
    model: keras.Model, images: np.ndarray | Rows, expected: Sequence[np.ndarray]
) -> list[Rounding]:
    """Returns by how much a right file's outputs may differ from Keras's, at most `MOST`.

    A sum of n products in floats is the exact sum of products that are each off by about sqrt(n)
    units of rounding (Higham and Mary, "A New Approach to Probabilistic Rounding Error Analysis",
    2019). So what rounding makes of the outputs is what the model makes of weights and inputs that
    are changed by as much, up or down at random. Keras rounds, and so does the file: two such
    changes are drawn, and their differences add up. Signs, which jump, are told apart elsewhere:
    a model with some is allowed nothing here.

    Args:
        model: the Keras model.
        images: that were compared.
        expected: the model's outputs for them, of shape (images, values).
    """
    if sign_flips.has_signs(model):
        return [NO_ROUNDING] * len(expected)
    first, second = (_moved(model, Rows.of(images), expected, draw) for draw in (1, 2))
    return [
        Rounding(min(one.largest + other.largest, MOST), one.relative_rms + other.relative_rms)
        for one, other in zip(first, second, strict=True)
    ]


def _moved(
    model: keras.Model, rows: Rows, expected: Sequence[np.ndarray], draw: int
) -> list[Rounding]:
    """Returns how outputs differ when weights and inputs are changed as by rounding."""
    copy = clone(model)
    for place, layer in enumerate(operations(copy)):
        if isinstance(layer, keras.layers.Layer) and layer.weights:
            layer.set_weights(
                [
                    nudged(values, UNIT * _units(layer, values.shape), (draw, place, index))
                    for index, values in enumerate(layer.get_weights())
                ]
            )
            if hasattr(layer, "finalize_state"):  # What adapted layers compute with.
                layer.finalize_state()
    changed = Rows(
        nudged(array, UNIT * _FEW, (draw, index)) for index, array in enumerate(rows.arrays)
    )
    others = sign_flips.outputs(copy, functional(copy).outputs, changed)
    return [
        Rounding(
            float(np.abs(other - one).max()) / max(float(np.abs(one).max()), 1e-30),
            relative_rms(one, other),
        )
        if np.isfinite(other).all()
        else NO_ROUNDING
        for one, other in zip(expected, others, strict=True)
    ]


def _units(layer: keras.layers.Layer, shape: Sequence[int]) -> float:
    """Returns by how many units of rounding a sum over a weight is off, or a value by itself.

    Args:
        layer: that the weight belongs to.
        shape: of the weight. Kernels have the axis of the sums' results last.
    """
    terms = 1
    if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
        terms = math.prod(layer.kernel_size)
    elif len(shape) > 1 and not isinstance(layer, keras.layers.Embedding):  # It only looks up.
        terms = math.prod(shape[:-1])
    return max(_FEW, terms**0.5)
