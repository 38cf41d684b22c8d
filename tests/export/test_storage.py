import pytest

from tfcompress.errors import InputError
from tfcompress.export import STORAGES
from tfcompress.export.storage import storage_of


@pytest.mark.parametrize("name", sorted(STORAGES))
def test_each_is_complete(name):
    storage = STORAGES[name]
    assert storage.name == name
    assert storage.summary
    assert storage.activations in ("signed", "unit")
    assert storage.quantize in ("none", "bits", "half", "all", "static", "binary")
    assert storage.second in ("", *STORAGES)
    assert 0 < storage.max_abs <= 0.1 or 0 < storage.max_relative_rms <= 0.5
    assert 0.7 < storage.min_agreement <= 1


def test_int8_is_what_the_network_needs():
    assert storage_of("int8") is STORAGES["int8"]
    assert storage_of("int8", binary_inputs=True).quantize == "binary"
    assert storage_of("int2", binary_inputs=True).weight_bits == 2
    assert storage_of("int8", fake_quantized=True).quantize == "trained"
    assert storage_of("float16", binary_inputs=True) is STORAGES["float16"]


def test_without_error_for_binary_networks():
    kind = storage_of("int8", binary_inputs=True)
    assert (kind.max_abs, kind.min_agreement) == (1e-5, 1.0)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"fake_quantized": True}, "FakeQuantize layers, .*: use int8"),
        ({"simulated": True}, "MinMaxQuantize layers, which simulate .*: use float32"),
    ],
)
def test_networks_that_no_other_storage_holds(kind, message):
    with pytest.raises(InputError, match=message):
        storage_of("float16", **kind)


def test_storages_that_claim_to_be_exact_are_held_to_it():
    for storage in STORAGES.values():
        if "exact" in storage.summary.split():
            assert storage.max_abs <= 1e-4
            assert storage.min_agreement == 1
