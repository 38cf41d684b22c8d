"""Quantization-aware training through TFMOT: ranges, what is kept, and the way back."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict
from tests.qat.nets import NETS, images_for, net, quantised
from tfcompress.bridge import BridgeError
from tfcompress.bridge import train as bridge_train
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.graph.rewrite import operations
from tfcompress.layers import FakeQuantize
from tfcompress.qat import train
from tfcompress.qat.layout import layout
from tfcompress.qat.prepare import prepare
from tfcompress.training import TrainingContext

WEIGHTED = ("Conv2D", "Dense", "DepthwiseConv2D")


def relative(a, b):
    return np.sqrt(((a - b) ** 2).mean() / (b**2).mean())


@pytest.fixture(scope="module")
def pictures():
    """Two shades with noise: learnt in a few steps."""
    rng = np.random.default_rng(0)
    labels = np.arange(256) % 2
    x = rng.integers(0, 100, (256, 12, 12, 3)) + 100 * labels[:, None, None, None]
    return from_arrays((x.astype(np.uint8), labels))


def small(classes=2, seed=0):
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.ReLU(name="relu2")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="small")


@pytest.mark.parametrize("name", NETS)
def test_comes_back_with_the_same_outputs(name):
    model = net(name)
    x = images_for(model, 64)
    prepared, result = quantised(name)
    expected = np.asarray(prepared.model(x, training=False))
    # Equal, but for values that the folded normalisation moves across the border of two steps.
    assert relative(predict(result, x), expected) < 0.01
    assert relative(expected, predict(model, x)) < 0.05
    assert any(isinstance(operation, FakeQuantize) for operation in operations(result))
    assert "BatchNormalization" not in {type(op).__name__ for op in operations(result)}


def test_kernels_come_back_on_their_grids():
    model = net("conv_bn")
    result = train.wrap_and_calibrate(prepare(model)[0], calibration=images_for(model)).finish()
    for layer in operations(result):
        if type(layer).__name__ not in WEIGHTED:
            continue
        kernel = layer.get_weights()[0].astype("float64")
        if type(layer).__name__ == "DepthwiseConv2D":
            kernel = kernel.reshape(*kernel.shape[:2], -1)
        axes = None if kernel.ndim == 2 else (0, 1, 2)[: kernel.ndim - 1]
        steps = kernel / (np.abs(kernel).max(axis=axes, keepdims=True) / 127)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_without_calibration_accuracy_collapses(pictures):
    """TFMOT's ranges start at +-6, whatever the activations are."""
    model = small()
    from tfcompress import training

    training.fit(model, pictures, Training(epochs=4, batch_size=32, learning_rate=5e-3))
    # Activations far beyond 6, as in networks without normalisation behind their last layers.
    kernel, bias = model.get_layer("depthwise").get_weights()
    model.get_layer("depthwise").set_weights([kernel * 50, bias * 50])
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel / 50, bias])
    rewritten, _ = prepare(model)
    x = pictures.representative(128, 0)
    expected = predict(model, x)
    calibrated = train.wrap_and_calibrate(rewritten, calibration=x).model(x, training=False)
    assert relative(np.asarray(calibrated), expected) < 0.05
    raw = train.wrap_and_calibrate(rewritten, calibration=None).model(x, training=False)
    assert relative(np.asarray(raw), expected) > 0.3


def test_trains_and_the_ranges_follow(pictures):
    made, _ = prepare(small())
    x = pictures.representative(64, 0)
    before = train.wrap_and_calibrate(made, calibration=x).finish()
    settings = Training(epochs=3, batch_size=32, learning_rate=5e-3)
    after, rows = train.fit(made, pictures, settings, calibration=x)
    assert len(rows) == 3
    assert rows[-1]["loss"] < rows[0]["loss"]
    for name in ("conv", "depthwise", "logits"):
        moved = before.get_layer(name).get_weights()[0] != after.get_layer(name).get_weights()[0]
        assert moved.any()
    ranges = [m.get_layer("relu_quantized").range() for m in (before, after)]
    assert ranges[0] != ranges[1]


