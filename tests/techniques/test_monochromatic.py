"""Monochromatic filters; what the decompositions share: test_factorise.py."""

import pytest

import tfcompress
from tests.techniques.counts import CONV2, CONV3, ENDS, NORMS
from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.layers import MonochromaticConv2D

# Of conv1's 8 filters each has a colour of its own.
PARAMETERS = ENDS - 3 * 3 * 3 * 8 + (3 * 8 + 9 * 8) + CONV2 + CONV3 + NORMS


def test_the_first_convolution_is_replaced_and_no_other(small):
    technique = techniques.get("monochromatic")
    got = technique.transform(techniques.Candidate(small()), technique.make_options())
    assert isinstance(got.model.get_layer("conv1"), MonochromaticConv2D)
    actions = {line.name: (line.action, line.reason) for line in got.layers}
    assert actions["conv1"][0] == "factorised"
    assert actions["conv2"] == (
        "kept",
        "not a first layer that sees an image's few channels; option ranks=conv2:RANK replaces it "
        "all the same",
    )
    assert "Dense has no MonochromaticConv2D form" in actions["logits"][1]


def test_a_named_layer_has_its_own_number_of_colours(small):
    thin = tfcompress.transform(small(), "monochromatic", rank=4, ranks={"conv2": 6})
    assert [thin.get_layer(name).rank for name in ("conv1", "conv2")] == [4, 6]


def test_bad_options():
    technique = techniques.get("monochromatic")
    with pytest.raises(InputError, match=r"macs_ratio has no meaning for monochromatic.*got .*0.5"):
        technique.make_options(macs_ratio=0.5)
    with pytest.raises(InputError, match="decomposition_seed must be 0 or more; got -1"):
        technique.make_options(decomposition_seed=-1)
