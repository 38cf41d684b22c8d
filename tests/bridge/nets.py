"""Models and random weights that several tests of the bridge use."""

import keras
import numpy as np
from keras import tree

from tfcompress.graph.rewrite import functional


def randomise(model, seed=1):
    """Gives every weight a random value, so that two in each other's place show.

    Scales and variances stay positive; kernels and biases keep the scale that they have.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        kind = variable.path.rsplit("/", 1)[-1]
        if "gamma" in kind or "variance" in kind:
            value = rng.uniform(0.5, 1.5, variable.shape)
        elif "kernel" in kind or "embeddings" in kind:
            value = variable.numpy() + 0.02 * rng.standard_normal(variable.shape)
        else:
            value = 0.2 * rng.standard_normal(variable.shape)
        variable.assign(value)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # It computes with what it made of its weights.
    return model


def draw(model, seed=5):
    """Inputs of a Keras 3 model, in its structure, drawn apart from the bridge's own check."""
    rng = np.random.default_rng(seed)

    def one(x):
        shape = (3, *x.shape[1:])
        if x.dtype == "bool":
            return rng.random(shape) < 0.5
        if "int" in x.dtype:
            return rng.integers(0, 5, shape).astype(x.dtype)
        return rng.standard_normal(shape).astype(x.dtype)

    return tree.map_structure(one, functional(model)._inputs_struct)


def values(outputs):
    """All outputs as one flat list of arrays."""
    return [np.asarray(output) for output in tree.flatten(outputs)]


def run(model, x):
    """A model's outputs, of either Keras."""
    return values(model(tree.map_structure(keras.ops.convert_to_tensor, x), training=False))


def apart(first, second, x):
    """The largest difference between the outputs of two models; NaN if any output has one."""
    pairs = zip(run(first, x), run(second, x), strict=True)
    return float(np.max([np.abs(a.astype("float64") - b).max() for a, b in pairs]))
