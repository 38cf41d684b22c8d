"""The control: the network itself."""

import numpy as np

from tests.checks import predict
from tests.techniques.counts import PLAIN
from tfcompress import techniques

PARAMETERS = PLAIN


def test_the_network_is_copied_as_it_is(small):
    technique, model = techniques.get("baseline"), small()
    candidate = technique.transform(techniques.Candidate(model), technique.make_options())
    x = np.random.default_rng(1).normal(size=(4, 16, 16, 3)).astype("float32")
    np.testing.assert_array_equal(predict(candidate.model, x), predict(model, x))
    assert candidate.layers == ()
    assert technique.training(technique.make_options()).epochs == 0
