"""What the tests of the compact layers share: statistics as after training, and loops for them."""

import keras
import numpy as np
from keras import ops

from tests import checks

# An exported file takes the TensorFlow backend.
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def numbers(variable):
    return ops.convert_to_numpy(variable).astype("float64")


def with_weights(layer, x, seed=1):
    """The layer, built, with weights that hide nothing: biases, scales and statistics vary."""
    layer.build(x.shape)
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        values = rng.standard_normal(weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            values = 0.5 + np.abs(values)
        weight.assign(values.astype("float32"))
    return layer


def relu(x):
    return np.maximum(x, 0)


def bn(x, layer):
    """Batch normalisation by its statistics."""
    scale = numbers(layer.gamma) / np.sqrt(numbers(layer.moving_variance) + layer.epsilon)
    offset = numbers(layer.beta) if layer.center else 0.0
    return (x - numbers(layer.moving_mean)) * scale + offset


def depthwise(x, kernel, **options):
    """Each channel by itself: (height, width, channels, multiplier) as a grouped convolution."""
    height, width, channels, multiplier = kernel.shape
    grouped = kernel.reshape(height, width, 1, channels * multiplier)
    return checks.conv2d(x, grouped, groups=channels, **options)


def predict(layer, x):
    return ops.convert_to_numpy(
        layer(x, training=False) if layer._call_has_training_arg else layer(x)
    )


def assert_lowered_is_the_same(layer, x):
    """In stock layers only; two calls share their weights."""
    inputs = keras.Input(x.shape[1:])
    lowered = layer.lower(activations="unit")
    model = keras.Model(inputs, lowered(inputs))
    assert not any(type(op).__module__.startswith("tfcompress") for op in model.layers)
    checks.assert_same(checks.predict(model, x), predict(layer, x))
    twice = keras.Model(inputs, [lowered(inputs), lowered(inputs)])
    assert twice.count_params() == model.count_params()
    return model


def assert_same_after_saving(layer, x, folder):
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    loaded = checks.save_and_load(model, folder)
    assert type(loaded.layers[1]) is type(layer)
    np.testing.assert_array_equal(checks.predict(loaded, x), checks.predict(model, x))


def assert_config_round_trip(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def assert_export_is_the_same(layer, x, folder):
    """The file's outputs, which its gate compares with Keras's."""
    from tfcompress.export import export

    inputs = keras.Input(x.shape[1:])
    written = export(keras.Model(inputs, layer(inputs)), folder / "m.tflite", representative=x)
    assert written.parity.images == len(x)
    return written


def assert_every_weight_moves(layer, x):
    """From weights as after some training: at the start, a scale may make no difference yet."""
    assert_every_weight_moves_from_here(with_weights(layer, x), x)


def assert_every_weight_moves_from_here(layer, x):
    """In one step, from the weights that the layer has."""
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    before = model.get_weights()
    checks.train_one_step(model, x, draw(model(x).shape, seed=5))
    assert before
    for variable, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.isfinite(new).all(), variable.path
        assert (old != new).any(), variable.path


def assert_works_in_half_precision(kind, x, *args, **options):
    half = with_weights(kind(*args, dtype="mixed_float16", **options), x)
    full = with_weights(kind(*args, **options), x)
    out = half(x)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    assert {keras.backend.standardize_dtype(w.dtype) for w in half.weights} <= {"float32"}
    expected = predict(full, x)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ops.convert_to_numpy(out), expected, rtol=0.02, atol=0.02 * scale)
