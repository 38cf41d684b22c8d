"""What storages are held to, in the words of their tests: each has LIMITS, and a NET of its own.

LIMITS: by the kind of network the largest difference, the least agreement and the largest relative
rms. Who loosens a storage's limit does it there, too. A kind that isn't in LIMITS is refused.
NET makes a network that the storage takes; without it `mixed_net` is taken.
"""

import numpy as np

from tests.export.quantised import mixed_net

NONE = float("inf")
EXACT = (1e-5, 1.0, NONE)


def sparse_net():
    """A net with nine zeros in ten weights."""
    model = mixed_net()
    chance = np.random.default_rng(3)
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            kernel = layer.kernel.numpy()
            layer.kernel.assign(kernel * (chance.random(kernel.shape) < 0.1))
    return model
