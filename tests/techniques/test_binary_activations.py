"""Binary activations, float weights; what the binary techniques share: test_binary.py."""

import tfcompress
from tests.techniques.counts import SIGNED
from tfcompress import techniques

PARAMETERS = SIGNED


def test_which_half_of_a_product_is_signs(small):
    thin = tfcompress.transform(small(), "binary_activations")
    for layer in ("conv2", "conv3"):
        assert thin.get_layer(layer).binarize_inputs is True
        assert thin.get_layer(layer).binarize_kernel is False


def test_recipe_and_storage():
    technique = techniques.get("binary_activations")
    assert technique.training(technique.make_options()).epochs == 20
    assert technique.storage == "float32"