def test_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(pictures, tmp_path):
    made, _ = prepare(small())
    x = pictures.representative(64, 0)
    settings = Training(epochs=2, batch_size=64, learning_rate=5e-3)
    whole, _ = train.fit(made, pictures, settings, calibration=x)

    class Stop(Exception):
        pass

    def stop(row):
        raise Stop

    context = TrainingContext(checkpoint=tmp_path / "c.npz", on_epoch=stop)
    with pytest.raises(Stop):
        train.fit(made, pictures, settings, context, calibration=x)
    context = TrainingContext(checkpoint=tmp_path / "c.npz")
    resumed, rows = train.fit(made, pictures, settings, context, calibration=x)
    assert len(rows) == 2
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def structured(what, seed=0):
    """The small net with zeros, or few values, in the kernels of two layers."""
    model = small(seed=seed)
    rng = np.random.default_rng(seed)
    for name in ("conv", "logits"):
        layer = model.get_layer(name)
        kernel, *rest = layer.get_weights()
        if "clusters" in what:
            values = np.quantile(kernel, np.linspace(0.05, 0.95, 6))
            kernel = values[np.abs(kernel[..., None] - values).argmin(-1)]
        if "sparsity" in what:
            kernel = np.where(rng.random(kernel.shape) < 0.6, 0, kernel)
        layer.set_weights([kernel, *rest])
    return model


@pytest.mark.parametrize(
    "what", [(), ("sparsity",), ("clusters",), ("sparsity", "clusters")], ids="+".join
)
def test_what_earlier_techniques_made_is_kept(what, pictures):
    made, _ = prepare(structured(what or {"sparsity", "clusters"}))
    settings = Training(epochs=2, batch_size=32, learning_rate=1e-2)
    result, _ = train.fit(
        made,
        pictures,
        settings,
        preserve=frozenset(what),
        calibration=pictures.representative(64, 0),
    )
    for name in ("conv", "logits"):
        old, new = (m.get_layer(name).get_weights()[0] for m in (made, result))
        zeros = old == 0
        if "sparsity" in what:
            assert zeros.mean() > 0.5
            assert (new[zeros] == 0).all()
        elif zeros.any() and not what:
            assert (new[zeros] == 0).mean() < 0.3
        per_filter = max(len(np.unique(new[..., i])) for i in range(new.shape[-1]))
        if "clusters" in what:
            assert per_filter <= 7
        elif not what:
            assert per_filter > 7


def test_a_layer_without_zeros_doesnt_cost_others_theirs(pictures):
    """TFMOT's scheme for both shares one quantizer, which the first such layer switches."""
    model = structured({"sparsity", "clusters"})
    kernel = model.get_layer("conv").get_weights()[0]
    model.get_layer("conv").set_weights([np.where(kernel == 0, kernel.max(), kernel)])
    made, _ = prepare(model)
    result, _ = train.fit(
        made,
        pictures,
        Training(epochs=1, batch_size=32, learning_rate=1e-2),
        preserve=frozenset({"sparsity", "clusters"}),
        calibration=pictures.representative(64, 0),
    )
    old, new = (m.get_layer("logits").get_weights()[0] for m in (made, result))
    assert (new[old == 0] == 0).all()


def test_unknown_property():
    with pytest.raises(InputError, match="preserve takes sparsity and clusters; got 'speed'"):
        train.wrap_and_calibrate(
            prepare(small())[0], preserve=frozenset({"speed"}), calibration=None
        )


def test_a_convolution_in_front_of_a_relu_layer_trains_rounded():
    """TFMOT's own layout leaves its weights float."""
    made, _ = prepare(net("conv_relu"))
    places = layout(made)
    assert places["conv"].kernel == "kernel"
    assert places["conv"].output == "none"
    assert places["relu"].output == "range"
    prepared = train.wrap_and_calibrate(made, calibration=images_for(made))
    wrapped = {
        layer.layer.name: layer for layer in prepared.model.layers if hasattr(layer, "layer")
    }
    assert len(wrapped["conv"]._weight_vars) == 1


def test_depthwise_kernels_have_a_range_for_each_channel():
    made, _ = prepare(net("conv_bn"))
    prepared = train.wrap_and_calibrate(made, calibration=images_for(made))
    wrapped = {
        layer.layer.name: layer for layer in prepared.model.layers if hasattr(layer, "layer")
    }
    ((kernel, _, variables),) = wrapped["depthwise"]._weight_vars
    largest = np.abs(kernel.numpy()).reshape(9, 16).max(0)
    np.testing.assert_allclose(variables["max_var"].numpy(), largest)
    np.testing.assert_allclose(variables["min_var"].numpy(), -largest)


