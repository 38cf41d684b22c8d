"""Binary weights, float activations; what the binary techniques share: test_binary.py."""

import tfcompress
from tests.techniques.counts import PLAIN
from tfcompress import techniques

PARAMETERS = PLAIN


def test_which_half_of_a_product_is_signs(small):
    thin = tfcompress.transform(small(), "bwn")
    for layer in ("conv2", "conv3"):
        assert thin.get_layer(layer).binarize_inputs is False
        assert thin.get_layer(layer).binarize_kernel is True


def test_recipe_and_storage():
    technique = techniques.get("bwn")
    assert technique.training(technique.make_options()).epochs == 10
    assert technique.storage == "dynamic"
