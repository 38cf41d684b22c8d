"""Binary weights and binary activations; what the binary techniques share: test_binary.py."""

import tfcompress
from tests.techniques.counts import SIGNED
from tfcompress import techniques

PARAMETERS = SIGNED


def test_which_half_of_a_product_is_signs(small):
    thin = tfcompress.transform(small(), "xnor")
    for layer in ("conv2", "conv3"):
        assert thin.get_layer(layer).binarize_inputs is True
        assert thin.get_layer(layer).binarize_kernel is True


def test_recipe_and_storage():
    technique = techniques.get("xnor")
    assert technique.training(technique.make_options()).epochs == 20
    assert technique.storages == ("int8", "xnor")
