"""Weights of two values, their signs or drawn by their size."""

from __future__ import annotations

import dataclasses

from tfcompress.techniques._few_bits import technique


@dataclasses.dataclass(frozen=True, kw_only=True)
class BinaryConnectOptions:
    """Hyper-parameters of BinaryConnect.

    Attributes:
        stochastic: whether training draws each weight's sign by its size (section 2.3) instead of
            taking it. The file has the signs either way.
    """

    stochastic: bool = False


TECHNIQUE = technique(
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