def test_transposed_kernels_have_a_range_for_each_filter():
    made, _ = prepare(net("transposed_bn"))
    quantized = train.wrap_and_calibrate(made, calibration=images_for(made))
    wrapped = {
        layer.layer.name: layer for layer in quantized.model.layers if hasattr(layer, "layer")
    }
    ((kernel, _, variables),) = wrapped["up"]._weight_vars
    largest = np.abs(kernel.numpy()).max((0, 1, 3))  # (height, width, filters, channels)
    np.testing.assert_allclose(variables["max_var"].numpy(), largest)


def test_accuracy_is_measured_on_the_quantised_model(pictures):
    made, _ = prepare(small())
    prepared = train.wrap_and_calibrate(made, calibration=pictures.representative(64, 0))
    result = prepared.finish()
    right = 0
    for images, labels in pictures.batches("test", 64):
        right += int((predict(result, images).argmax(-1) == labels).sum())
    assert bridge_train.accuracy(prepared.model, pictures) == pytest.approx(
        right / len(pictures.test)
    )


def test_what_training_moved_comes_back():
    """Kernels, biases and the statistics of batch normalisation, not those of before."""
    made, _ = prepare(small())
    x = images_for(made, 64)
    quantized = train.wrap_and_calibrate(made, calibration=x)
    rng = np.random.default_rng(0)
    for weight in quantized.model.weights:
        name = weight.name.split("/")[-1]
        if name in ("gamma:0", "moving_variance:0", "kernel:0", "depthwise_kernel:0"):
            weight.assign(weight * rng.uniform(0.5, 0.9, weight.shape))
        if name in ("beta:0", "moving_mean:0", "bias:0"):
            weight.assign(weight + rng.uniform(-0.1, 0.1, weight.shape))
    result = quantized.finish()
    expected = np.asarray(quantized.model(x, training=False))
    assert relative(predict(result, x), expected) < 0.01
    assert relative(predict(made, x), expected) > 0.3  # It was moved far.
    # The kernel became smaller, and its ranges with it.
    ((kernel, _, variables),) = quantized.model.get_layer("quant_depthwise")._weight_vars
    largest = np.abs(kernel.numpy()).reshape(9, -1).max(0)
    np.testing.assert_allclose(variables["max_var"].numpy(), largest)


def test_ranges_are_those_of_the_activations():
    """Inputs have the extremes of all images, others the mean of the batches'."""
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(2, 1, name="conv")(image)
    model = prepare(keras.Model(image, layers.Flatten()(x)))[0]
    # Three batches of 64, 64 and 16, the first of them three times as wide.
    images = images_for(model, 144)
    images[:64] *= 3
    result = train.wrap_and_calibrate(model, calibration=images).finish()
    batches = [images[:64], images[64:128], images[128:]]
    assert result.get_layer("image_quantized").range() == pytest.approx(
        (images.min(), images.max())
    )
    outputs = [predict(model, batch) for batch in batches]
    expected = [np.mean([y.min() for y in outputs]), np.mean([y.max() for y in outputs])]
    assert result.get_layer("conv_quantized").range() == pytest.approx(expected, rel=1e-5)


def test_zero_is_in_every_range():
    image = keras.Input((12, 12, 3), name="image")
    model = prepare(keras.Model(image, layers.Conv2D(2, 1)(image)))[0]
    for images, expected in (
        (images_for(model) ** 2 + 1, 0.0),
        (-(images_for(model) ** 2) - 1, 1.0),
    ):
        result = train.wrap_and_calibrate(model, calibration=images).finish()
        low, high = result.get_layer("image_quantized").range()
        assert (low, high)[int(expected)] == 0.0
        assert low < high


@pytest.mark.parametrize(("factor", "refused"), [(1.05, False), (1.15, True), (np.nan, True)])
def test_a_copy_that_computes_something_else_is_refused(monkeypatch, factor, refused):
    """Outputs that are all too large by a share differ by that share of their rms."""
    made, _ = prepare(small())
    x = images_for(made)
    quantized = train.wrap_and_calibrate(made, calibration=x)
    right = train.to_fake_quantized(quantized.prepared, quantized.specs, quantized.model)
    outputs = right.outputs[0]
    wrong = keras.Model(right.inputs, layers.Rescaling(factor)(outputs), name="wrong")
    monkeypatch.setattr(train, "to_fake_quantized", lambda *_: wrong)
    if refused:
        with pytest.raises(BridgeError, match=r"'wrong' differs by .* \(allowed: 0.1\)"):
            quantized.finish(x)
    else:
        assert quantized.finish(x) is wrong
    assert quantized.finish() is wrong  # Nothing to compare on.
