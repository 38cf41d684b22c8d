from tfcompress import graph, models


def test_pinned_counts():
    model = models.build("ds_cnn", (49, 10, 1), 12)
    kernels = 10 * 4 * 64 + 4 * (9 * 64 + 64 * 64) + 64 * 12
    norms = 9 * 2 * 64
    assert graph.parameters(model) == kernels + norms + 12 == 23_180
    assert kernels + norms // 2 + 12 == 22_604
    assert model.count_params() == 23_180 + norms
    positions = 25 * 5
    products = positions * (10 * 4 * 64 + 4 * (9 * 64 + 64 * 64)) + 64 * 12
    assert graph.macs(model) == products == 2_656_768


def test_blocks():
    two = models.build("ds_cnn", (16, 16, 1), 3, blocks=2)
    assert graph.parameters(two) == 2560 + 128 + 2 * (9 * 64 + 64 * 64 + 4 * 64) + 64 * 3 + 3
