"""Bits by layer from a budget of noise, against the closed form and in a file."""

import itertools
import math

import numpy as np
import pytest

from tests.export.quantised import mixed_net, pictures
from tfcompress.errors import InputError
from tfcompress.export import NoiseBudget, Validation, export
from tfcompress.export.noise_budget import KAPPA_DB, SQNR_DB, allot, closed_form, noise_of

# Weights of VGG-16's convolutions and its last layer, for 32x32 pixels.
VGG16 = [1728, 36864, 73728, 147456, 294912, 589824, 589824, 1179648, *[2359296] * 5, 5120]


def ideal(bits):
    return 10 ** (-KAPPA_DB * bits / 10)


def test_whole_bits_are_the_closed_form_rounded():
    """Where bits can be any whole numbers and each adds kappa."""
    weights = {str(place): count for place, count in enumerate(VGG16)}
    choices = dict.fromkeys(weights, range(1, 30))
    noise = 14 * ideal(6)
    exact = closed_form(weights, noise)
    assert sum(ideal(bits) for bits in exact.values()) == pytest.approx(noise)
    for (one, more), (other, less) in itertools.combinations(exact.items(), 2):
        apart = 10 / KAPPA_DB * math.log10(weights[other] / weights[one])
        assert more - less == pytest.approx(apart)
    chosen = allot(weights, choices, noise, ideal)
    assert all(abs(chosen[name] - exact[name]) < 1 for name in weights)
    spent = sum(weights[name] * chosen[name] for name in weights)
    assert spent < 6 * sum(VGG16)
    assert sum(ideal(bits) for bits in chosen.values()) <= noise


def test_sizes_a_bit_apart_get_bits_that_are():
    weights = {str(more): 1e6 * 10 ** (-KAPPA_DB / 10 * more) for more in range(6)}
    noise = sum(ideal(4 + more) for more in range(6))
    chosen = allot(weights, dict.fromkeys(weights, range(1, 30)), noise, ideal)
    assert chosen == {str(more): 4 + more for more in range(6)}
    assert closed_form(weights, noise) == pytest.approx(chosen)


@pytest.mark.parametrize("bits", SQNR_DB)
def test_the_table_is_that_of_the_best_quantiser(bits):
    """Of normally distributed values, with any step."""
    values = np.linspace(-7, 7, 20001)
    density = np.exp(-(values**2) / 2)
    half = 2 ** (bits - 1)

    def noise(step):
        places = np.clip(np.floor(values / step), -half, half - 1) + 0.5
        return (density * (values - step * places) ** 2).sum() / density.sum()

    least = min(noise(step) for step in np.geomspace(0.5, 4, 160) / half)
    assert noise_of(bits) == pytest.approx(least, rel=0.01)


def test_large_layers_get_fewer_bits(tmp_path):
    path = tmp_path / "m.tflite"
    file = export(
        mixed_net(),
        path,
        storage="int8_int4",
        io="float32",
        representative=pictures(60),
        noise_budget=NoiseBudget(bits=4),
    )
    chosen = {name: layer.bits for name, layer in file.layer_bits.items()}
    assert chosen == {"first": 4, "depthwise": 8, "pointwise": 8, "hidden": 4, "scores": 8}
    assert file.weight_bytes["int4"] == sum(
        layer.size_bytes for layer in file.layer_bits.values() if layer.bits == 4
    )
    assert file.kept["scores"].startswith("kept 8 bits for its share of the weights: ")
    assert "for the noise of 4 bits in every layer" in file.notes[-1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"storage": "int8"}, "a noise budget allots 8, 4 or 2 bits: use storage int8_int4"),
        ({"storage": "float16"}, "a noise budget chooses .* storage float16 .* doesn't do"),
        (
            {"noise_budget": 4},
            r"noise_budget takes tfcompress.export.NoiseBudget\(bits=4\); got int",
        ),
        ({"validation": Validation(pictures(4), np.zeros(4))}, "give one of them"),
    ],
)
def test_what_is_refused(tmp_path, more, message):
    options = {
        "storage": "int8_int4",
        "noise_budget": NoiseBudget(),
        "io": "float32",
        "representative": pictures(8),
    }
    with pytest.raises(InputError, match=message):
        export(mixed_net(), tmp_path / "m.tflite", **options | more)
    with pytest.raises(InputError, match="must be from 2 to 8; got 9"):
        NoiseBudget(bits=9)
