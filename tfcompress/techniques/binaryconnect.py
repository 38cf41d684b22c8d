"""Weights of two values, their signs or drawn by their size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfcompress.config import Training
from tfcompress.techniques._few_bits import technique
from tfcompress.techniques.base import Candidate, shared


@dataclasses.dataclass(frozen=True, kw_only=True)
class BinaryConnectOptions:
    """Hyper-parameters of BinaryConnect.

    Attributes:
        stochastic: whether the first half of the epochs draws each weight's sign by its size
            (section 2.3) instead of taking it. The second half takes the signs, which the file has:
            behind draws alone the normalisations hold statistics of other weights. A training of
            one epoch, or by a loop of your own, draws throughout.
    """

    stochastic: bool = False


class _Signs(BinaryConnectOptions):
    """The options of the epochs that take the signs."""


def _transform(candidate: Candidate, options: BinaryConnectOptions) -> Candidate:
    """Wraps the inner layers; layers that drew signs take them from now on."""
    if not isinstance(options, _Signs):
        return _WRAPS.transform(candidate, options)
    from tfcompress.graph import clone
    from tfcompress.layers import BinaryConnectWeights

    model = clone(candidate.model)
    for layer in model.layers:
        if isinstance(layer, BinaryConnectWeights):
            layer.stochastic = False
    return candidate.then(clone(model))  # Made of what the layers say now: without generators.


def _rounds(
    candidate: Candidate, options: BinaryConnectOptions, settings: Training
) -> Sequence[tuple[BinaryConnectOptions, Training]]:
    """Returns one round, or where weights are drawn one with draws and one with signs."""
    if not options.stochastic or settings.epochs < 2:
        return [(options, settings)]
    drawn, taken = shared(settings, 2)
    return [(options, drawn), (_Signs(stochastic=True), taken)]


_WRAPS = technique(
    name="binaryconnect",
    summary="weights -s and s in inner layers, one s a layer; 2 bits by --storage=int2, or 1bit",
    reference="Courbariaux, Bengio, David 2015, arXiv:1511.00363",
    options=BinaryConnectOptions,
    wrapper="BinaryConnectWeights",
    config=lambda options: {"stochastic": options.stochastic},
    becomes=lambda options: (
        "weights -s and s" + (", drawn in training" if options.stochastic else "")
    ),
    signs_kept=False,
    epochs=10,
    storages=("dynamic", "int2"),
    aliases=("bc", "binary_connect"),
)
TECHNIQUE = dataclasses.replace(_WRAPS, transform=_transform, rounds=_rounds)
