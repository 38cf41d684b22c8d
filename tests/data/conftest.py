import numpy as np


def random_images(count, seed=0, side=6):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
