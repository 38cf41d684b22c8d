"""Shared oracles: plain NumPy for what the layers compute, and gradients on any Keras backend."""

import keras
import numpy as np
from keras import ops

from tfcompress.graph.nodes import run
from tfcompress.training.evaluate import jit_compile


def signs(x):
    """-1 and +1, with +1 at 0."""
    return np.where(np.asarray(x) >= 0, 1.0, -1.0)


def alpha_signs(kernel):
    """Each filter's signs times its mean absolute value, one filter at a time."""
    out = np.empty(kernel.shape)
    for filter_index in range(kernel.shape[-1]):
        weights = kernel[..., filter_index]
        out[..., filter_index] = signs(weights) * np.abs(weights).sum() / weights.size
    return out


def same_pads(sizes, kernel_size, strides, dilation):
    """What "same" adds before and after each axis: as little as gives ceil(size/stride)."""
    pads = []
    for size, taps, stride, step in zip(sizes, kernel_size, strides, dilation, strict=True):
        last_tap = (-(-size // stride) - 1) * stride + (taps - 1) * step
        missing = max(0, last_tap + 1 - size)
        pads.append((missing // 2, missing - missing // 2))
    return pads


def conv2d(x, kernel, *, strides=(1, 1), padding="valid", dilation=(1, 1), groups=1, pad_value=0.0):
    """Cross-correlation of (batch, height, width, channels), one output value at a time."""
    if padding == "same":
        pads = same_pads(x.shape[1:3], kernel.shape[:2], strides, dilation)
        x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=pad_value)
    height, width = (
        len(range(0, size - (taps - 1) * step, stride))
        for size, taps, stride, step in zip(
            x.shape[1:3], kernel.shape[:2], strides, dilation, strict=True
        )
    )
    channels, filters = kernel.shape[2:]
    out = np.zeros((len(x), height, width, filters))
    for image in range(len(x)):
        for row in range(height):
            for column in range(width):
                for filter_index in range(filters):
                    first = filter_index // (filters // groups) * channels
                    total = 0.0
                    for i in range(kernel.shape[0]):
                        for j in range(kernel.shape[1]):
                            at = row * strides[0] + i * dilation[0]
                            beside = column * strides[1] + j * dilation[1]
                            pixel = x[image, at, beside, first : first + channels]
                            total += np.dot(pixel, kernel[i, j, :, filter_index])
                    out[image, row, column, filter_index] = total
    return out


def gradients(function, *values):
    """The gradients of a scalar function at NumPy values, one array for each of them."""
    tensors = [ops.convert_to_tensor(value) for value in values]
    if keras.backend.backend() == "jax":
        import jax

        found = jax.grad(function, argnums=tuple(range(len(tensors))))(*tensors)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            for tensor in tensors:
                tape.watch(tensor)
            result = function(*tensors)
        found = tape.gradient(result, tensors, unconnected_gradients="zero")
    return [ops.convert_to_numpy(gradient) for gradient in found]


def layer_gradients(layer, x, upstream):
    """The gradients of sum(layer(x) * upstream): of x, then of each trainable variable."""

    def loss(x, *weights):
        outputs, _ = layer.stateless_call(weights, layer.non_trainable_variables, x)
        return ops.sum(outputs * upstream)

    return gradients(loss, x, *(ops.convert_to_numpy(w) for w in layer.trainable_variables))


def predict(model, x):
    """The outputs as NumPy, in the model's structure, without tracing a graph."""
    outputs = model(keras.tree.map_structure(ops.convert_to_tensor, x), training=False)
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def assert_same(actual, expected, *, atol=1e-5):
    """The same structure and the same values but for rounding."""
    keras.tree.assert_same_structure(actual, expected)
    for one, other in zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=atol)


def away_from_sign_flips(model, draw, *, margin=1e-4):
    """The first batch of `draw(0), draw(1), ...` that no processor's rounding decides about.

    Two orders of summation give a value that is 0 but for rounding other signs, and behind a sign
    that is no small difference. So no value in front of a sign may lie within `margin` times the
    largest one of its layer.
    """

    def distances(x):
        found = []

        def apply(operation, *args, **kwargs):
            if getattr(operation, "binarize_inputs", False):
                before = np.abs(ops.convert_to_numpy(args[0]))
                found.append(before.min() / before.max())
            return operation(*args, **kwargs)

        run(model, ops.convert_to_tensor(x), apply)
        assert found, "the model has no signs: any batch will do"
        return found

    for seed in range(100):
        x = draw(seed)
        if min(distances(x)) > margin:
            return x
    raise AssertionError("no batch of 100 is away from all sign flips")


def save_and_load(model, folder):
    """The model as it comes back from a `.keras` file."""
    path = folder / "model.keras"
    model.save(path)
    return keras.saving.load_model(path)


def train_one_step(model, x, y, *, learning_rate=0.1):
    """One step of SGD on the mean squared error."""
    model.compile(keras.optimizers.SGD(learning_rate), "mse", jit_compile=jit_compile())
    model.train_on_batch(x, y)
