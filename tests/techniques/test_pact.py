"""Trained bounds of activations, in the net and in the file."""

import numpy as np
import pytest

import tfcompress
from tests.techniques.conftest import trained
from tests.techniques.counts import PLAIN
from tests.techniques.test_lsq import assert_integers_are_the_nets
from tfcompress import techniques
from tfcompress.errors import InputError

# As dorefa's, and a bound for each inner layer.
PARAMETERS = PLAIN + (8 + 4) + 2 + 2


def test_bounds_are_trained_and_pulled_down(small, data):
    technique = techniques.get("pact")
    bounds = []
    for clip_l2 in (0.0, 0.5):
        model = trained(technique, small(), data, 2, clip_l2=clip_l2).model
        bounds.append(float(model.get_layer("conv2_inputs").scale))
    before = float(tfcompress.transform(small(), "pact").get_layer("conv2_inputs").scale)
    assert before not in bounds
    assert bounds[1] < bounds[0]


def test_the_file_holds_the_nets_integers(small, tmp_path):
    assert_integers_are_the_nets(tfcompress.transform(small(), "pact"), tmp_path)


def test_options_are_checked(small):
    with pytest.raises(InputError, match="option activation_bits must be from 1 to 8; got 32"):
        tfcompress.transform(small(), "pact", activation_bits=32)
    with pytest.raises(InputError, match="option clip_l2 must be 0 or more"):
        tfcompress.transform(small(), "pact", clip_l2=-1.0)
    assert np.isclose(techniques.get("pact").make_options().clip_l2, 2e-4)
