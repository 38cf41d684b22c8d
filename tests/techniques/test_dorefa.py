"""Even levels of weights, without 0, and of activations, in the net and in the file."""

import numpy as np
import pytest

import tfcompress
from tests.techniques.counts import ENDS, PLAIN
from tests.techniques.test_lsq import assert_integers_are_the_nets
from tfcompress.errors import InputError
from tfcompress.layers import DoReFaWeights, FewBitActivations

# A trained step for each filter of the first layer and unit of the last, and one for their inputs.
PARAMETERS = PLAIN + (8 + 4) + 2


def test_levels_of_weights_and_activations(small):
    thin = tfcompress.transform(small(), "dorefa", weight_bits=2, activation_bits=3)
    kernel = np.asarray(thin.get_layer("conv2").rounded_kernel())
    assert len(np.unique(kernel)) == 4
    assert (kernel != 0).all()
    rounding = thin.get_layer("conv2_inputs")
    assert (rounding.num_bits, rounding.step_size(), rounding.weights) == (3, 1 / 7, [])
    assert PLAIN > ENDS


def test_gradients_are_rounded_if_asked(small):
    thin = tfcompress.transform(small(), "dorefa", gradient_bits=6, activation_bits=32)
    kinds = [type(layer) for layer in thin.layers]
    assert kinds.count(DoReFaWeights) == 2
    assert FewBitActivations not in kinds
    assert thin.get_layer("conv3").gradient_bits == 6


@pytest.mark.parametrize("weight_bits", [1, 3, 4])
def test_the_file_holds_the_nets_integers(weight_bits, small, tmp_path):
    thin = tfcompress.transform(small(), "dorefa", weight_bits=weight_bits)
    assert_integers_are_the_nets(thin, tmp_path)


def test_options_are_checked(small):
    with pytest.raises(InputError, match="option weight_bits must be from 1 to 8; got 9"):
        tfcompress.transform(small(), "dorefa", weight_bits=9)
    with pytest.raises(InputError, match="option gradient_bits must be from 2 to 8, or 32; got 1"):
        tfcompress.transform(small(), "dorefa", gradient_bits=1)
