"""Bits by layer from a budget of noise; what such techniques share: test_quantise.py."""

import pytest

from tests.techniques.counts import PLAIN
from tfcompress import techniques
from tfcompress.errors import InputError

PARAMETERS = PLAIN


def test_the_export_is_told_the_budget(small):
    technique = techniques.get("sqnr")
    candidate = technique.transform(techniques.Candidate(small()), technique.make_options(bits="5"))
    assert candidate.noise_budget == 5
    assert techniques.Candidate(small()).noise_budget is None
    assert candidate.layers[0].reason.endswith("with no more noise than 5 bits each")


@pytest.mark.parametrize("bits", [1, 9])
def test_bad_bits(bits):
    with pytest.raises(InputError, match=f"option bits must be from 2 to 8; got {bits}"):
        techniques.get("sqnr").make_options(bits=bits)
