"""Bits by a Lagrange multiplier, against all there are."""

import itertools

import numpy as np
import pytest

from tfcompress.export.allotment import Choice, allotments, hull


@pytest.mark.parametrize("seed", range(5))
def test_nothing_harms_less_for_the_price(seed):
    random = np.random.default_rng(seed)
    layers = {
        name: [Choice(b, *random.integers(0, 40, 2).astype(float)) for b in (8, 4, 2)]
        for name in "abcd"
    }

    def totals(chosen):
        return sum(c.price for c in chosen), sum(c.damage for c in chosen)

    everything = [totals(chosen) for chosen in itertools.product(*layers.values())]
    series = allotments(layers)
    for chosen in series:
        price, damage = totals(chosen.values())
        assert not any(p <= price and d < damage for p, d in everything)
        assert all(choice in layers[name] for name, choice in chosen.items())
    assert totals(series[0].values())[0] == min(p for p, _ in everything)
    assert totals(series[-1].values())[1] == min(d for _, d in everything)
    prices = [totals(chosen.values())[0] for chosen in series]
    assert prices == sorted(prices)
    steps = [sum(a[n] != b[n] for n in layers) for a, b in itertools.pairwise(series)]
    assert steps == [1] * (len(series) - 1)


def test_the_hull_leaves_out_what_no_multiplier_picks():
    above, dearer = Choice(4, 5, 6), Choice(3, 12, 1)
    ends = [Choice(2, 0, 10), Choice(8, 10, 1)]
    assert hull([above, dearer, *ends]) == ends
    below = Choice(4, 5, 5)
    assert hull([*ends, below]) == [ends[0], below, ends[1]]
