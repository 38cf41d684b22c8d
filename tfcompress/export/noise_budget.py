"""Allots bits by layer so that all layers' rounding together makes no more noise than allowed.

```
minimise  sum_i weights_i * b_i     so that    sum_i 10^(-SQNR(b_i) / 10) <= noise
```

SQNR(b) is the signal-to-quantization-noise ratio, in dB, of the best uniform quantiser of b bits
for normally distributed values. It grows by about kappa = 5 dB with each bit; where SQNR(b) is
kappa * b, and bits need not be whole, the answer is a closed form:

```
b_i = c - (10 / kappa) * log10(weights_i)
```

Reference: Lin, Talathi, Annapureddy 2016, "Fixed Point Quantization of Deep Convolutional
Networks", arXiv:1511.06393. Nothing is looked at but the number of weights: neither data nor the
weights' values. In a file weights take 8, 4 or 2 bits, so that the closed form can but be told;
what is written is the best of those, by `allotment`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from tfcompress.errors import require
from tfcompress.export.allotment import Choice, allotments

# Of the best uniform quantiser of a normal distribution, by its bits (Max 1960,
# "Quantizing for Minimum Distortion").
SQNR_DB = {1: 4.40, 2: 9.25, 3: 14.27, 4: 19.38, 5: 24.57, 6: 29.83, 7: 35.17, 8: 40.57}
# What a bit adds, in dB: the mean over the table.
KAPPA_DB = (SQNR_DB[8] - SQNR_DB[1]) / 7


@dataclasses.dataclass(frozen=True)
class NoiseBudget:
    """The noise that the layers' rounding together may make.

    Attributes:
        bits: it may make as much as so many bits in every layer would, 2 to 8.
    """

    bits: int = 4

    def __post_init__(self) -> None:
        """Refuses bits that no file holds."""
        require(2 <= self.bits <= 8, f"bits of a noise budget must be from 2 to 8; got {self.bits}")

    def noise(self, layers: int) -> float:
        """Returns the noise that so many layers may make, as a share of the signal."""
        return layers * noise_of(self.bits)


def noise_of(bits: int) -> float:
    """Returns the noise of one layer's rounding, as a share of the signal."""
    return float(10 ** (-SQNR_DB[bits] / 10))


def allot(
    weights: Mapping[str, float],
    choices: Mapping[str, Sequence[int]],
    noise: float,
    noise_of: Callable[[int], float] = noise_of,
) -> dict[str, int]:
    """Returns each layer's bits: the fewest in all whose noise is allowed.

    Args:
        weights: of each layer, their number.
        choices: bits that each layer can have.
        noise: that all may make together.
        noise_of: the noise of a layer's rounding, by its bits.

    Returns:
        Bits by layer; the most that each can have, where even these make more noise.
    """
    series = allotments(
        {
            name: [Choice(b, weights[name] * b, noise_of(b)) for b in of_layer]
            for name, of_layer in choices.items()
        }
    )
    for chosen in series:
        if sum(choice.damage for choice in chosen.values()) <= noise * (1 + 1e-9):
            break
    return {name: choice.bits for name, choice in chosen.items()}


def closed_form(
    weights: Mapping[str, float], noise: float, kappa_db: float = KAPPA_DB
) -> dict[str, float]:
    """Returns the bits that would be best if they needn't be whole, and SQNR = kappa * bits.

    Args:
        weights: of each layer, their number.
        noise: that all may make together.
        kappa_db: what a bit adds, in dB.
    """
    per_bit = 10 / kappa_db
    c = per_bit * math.log10(sum(weights.values()) / noise)
    return {name: c - per_bit * math.log10(count) for name, count in weights.items()}
