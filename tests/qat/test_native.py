"""Quantization-aware training in Keras 3, step by step against TFMOT on tf_keras."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict, save_and_load
from tests.qat.nets import NETS, images_for, net, quantised
from tests.qat.test_train import relative
from tfcompress.bridge.legacy import tf_keras
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.graph.rewrite import operations
from tfcompress.layers import FakeQuantize
from tfcompress.layers._fake_quantize_kernel import FakeQuantizeKernel
from tfcompress.qat import native, train
from tfcompress.qat.prepare import prepare
from tfcompress.training import Stopped, TrainingContext

STEPS = 6


def small(seed=0):
    """Each kind of kernel and of range, and a batch normalisation."""
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, name="depthwise")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, name="up")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="small")


@functools.cache
def examples():
    """Batches of 8, each somewhat wider than the one before it."""
    x = images_for(small(), STEPS * 8) * np.repeat(np.linspace(1, 2, STEPS), 8)[:, None, None, None]
    return x.astype("float32"), np.arange(STEPS * 8) % 3


def one_step_each(module, model, optimizer):
    """Yields after each step of a training in Keras 3 or tf_keras."""
    loss = module.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(module), loss, jit_compile=False)
    x, y = examples()
    for step in range(STEPS):
        model.train_on_batch(x[step * 8 : step * 8 + 8], y[step * 8 : step * 8 + 8])
        yield


def tfmots_state(model):
    """Returns ranges and kernels by layer name."""
    wrappers = {each.layer.name: each for each in model.layers if hasattr(each, "layer")}
    ranges = {
        name.removesuffix("_quantize"): [
            each._output_quantizer_vars[end].numpy() for end in ("min_var", "max_var")
        ]
        for name, each in wrappers.items()
        if getattr(each, "_output_quantizer_vars", None)
    }
    kernels = {
        name: each._weight_vars[0][0] for name, each in wrappers.items() if each._weight_vars
    }
    return ranges, {name: kernel.numpy() for name, kernel in kernels.items()}


def native_state(model):
    ranges, kernels = {}, {}
    for layer in operations(model):
        if isinstance(layer, FakeQuantize) and layer.adapt:
            ranges[layer.name.removesuffix("_quantized")] = layer.range()
        if isinstance(layer, FakeQuantizeKernel):
            kernels[layer.name] = keras.ops.convert_to_numpy(layer.kernel)
    return ranges, kernels


def give_trained_weights(theirs, ours):
    """Gives kernels and biases that differ by last bits the same ones.

    These decide whether the largest weight of a filter lies within its range, and so gets a
    gradient at all, in TensorFlow's op and in ours.
    """
    for wrapper in theirs.layers:
        if getattr(wrapper, "_weight_vars", None):
            kernel = wrapper._weight_vars[0][0]
            bias = [wrapper.layer.bias] if wrapper.layer.use_bias else []
            ours.get_layer(wrapper.layer.name).set_weights([w.numpy() for w in (kernel, *bias)])


def test_ranges_and_weights_are_tfmots_at_every_step():
    def optimizer(module):
        return module.optimizers.SGD(0.1, momentum=0.9)

    prepared, _ = prepare(small())
    x, _ = examples()
    theirs = train.wrap_and_calibrate(prepared, calibration=x[:16])
    ours = native.quantized(prepared, calibration=x[:16])
    first, _ = native_state(ours)
    pairs = zip(
        one_step_each(tf_keras(), theirs.model, optimizer),
        one_step_each(keras, ours, optimizer),
        strict=True,
    )
    for step, _ in enumerate(pairs):
        expected, expected_kernels = tfmots_state(theirs.model)
        ranges, kernels = native_state(ours)
        assert ranges.keys() == expected.keys()
        for name, ends in ranges.items():
            np.testing.assert_allclose(ends, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
        assert kernels.keys() == expected_kernels.keys() == {"conv", "depthwise", "up", "logits"}
        for name, kernel in kernels.items():
            np.testing.assert_allclose(
                kernel, expected_kernels[name], atol=2e-6, err_msg=f"{name}, step {step + 1}"
            )
        give_trained_weights(theirs.model, ours)
    assert all(ranges[name] != first[name] for name in ranges)
    # tf_keras's batch normalisation keeps another estimate of the variance.
    assert relative(predict(native.finished(ours), x), predict(theirs.finish(), x)) < 0.01


@pytest.mark.parametrize(
    "name",
    [n if n in ("conv_bn", "scaled") else pytest.param(n, marks=pytest.mark.slow) for n in NETS],
)
def test_before_training_it_computes_what_tfmots_copy_does(name):
    model = net(name)
    x = images_for(model, 64)
    by_keras = native.quantized(prepare(model, by_tfmot=False)[0], calibration=x)
    finished = native.finished(by_keras)
    np.testing.assert_array_equal(predict(finished, x), predict(by_keras, x))
    _, by_tfmot = quantised(name)
    assert relative(predict(finished, x), predict(by_tfmot, x)) < 0.01
    kinds = [[type(op).__name__ for op in operations(m)] for m in (finished, by_tfmot)]
    assert kinds[0] == kinds[1]
    assert not native.is_quantized(finished)


@pytest.fixture(scope="module")
def pictures():
    """Two shades with noise: learnt in a few steps."""
    labels = np.arange(64) % 2
    x = np.random.default_rng(0).integers(0, 100, (64, 12, 12, 3))
    return from_arrays(((x + 100 * labels[:, None, None, None]).astype(np.uint8), labels))


def sparse():
    """A net with zeros in two kernels."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(2, name="logits")(x))
    for layer in (model.get_layer("conv"), model.get_layer("logits")):
        kernel, bias = layer.get_weights()
        layer.set_weights([np.where(np.abs(kernel) < 0.1, 0, kernel), bias])
    return model


