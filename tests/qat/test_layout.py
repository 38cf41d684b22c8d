"""Where a model is quantised, layer by layer."""

import keras
import pytest
from keras import layers

from tests.qat.nets import SIZE, net
from tfcompress.qat.layout import QuantSpec, layout
from tfcompress.qat.prepare import prepare


def specs_of(build, **options):
    image = keras.Input((SIZE, SIZE, 3), name="image")
    return layout(prepare(keras.Model(image, build(image)), **options)[0])


def test_inputs_have_the_widest_range():
    assert specs_of(layers.Flatten())["image_quantize"] == QuantSpec(output="input")


@pytest.mark.parametrize(
    ("relu", "fused"),
    [
        (layers.ReLU(name="relu"), True),
        (layers.ReLU(6.0, name="relu"), True),
        (layers.ReLU(5.0, name="relu"), False),
        (layers.ReLU(negative_slope=0.1, name="relu"), False),
    ],
)
def test_a_relu_that_is_part_of_the_op_before_it(relu, fused):
    specs = specs_of(lambda x: relu(layers.Conv2D(4, 3, name="conv")(x)))
    assert specs["conv"] == QuantSpec("kernel", "none" if fused else "range")
    assert specs["relu"] == QuantSpec(None, "range")


def test_batch_normalisation_is_part_of_the_convolution():
    specs = layout(prepare(net("conv_bn"))[0])
    assert specs["depthwise"] == QuantSpec("depthwise_kernel", "none")
    assert specs["depthwise_bn"].output == "none"  # A ReLU6 behind takes the range.
    assert specs["point"] == QuantSpec("kernel", "none")
    assert specs["point_bn"] == QuantSpec(None, "range")


@pytest.mark.parametrize(
    ("activation", "fixed_range"),
    [("sigmoid", (0.0, 255 / 256)), ("softmax", (0.0, 255 / 256)), ("tanh", (-1.0, 127 / 128))],
)
def test_grids_that_the_file_fixes(activation, fixed_range):
    """The TFLite quantisation specification: scale 1/256 with zero point -128, or 1/128 with 0."""
    specs = specs_of(layers.Activation(activation, name="act"))
    assert specs["act"] == QuantSpec(None, "fixed", fixed_range)


def test_what_moves_values_has_no_range():
    def build(x):
        x = layers.MaxPooling2D(name="pool")(x)
        x = layers.UpSampling2D(name="nearest")(x)
        x = layers.UpSampling2D(interpolation="bilinear", name="bilinear")(x)
        return layers.Reshape((-1,), name="flat")(x)

    specs = specs_of(build)
    assert {specs[name].output for name in ("pool", "nearest", "flat")} == {"none"}
    assert specs["bilinear"].output == "range"


def test_a_concatenation_takes_its_inputs_grids_over():
    def build(x):
        a = layers.Conv2D(4, 3, name="a")(x)
        b = layers.Conv2D(4, 3, name="b")(x)
        both = layers.Concatenate(name="both")([a, b])
        return layers.Concatenate(name="again")([both, layers.Conv2D(2, 3, name="c")(x), b])

    specs = specs_of(build)
    outputs = {name: specs[name].output for name in ("a", "b", "c", "both", "again")}
    # `b` goes elsewhere, too, so it keeps its own.
    assert outputs == {"a": "none", "b": "range", "c": "none", "both": "none", "again": "range"}


def test_what_stays_float_is_quantised_behind_it():
    def build(x):
        x = layers.LayerNormalization(name="odd")(layers.Conv2D(4, 3, name="conv")(x))
        return layers.Conv2D(4, 3, name="last")(x)

    specs = specs_of(build, on_unsupported="keep_float")
    assert specs["odd"] == QuantSpec()
    assert specs["odd_quantize"] == QuantSpec(output="range")
