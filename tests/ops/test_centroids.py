"""The first values of clustered weights against TFMOT's own."""

import keras
import numpy as np
import pytest

from tfcompress.ops.centroids import first_values

CLASSES = {
    "kmeans++": "KmeansPlusPlusCentroidsInitialisation",
    "density": "DensityBasedCentroidsInitialisation",
    "linear": "LinearCentroidsInitialisation",
}


def tfmots(weights, count, method, with_zero, per_channel):
    import tensorflow as tf

    from tfcompress.bridge.legacy import tfmot

    tfmot()
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids

    find = getattr(clustering_centroids, CLASSES[method])
    initial = find(tf.Variable(weights), count, per_channel, "channels_last", with_zero)
    return np.asarray(initial.get_cluster_centroids())


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="compares with TensorFlow's ops, as TFMOT's"
)
@pytest.mark.parametrize("method", CLASSES)
@pytest.mark.parametrize(
    ("with_zero", "per_channel"), [(False, False), (True, False), (True, True)]
)
def test_they_are_tfmots(method, with_zero, per_channel):
    weights = np.random.default_rng(3).normal(0.02, 0.1, (3, 3, 8, 4)).astype("float32")
    if with_zero:
        weights[np.abs(weights) < 0.05] = 0
    for count in (3, 16):
        values = first_values(weights, count, method, with_zero=with_zero, per_channel=per_channel)
        expected = tfmots(weights, count, method, with_zero, per_channel)
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("method", [*CLASSES, "random"])
def test_few_weights_and_zeros_alone(method):
    zeros = np.zeros((3, 4))
    assert (first_values(zeros, 4, method, with_zero=True) == np.zeros(4)).all()
    few = np.float32([0, -0.5, 0.25, 0])
    values = first_values(few, 3, method, with_zero=True)
    assert values.shape == (3,)
    assert 0 in values
    assert values.min() >= -0.51  # `density` looks beyond the weights by up to 0.01.
    assert values.max() <= 0.26
