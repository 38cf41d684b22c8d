import kernel_bound
import pytest
import xnor_kernel
from measurements import Measurements

from tfcompress import kernels


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(kernel_bound, "ROUNDS", 100)
    monkeypatch.setattr(kernel_bound, "TRIES", 1)
    for bound in (kernel_bound.counting, kernel_bound.lookups):
        bound.cache_clear()
    yield
    for bound in (kernel_bound.counting, kernel_bound.lookups):
        bound.cache_clear()


def test_bounds_are_measured_for_each_kernel_that_has_one(short):
    try:
        available = kernels.names()
    except kernels.BuildError as error:
        pytest.skip(f"no 1-bit kernels here: {error}")
    for kernel in ("avx512", "avx2", "neon", "portable"):
        counting, lookups = kernel_bound.counting(kernel), kernel_bound.lookups(kernel)
        assert (counting is not None) == (kernel in available and kernel in kernel_bound.COUNTING)
        assert (lookups is not None) == (kernel in available and kernel in kernel_bound.LOOKUPS)
        assert all(rate > 0 for rate in (counting, lookups) if rate is not None)


def test_no_share_is_left_out_without_a_word(tmp_path):
    row = {"float_ms": 1, "int8_ms": 1, "ms": 1, "ratio": [1, 1, 1], "to_int8": 1, "smaller": 1}
    assert xnor_kernel.cells({**row, "share": 2.0, "lookups": 0.7})[-2:] == ["200%", "70%"]
    assert xnor_kernel.cells({**row, "share": None})[-2:] == ["-", "-"]
    results = Measurements(tmp_path)
    results.rows = {"4 convs 7x7x512, avx2, 1": {**row, "made": 0, "share": 2.0, "lookups": 0.7}}
    assert "- is what wasn't measured" in xnor_kernel.page_of(results).note
    assert "AVX2 code on a processor that has AVX-512" not in xnor_kernel.page_of(results).note
