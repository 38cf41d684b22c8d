"""Small nets, each with something that TFMOT or the converter would leave float, or get wrong."""

import functools

import keras
import numpy as np
from keras import layers

from tests.techniques.conftest import randomise
from tfcompress.qat import train
from tfcompress.qat.prepare import prepare

SIZE = 12


def _image():
    return keras.Input((SIZE, SIZE, 3), name="image")


def _head(x, units=5, **config):
    return layers.Dense(units, name="scores", **config)(layers.GlobalAveragePooling2D()(x))


def dense_bn():
    x = image = _image()
    x = layers.Flatten()(x)
    x = layers.Dense(12, name="hidden")(x)
    x = layers.BatchNormalization(name="hidden_bn")(x)
    x = layers.ReLU()(x)
    x = layers.Dense(8, use_bias=False, name="second")(x)
    x = layers.BatchNormalization(name="second_bn")(x)
    return image, layers.Dense(5)(x)


def conv_relu():
    """Convolutions with biases and ReLU layers behind them, but no batch normalisation."""
    x = image = _image()
    x = layers.Conv2D(8, 3, padding="same", name="conv")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, strides=2, name="depthwise")(x)
    x = layers.ReLU(6.0, name="relu6")(x)
    return image, _head(x)


def conv_bn():
    x = image = _image()
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="conv_bn")(x)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(name="depthwise_bn")(x)
    x = layers.ReLU(6.0)(x)
    x = layers.Conv2D(8, 1, name="point")(x)
    x = layers.BatchNormalization(name="point_bn")(x)
    return image, _head(x)


def fused():
    """Activations inside layers."""
    x = image = _image()
    for number, activation in enumerate(
        ["swish", "relu6", "leaky_relu", "relu", "sigmoid", "tanh"]
    ):
        x = layers.Conv2D(6 + number, 3, padding="same", activation=activation)(x)
    return image, _head(x, activation="softmax")


def activations():
    """Activations as layers."""
    x = image = _image()
    x = layers.Conv2D(6, 3, activation=layers.LeakyReLU(0.1))(x)
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="uniform", name="prelu")(x)
    x = layers.Conv2D(6, 3)(x)
    x = layers.ReLU(negative_slope=0.3)(x)
    x = layers.Activation("hard_silu")(x)
    x = layers.Conv2D(6, 1, activation="elu")(x)
    x = layers.Conv2D(6, 1, activation="selu")(x)
    x = layers.ELU(0.5)(x)
    x = layers.Conv2D(6, 3, activation="gelu")(x)
    x = layers.Activation("hard_sigmoid")(x)
    return image, _head(x)


def transposed_bn():
    x = image = _image()
    x = layers.Conv2D(6, 3, strides=2, padding="same")(x)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", name="up")(x)
    x = layers.BatchNormalization(name="up_bn")(x)
    x = layers.ReLU()(x)
    x = layers.UpSampling2D(2)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2D(4, 3)(x)
    return image, _head(x)


def separable():
    """Two of them: TFMOT's parts of both have the same names."""
    x = image = _image()
    for number in range(2):
        x = layers.SeparableConv2D(8, 3, padding="same", name=f"separable{number}")(x)
        x = layers.BatchNormalization(name=f"bn{number}")(x)
        x = layers.ReLU()(x)
    x = layers.SeparableConv2D(6, 3, strides=2, activation="relu", depth_multiplier=2)(x)
    return image, _head(x)


def lone_bn():
    """Batch normalisations behind no convolution: of the image, of a sum, before a padding."""
    x = image = _image()
    x = layers.BatchNormalization(name="bn_image")(x)
    x = skip = layers.Conv2D(8, 3, padding="same", name="first")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(8, 3, padding="same", name="second")(x)
    x = layers.Add()([x, skip])
    x = layers.BatchNormalization(name="bn_sum")(x)
    x = layers.Conv2D(6, 3, padding="same", name="third")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.BatchNormalization(name="bn_features")(x)
    return image, layers.Dense(5)(x)


def merges():
    x = image = _image()
    a = layers.Conv2D(6, 3, activation="relu", name="a")(x)
    b = layers.Conv2D(6, 3, name="b")(x)
    c = layers.Conv2D(6, 3, activation="tanh", name="c")(x)
    total = layers.Add()([a, b, c])
    total = layers.ReLU()(total)
    middle = layers.Average()([a, b, total])
    apart = layers.Subtract()([middle, c])
    product = layers.Multiply()([apart, a, b])
    most = layers.Maximum()([product, total])
    least = layers.Minimum()([middle, b])
    x = layers.Concatenate()([most, least, a])
    x = layers.Conv2D(6, 3)(x)
    return image, _head(x)


def excited():
    """Squeeze and excitation."""
    x = image = _image()
    x = layers.Conv2D(8, 3, activation="swish")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="swish")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    return image, _head(x)


def scaled():
    x = image = _image()
    x = layers.Rescaling(0.5, offset=0.25)(x)
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 1.0, 2.0])(x)
    x = layers.Conv2D(6, 3, padding="same")(x)
    x = x * 2.0 + 0.5
    return image, _head(x)


def one_axis():
    x = image = keras.Input((SIZE * 2, 3), name="image")
    x = layers.Conv1D(6, 3, padding="same", activation="relu", name="first")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, name="causal")(x)
    x = layers.MaxPooling1D(2)(x)
    x = layers.SeparableConv1D(8, 3, strides=2, padding="same", name="separable")(x)
    x = layers.DepthwiseConv1D(3, name="depthwise")(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling1D()(x)
    return image, layers.Dense(5)(x)


def nested():
    """Models within a model, a layer called twice, and names that come twice."""
    inner = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 6)),
            layers.Conv2D(6, 3, padding="same", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="relu"),
        ],
        name="block",
    )
    shared = layers.Conv2D(6, 3, padding="same", name="twice")
    x = image = _image()
    x = layers.Conv2D(6, 3, padding="same", activation="swish", name="conv")(x)
    x = layers.Add()([inner(x), x])
    x = layers.ReLU()(shared(layers.ReLU()(shared(x))))
    return image, _head(x)


def pools():
    x = image = _image()
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Cropping2D(1)(x)
    x = layers.Conv2D(8, 3, padding="same")(x)
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Reshape((4, 2))(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Flatten()(x)
    return image, layers.Dense(5)(x)


NETS = {
    build.__name__: build
    for build in (
        *(dense_bn, conv_relu, conv_bn, fused, activations, transposed_bn, separable, lone_bn),
        *(merges, excited, scaled, one_axis, nested, pools),
    )
}


def net(name, seed=0):
    """One of the nets, with weights and statistics that a wrong formula can't hide behind."""
    keras.utils.set_random_seed(seed)
    inputs, outputs = NETS[name]()
    return randomise(keras.Model(inputs, outputs, name=name), seed)


def images_for(model, count=32, seed=0):
    """Normal images of the model's size."""
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@functools.cache
def quantised(name):
    """A net wrapped by TFMOT and calibrated on 64 images, and what it comes back as.

    Made once for all who only look at it.
    """
    model = net(name)
    x = images_for(model, 64)
    prepared = train.wrap_and_calibrate(prepare(model)[0], calibration=x)
    return prepared, prepared.finish(x)
