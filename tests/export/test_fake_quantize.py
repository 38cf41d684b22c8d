"""Networks with `FakeQuantize` layers as integer files."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.checks import predict
from tests.qat.nets import NETS, images_for, net
from tests.qat.nets import quantised as quantised_net
from tfcompress.errors import InputError
from tfcompress.export import ExportError, convert, fake_quantize
from tfcompress.layers import FakeQuantize
from tfcompress.qat import train
from tfcompress.qat.prepare import prepare
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read


def quantised(model, x, **how):
    return train.wrap_and_calibrate(prepare(model, **how)[0], calibration=x).finish()


def relative(a, b):
    return np.sqrt(((a - b) ** 2).mean() / (b**2).mean())


def written(model, path, x):
    return tfcompress.export(model, path, storage="int8", representative=x, io="int8")


@pytest.mark.parametrize("name", NETS)
def test_no_float_op_is_left_and_the_outputs_are_keras(name, tmp_path):
    _, model = quantised_net(name)
    x = images_for(model, 64)
    file = written(model, tmp_path / "m.tflite", x)
    assert file.float_ops == ()
    assert file.float_products == ()
    assert file.parity.relative_rms < 0.05
    content = read(file.path)
    assert [t.dtype for t in (*content.inputs, *content.outputs)] == ["int8", "int8"]
    assert content.inputs[0].shape[0] == 1
    got = LiteModel(file.path).predict(x[:4])
    expected = predict(model, x[:4])
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max()


def test_the_files_weights_are_the_models(tmp_path):
    x = images_for(net("conv_bn"))
    model = quantised(net("conv_bn"), x)
    file = written(model, tmp_path / "m.tflite", x)
    stored = {array.shape: array for array in convert.int8_constants(tmp_path / "m.tflite")}
    kernel = model.get_layer("conv").get_weights()[0].transpose(3, 0, 1, 2)
    step = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
    assert (np.abs(stored[kernel.shape] - kernel) < 0.02 * step).all()
    assert file.weight_bytes["int8"] == sum(array.size for array in stored.values())


def test_zeros_of_a_pruned_network_are_zeros_in_the_file(tmp_path):
    model = net("conv_bn")
    kernel, *rest = model.get_layer("conv").get_weights()
    kernel[np.random.default_rng(0).random(kernel.shape) < 0.7] = 0
    model.get_layer("conv").set_weights([kernel, *rest])
    x = images_for(model)
    written(quantised(model, x), tmp_path / "m.tflite", x)
    stored = {array.shape: array for array in convert.int8_constants(tmp_path / "m.tflite")}
    assert (stored[(8, 3, 3, 3)][kernel.transpose(3, 0, 1, 2) == 0] == 0).all()


def test_filters_that_give_nothing_but_their_bias(tmp_path):
    """Their scale would be so small that the bias doesn't fit into 32 bits."""
    model = net("conv_relu")
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 2], bias[2] = 0, 1.5
    kernel[..., 3], bias[3] = kernel[..., 3] * 1e-9, -0.7
    kernel[..., 4], bias[4] = kernel[..., 4] * 1e-9, 0.7
    model.get_layer("conv").set_weights([kernel, bias])
    x = images_for(model)
    file = written(quantised(model, x), tmp_path / "m.tflite", x)
    assert file.parity.relative_rms < 0.02


def test_float_islands_are_named(tmp_path):
    image = keras.Input((8, 8, 3))
    h = layers.Conv2D(4, 3, name="conv")(image)
    h = layers.LayerNormalization(name="norm")(h)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(h)))
    x = images_for(model)
    file = written(quantised(model, x, on_unsupported="keep_float"), tmp_path / "m.tflite", x)
    assert any(op.startswith("RSQRT") and "norm" in op for op in file.float_ops)
    assert file.parity.relative_rms < 0.05


def test_names_change_nothing_and_weights_on_another_grid_are_noticed(tmp_path):
    x = images_for(net("conv_bn"))
    model = quantised(net("conv_bn"), x)
    path = fake_quantize.int8_file(model, tmp_path / "m.tflite")
    long, outputs = path.stat().st_size, LiteModel(path).predict(x)
    fake_quantize.int8_file(model, path, short_names=True)
    assert path.stat().st_size < long
    np.testing.assert_array_equal(LiteModel(path).predict(x), outputs)
    kernel, *rest = model.get_layer("point").get_weights()
    model.get_layer("point").set_weights([np.roll(kernel, 1, axis=2), *rest])
    with pytest.raises(ExportError, match=r"layer 'point' \(Conv2D\) don't stand in the file"):
        fake_quantize.check_weights(model, tmp_path / "m.tflite")


@pytest.mark.parametrize("storage", ["float32", "dynamic"])
def test_other_storages_are_refused(storage, tmp_path):
    image = keras.Input((4,))
    model = keras.Model(image, FakeQuantize()(layers.Dense(2)(image)))
    with pytest.raises(InputError, match=f"storage {storage} can't hold a model with FakeQuantize"):
        tfcompress.export(model, tmp_path / "m.tflite", storage=storage)
    assert not list(tmp_path.iterdir())


def test_other_bits_are_refused(tmp_path):
    image = keras.Input((4,))
    model = keras.Model(image, FakeQuantize(num_bits=4, name="coarse")(layers.Dense(2)(image)))
    with pytest.raises(InputError, match="layer 'coarse' rounds to 4 bits: files take 8"):
        tfcompress.export(model, tmp_path / "m.tflite", storage="int8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "ResNet50"])
def test_big_networks(name, tmp_path):
    """Briefly trained on real pictures, enlarged to 64x64."""
    keras.utils.set_random_seed(0)
    data = tfcompress.data.load("fashion_mnist_small")
    x, y = next(iter(data.batches("train", 2000)))
    x = keras.ops.convert_to_numpy(keras.ops.image.resize(x, (64, 64)))
    if name.startswith("Efficient"):
        x = (x * 60 + 100).astype("float32")  # It normalises pictures of 0 to 255 itself.
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9  # A few dozen steps must be enough for its statistics.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    model.fit(x, y, epochs=1, batch_size=32, verbose=0)
    rounded = quantised(model, x[:256])
    path = fake_quantize.int8_file(rounded, tmp_path / "m.tflite")
    assert fake_quantize.float_ops(read(path)) == ()
    outputs, in_keras, in_file = (
        run(x[:200], **quiet)
        for run, quiet in (
            (model.predict, {"verbose": 0}),
            (rounded.predict, {"verbose": 0}),
            (LiteModel(path).predict, {}),
        )
    )
    # EfficientNetB0 is so unsteady after 63 steps that 8 bits alone change its outputs by 0.3 of
    # their rms; there the file may differ from Keras by half as much.
    loss = relative(in_keras, outputs)
    assert loss < 0.5
    assert relative(in_file, in_keras) < (0.05 if name != "EfficientNetB0" else loss / 2)