def test_goes_on_from_a_checkpoint_and_keeps_zeros(pictures, tmp_path):
    model = sparse()
    prepared, _ = prepare(model, by_tfmot=False)
    arguments = {"calibration": pictures.representative(32, 0), "preserve": frozenset({"sparsity"})}
    settings = Training(epochs=2, batch_size=16, learning_rate=1e-2, weight_decay=1e-3)
    whole, rows = native.fit(prepared, pictures, settings, **arguments)
    assert len(rows) == 2
    assert rows[1]["loss"] < rows[0]["loss"]

    def stop(epoch, step, steps):
        if (epoch, step) == (2, 2):
            raise KeyboardInterrupt

    kept = TrainingContext(checkpoint=tmp_path / "state.npz")
    context = TrainingContext(checkpoint=tmp_path / "state.npz", on_step=stop)
    with pytest.raises(Stopped):
        native.fit(prepared, pictures, settings, context, **arguments)
    resumed, _ = native.fit(prepared, pictures, settings, kept, **arguments)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("conv", "logits"):
        old, new = (m.get_layer(name).get_weights()[0] for m in (model, whole))
        assert (old == 0).any()
        np.testing.assert_array_equal(new[old == 0], 0)
        assert (new[old != 0] != 0).mean() > 0.8
        assert not np.isclose(new, old, atol=1e-3)[old != 0].all()


def test_shared_values_and_zeros_are_kept(pictures):
    """Of a convolution each filter has its own values, of a matrix all have the same."""
    model = sparse()
    rng = np.random.default_rng(0)
    levels = np.array([-0.3, -0.1, 0, 0.2, 0.4], "float32")
    for name in ("conv", "logits"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([rng.choice(levels, kernel.shape), bias])
    prepared, _ = prepare(model, by_tfmot=False)
    trained, _ = native.fit(
        prepared,
        pictures,
        Training(epochs=1, batch_size=16, learning_rate=2e-2),
        preserve=frozenset({"sparsity", "clusters"}),
        calibration=pictures.representative(32, 0),
    )
    for name in ("conv", "logits"):
        old, new = (m.get_layer(name).get_weights()[0] for m in (model, trained))
        assert (new[old == 0] == 0).all()
        for before, after in zip(np.moveaxis(old, -1, 0), np.moveaxis(new, -1, 0), strict=True):
            assert len(np.unique(after)) <= 5
            assert not np.isclose(after, before, atol=1e-3)[before != 0].all()


def test_a_file_of_the_model_in_training_is_loaded(tmp_path):
    model = sparse()
    x = images_for(model, 16)
    ready = native.quantized(prepare(model, by_tfmot=False)[0], calibration=x)
    again = save_and_load(ready, tmp_path)
    np.testing.assert_array_equal(predict(again, x), predict(ready, x))
    assert native.is_quantized(again)


def test_other_layers_cannot_be_wrapped():
    with pytest.raises(ValueError, match=r"layer must be one of Conv2D.* Received: LSTM"):
        FakeQuantizeKernel(layers.LSTM(3))
