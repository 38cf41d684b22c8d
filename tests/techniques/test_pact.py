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


def test_weights_by_their_statistics(small):
    thin = tfcompress.transform(small(), "pact", weights="sawb", weight_bits=2)
    values = np.unique(np.asarray(thin.get_layer("conv2").rounded_kernel()))
    np.testing.assert_allclose(values, values[3] * np.array([-1, -1 / 3, 1 / 3, 1]), rtol=1e-5)
    assert thin.get_layer("conv2").binning == "statistics"


def test_options_are_checked(small):
    with pytest.raises(InputError, match="option activation_bits must be from 1 to 8; got 32"):
        tfcompress.transform(small(), "pact", activation_bits=32)
    with pytest.raises(InputError, match="option clip_l2 must be 0 or more"):
        tfcompress.transform(small(), "pact", clip_l2=-1.0)
    with pytest.raises(InputError, match="option weight_bits must be 2, 3, 4, 5 or 8 with weights"):
        tfcompress.transform(small(), "pact", weights="sawb", weight_bits=6)
    assert np.isclose(techniques.get("pact").make_options().clip_l2, 2e-4)
