import keras
import pytest
from keras import layers

from tfcompress.errors import InputError
from tfcompress.models import blocks


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [
        (96, 1.0, 96),
        (4048, 1.0, 4048),
        (10, 1, 10),  # width 1 changes nothing, not even to a multiple of 8
        (10, 1.01, 8),
        (96, 0.5, 48),
        (96, 2, 192),
        (64, 0.3, 16),  # 19.2 is nearer to 16 than to 24
        (64, 0.32, 24),  # 20.48
        (512, 1e-9, 8),
    ],
)
def test_scaled(channels, width, expected):
    assert blocks.scaled(channels, width) == expected


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_width_must_be_positive(width):
    with pytest.raises(InputError, match=f"width must be a positive number; got {width}"):
        blocks.scaled(64, width)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_dropout_must_leave_something(rate):
    with pytest.raises(InputError, match=rf"dropout must be in \[0, 1\); got {rate}"):
        blocks.drop(keras.Input((3,)), rate, "dropout")


def test_conv_bn_relu_are_layers_of_their_own():
    inputs = keras.Input((8, 8, 3))
    outputs = blocks.conv_bn_relu(inputs, 4, 3, "stem", strides=2, use_bias=False)
    model = keras.Model(inputs, outputs)
    assert [(type(layer), layer.name) for layer in model.layers[1:]] == [
        (layers.Conv2D, "stem"),
        (layers.BatchNormalization, "stem_bn"),
        (layers.ReLU, "stem_relu"),
    ]
    assert model.output_shape == (None, 3, 3, 4)
    assert model.count_params() == 3 * 3 * 3 * 4 + 4 * 4
