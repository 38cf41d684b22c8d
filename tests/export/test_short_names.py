"""Files whose tensors have short names."""

import keras
import numpy as np
from keras import layers

from tfcompress import export
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read


def net():
    x = image = keras.Input((8, 8, 3), name="image")
    for width in (6, 8):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(5, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, {"scores": layers.Softmax()(x)})
    for layer in model.layers:  # Or normalisation would change nothing, and leave no name.
        layer.set_weights([w + 0.1 for w in layer.get_weights()])
    return model


def test_the_file_is_smaller_and_the_same_otherwise(tmp_path):
    model = net()
    x = np.random.default_rng(0).normal(size=(40, 8, 8, 3)).astype("float32")
    exported = [
        export(
            model,
            tmp_path / f"{short}.tflite",
            storage="int8_int4",
            representative=x,
            io="float32",
            strict=False,
            short_names=short,
        )
        for short in (False, True)
    ]
    contents = [read(each.path) for each in exported]
    letters = [
        sum(len(t.name) for op in c.ops for t in (*op.inputs, *op.outputs) if t) for c in contents
    ]
    saved = exported[0].size_bytes - exported[1].size_bytes
    assert saved > 500
    assert letters[1] < letters[0] / 2
    outputs = [LiteModel(each.path).predict({"image": x}) for each in exported]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert exported[0].layer_bytes == exported[1].layer_bytes
    assert exported[0].errors == exported[1].errors
    assert contents[0].inputs[0].name == contents[1].inputs[0].name
    names = [t.name for t in dict.fromkeys(t for op in contents[1].ops for t in op.outputs)]
    assert len(set(names)) == len(names)
