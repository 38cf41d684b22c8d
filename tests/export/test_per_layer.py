"""Where a file's values leave Keras's: each layer by its own output, or not at all."""

import keras
import numpy as np
from keras import layers

from tfcompress.export import convert, per_layer


def test_no_layer_is_judged_by_a_step_inside_of_it(tmp_path):
    """Ops before the one that an activation is merged into have the layer's name and its shape."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    inputs = keras.Input((8, 8, 4))
    x = layers.BatchNormalization(name="alone")(inputs)  # A product, and a sum with the ReLU.
    x = layers.ReLU(name="after")(x)
    x = layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)  # Two convolutions.
    x = layers.BatchNormalization(name="merged")(x)
    x = layers.ReLU(name="last")(x)
    model = keras.Model(inputs, layers.Dense(3, name="scores")(layers.Flatten()(x)))
    for name in ("alone", "merged"):
        values = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([random.uniform(0.5, 2, v.shape) for v in values])
    convert.float_file(model, tmp_path / "m.tflite")
    images = random.normal(size=(4, 8, 8, 4)).astype("float32")
    errors = per_layer.differences(model, tmp_path / "m.tflite", images)
    assert {"after", "last", "scores"} <= set(errors)
    assert max(errors.values()) < 1e-5, errors
