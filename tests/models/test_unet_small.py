import numpy as np

from tests import checks
from tfcompress import graph, models


def test_pinned_counts():
    model = models.build("unet_small", (128, 128, 3), 2)
    pairs = [(3, 16), (16, 32), (32, 64), (64, 128), (128, 64), (64, 32), (32, 16)]
    convolutions = [9 * (a * b + b * b) for a, b in pairs]
    ups = [4 * 128 * 64, 4 * 64 * 32, 4 * 32 * 16]
    norms = 4 * sum(b for _, b in pairs)
    biases = 64 + 32 + 16 + 2
    weights = sum(convolutions) + sum(ups) + norms + 16 * 2 + biases
    assert graph.parameters(model) == weights == 482_754
    assert model.count_params() == weights + norms
    sides = [128, 64, 32, 16, 32, 64, 128]
    products = sum(side**2 * n for side, n in zip(sides, convolutions, strict=True))
    # Each place of the smaller side is multiplied with 2x2 kernels.
    products += sum(side**2 * n for side, n in zip((16, 32, 64), ups, strict=True))
    assert graph.macs(model) == products + 128**2 * 16 * 2 == 580_124_672


def test_any_size():
    model = models.build("unet_small", (21, 13, 1), 3, width=0.25)
    assert model.output_shape == (None, 21, 13, 3)
    assert np.isfinite(checks.predict(model, np.ones((1, 21, 13, 1)))).all()
