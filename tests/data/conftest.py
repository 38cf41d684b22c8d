import numpy as np


def random_images(count, seed=0, side=6):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def check_normalization(loaded):
    """Fails unless mean and deviation are those of the training images, not of the test images."""
    means = []
    for part in (loaded.train, loaded.test):
        pixels = part.images.batch(np.arange(len(part)))
        means.append(pixels.mean(axis=(0, 1, 2)))
        if part is loaded.train:
            np.testing.assert_allclose(loaded.normalization.mean, means[0], rtol=1e-9)
            np.testing.assert_allclose(
                loaded.normalization.std, pixels.std(axis=(0, 1, 2)), rtol=1e-9
            )
    # Else the two couldn't be told apart.
    assert np.abs(means[0] - means[1]).min() > 1e-6 * means[0].max()
