"""What rounding may make of outputs: right files of sensitive nets pass, wrong ones don't."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import graph
from tfcompress.export import ExportError, convert, rounding, storages, verify
from tfcompress.export.parity import ComparedOutput
from tfcompress.export.storage import EXACT
from tfcompress.layers import BinaryDense

FLOAT = storages.get("float32").usual
NAMES = [f"layer{number}" for number in range(12)]


def deep_net(gain, names=NAMES):
    """Dense layers, one behind another; with a large gain, each enlarges what came out wrong."""
    x = inputs = keras.Input((16,))
    random = np.random.default_rng(0)
    kernels = {name: random.normal(0, gain / 4, (16, 16)) for name in NAMES}
    for name in names:
        x = layers.Dense(16, activation="tanh", name=name, use_bias=False)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x))
    for name in names:
        model.get_layer(name).set_weights([kernels[name]])
    model.get_layer("scores").set_weights([random.normal(size=(16, 3)), np.zeros(3)])
    return model


@pytest.fixture(scope="module", params=[1.0, 5.0], ids=["calm", "sensitive"])
def net(request):
    """A net, its inputs and outputs, and what rounding is allowed to make of them."""
    model = deep_net(request.param)
    x = np.random.default_rng(1).normal(size=(40, 16)).astype("float32")
    expected = np.asarray(model(x))
    return request.param, model, x, expected, rounding.allowances(model, x, [expected])[0]


def share_of_limit(expected, actual, allowed):
    largest = float(np.abs(expected).max())
    output = ComparedOutput(name="", expected=expected, actual=actual, classes=3, largest=largest)
    return output.share_of_limit(output.parity(0), FLOAT, allowed)


def test_a_right_file(net, tmp_path):
    gain, model, x, _, allowed = net
    path = tmp_path / "m.tflite"
    convert.float_file(model, path)
    parity = verify.check_parity(model, path, x, FLOAT, storage="float32")
    sensitive = gain > 1
    assert (parity.max_abs_diff > 5 * EXACT.max_abs) == sensitive
    assert (allowed.largest > EXACT.max_abs) == sensitive


def one_weight(kernel):
    kernel[2, 3] += 1e-3
    return kernel


CHANGES = {
    "one weight": ("layer3", one_weight),
    "a kernel's scale": ("layer3", lambda kernel: kernel * 1.001),
    "swapped channels": ("layer11", lambda kernel: kernel[:, [1, 0, *range(2, 16)]]),
    "the last layer": ("scores", lambda kernel: kernel + np.float32([0.02, 0, 0])),
}


@pytest.mark.parametrize("wrong", [*CHANGES, "a missing layer", "every score by a little"])
def test_a_wrong_file(net, wrong):
    gain, model, x, expected, allowed = net
    if wrong in CHANGES:
        name, change = CHANGES[wrong]
        other = graph.clone(model)
        kernel = other.get_layer(name).kernel
        kernel.assign(change(kernel.numpy()))
        actual = np.asarray(other(x))
    elif wrong == "a missing layer":
        actual = np.asarray(deep_net(gain, NAMES[:5] + NAMES[6:])(x))
    else:  # Rounding moves some rows far; never all of them.
        actual = expected + np.float32(max(0.9 * allowed.largest, 2e-5))
    assert share_of_limit(expected, actual, allowed) > 1


def test_the_refusal_says_what_rounding_may_make(net):
    gain, model, x, expected, _ = net
    says = r"by up to 0\.02 of .* \(storage float32 allows .*e-0.\), by .* of their rms, labels"
    if gain > 1:
        says = r"of 1 \(rounding may make it 0\.000.*\), by .* of their rms \(rounding may make it"
    with pytest.raises(ExportError, match=says):
        verify.check_parity(
            model, "unread", x, FLOAT, storage="float32", outputs=expected + np.float32(0.02)
        )


def test_labels_that_rounding_may_turn():
    expected = np.array([[0.5, 0.4999, 0.0]])
    actual = np.array([[0.4999, 0.5, 0.0]])
    assert share_of_limit(expected, actual, rounding.NO_ROUNDING) > 1
    assert share_of_limit(expected, actual, rounding.Rounding(3e-4, 3e-4)) < 1


def test_a_model_with_signs_is_allowed_nothing():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, BinaryDense(3)(BinaryDense(6)(inputs)))
    x = np.ones((4, 8), "float32")
    assert rounding.allowances(model, x, [np.asarray(model(x))]) == [rounding.NO_ROUNDING]


@pytest.mark.parametrize(
    ("layer", "shape", "units"),
    [
        (layers.Dense(7), (400, 7), 20.0),
        (layers.Conv2D(7, 3), (3, 3, 100, 7), 30.0),
        (layers.DepthwiseConv2D((5, 5)), (5, 5, 900, 1), 5.0),
        (layers.Embedding(1000, 8), (1000, 8), 4.0),
        (layers.BatchNormalization(), (900,), 4.0),
    ],
)
def test_units_follow_from_the_length_of_the_sums(layer, shape, units):
    assert rounding._units(layer, shape) == units
