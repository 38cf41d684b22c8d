"""Weights of three values a filter, in the net and in the file."""

import numpy as np
import pytest

import tfcompress
from tests.techniques.counts import ENDS, PLAIN
from tfcompress.errors import InputError
from tfcompress.export import low_bits
from tfcompress.tflite.content import read

PARAMETERS = PLAIN


def test_inner_layers_have_three_values_a_filter(small):
    thin = tfcompress.transform(small(), "ternary")
    for name in ("conv2", "conv3"):
        kernel = np.asarray(thin.get_layer(name).rounded_kernel()).reshape(-1, 16)
        for weights in kernel.T:
            assert len(np.unique(np.abs(weights))) == 2
    assert not hasattr(thin.get_layer("conv1"), "rounded_kernel")
    assert not hasattr(thin.get_layer("logits"), "rounded_kernel")


def test_a_trained_scale_for_each_filter(small):
    thin = tfcompress.transform(small(), "ternary", scale="trained")
    assert thin.get_layer("conv2").scale.shape == (1, 1, 1, 16)
    assert thin.count_params() - tfcompress.transform(small(), "ternary").count_params() == 32
    assert PLAIN > ENDS


def test_two_bits_in_the_file(small, tmp_path, monkeypatch):
    monkeypatch.setattr(low_bits, "_latencies", lambda *_: (1.0, 1.0))
    thin = tfcompress.transform(small(), "ternary")
    path = tmp_path / "m.tflite"
    x = np.random.default_rng(0).normal(size=(20, 16, 16, 3)).astype("float32")
    tfcompress.export(thin, path, storage="int2", representative=x)
    stored = read(path).weight_bytes
    # Rows of 3 x 8 and 3 x 16 weights, of 2 bits each.
    assert stored["int2"] == 3 * (3 * 8 * 16 + 3 * 16 * 16) // 4


def test_options_are_checked(small):
    with pytest.raises(InputError, match="option threshold must be from 0 to below 1; got 2"):
        tfcompress.transform(small(), "ternary", threshold=2.0)
    with pytest.raises(InputError, match="option scale"):
        tfcompress.transform(small(), "ternary", scale="best")
