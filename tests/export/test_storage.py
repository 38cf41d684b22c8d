import pytest

from tfcompress.export import STORAGES


@pytest.mark.parametrize("name", sorted(STORAGES))
def test_each_is_complete(name):
    storage = STORAGES[name]
    assert storage.name == name
    assert storage.summary
    assert storage.activations in ("signed", "unit")
    assert storage.quantize in ("none", "binary", "all")
    assert 0 < storage.max_abs <= 0.1
    assert 0.9 < storage.min_agreement <= 1


def test_storages_that_claim_to_be_exact_are_held_to_it():
    for storage in STORAGES.values():
        if "exact" in storage.summary:
            assert storage.max_abs <= 1e-4
            assert storage.min_agreement == 1
