"""4-bit weights without training; what such techniques share: test_quantise.py."""

import keras

from tests.techniques.counts import PLAIN
from tfcompress import techniques

PARAMETERS = PLAIN


def test_depthwise_weights_have_8_bits_beside_4():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.DepthwiseConv2D(3, name="d")])
    technique = techniques.get("int8_int4")
    (line,) = technique.transform(techniques.Candidate(model), technique.make_options()).layers
    assert line.reason.startswith("int8 weights")


def test_other_weights_have_4_bits(small):
    technique = techniques.get("int8_int4")
    candidate = technique.transform(techniques.Candidate(small()), technique.make_options())
    reasons = {line.reason for line in candidate.layers if line.action == "quantised"}
    assert reasons == {"int4 weights, one scale a filter; int8 activations"}
