"""Nets for the integer storages, and what stands in their files."""

import keras
import numpy as np
from keras import layers

from tests.techniques.conftest import randomise

SIZE = 16


def mixed_net(seed=0):
    """A convolution, a depthwise one, a residual addition, a leaky ReLU, two dense layers."""
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(x)
    x = layers.BatchNormalization(name="first_bn")(x)
    x = skip = layers.LeakyReLU(negative_slope=0.1, name="leaky")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(8, 1, activation="relu", name="pointwise")(x)
    x = layers.Add(name="add")([x, skip])
    x = layers.MaxPooling2D(4, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(12, activation="relu", name="hidden")(x)
    model = keras.Model(image, layers.Dense(5, name="scores")(x), name="mixed_net")
    return randomise(model, seed)


# Weights of convolutions and dense layers, and of the depthwise convolution.
FOUR_BIT_WEIGHTS = 9 * 3 * 8 + 8 * 8 + 16 * 8 * 12 + 12 * 5
DEPTHWISE_WEIGHTS = 9 * 8


def pictures(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, SIZE, SIZE, 3)).astype("float32")


def constants(path):
    """Each constant of a file by name: its integers, scales and zero points."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    types = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    found = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        kind = types[tensor.type]
        if data is None or kind not in ("INT8", "INT4"):
            continue
        values = np.asarray(data, np.uint8).view(np.int8)
        if kind == "INT4":  # Two in a byte, the lower half first.
            halves = np.stack([(values << 4).astype(np.int8) >> 4, values >> 4], -1)
            values = halves.ravel()[: np.prod(tensor.shape)]
        grid = tensor.quantization
        found[tensor.name.decode()] = (
            kind,
            values.reshape(tensor.shape),
            np.asarray(grid.scale),
            np.asarray(grid.zeroPoint),
        )
    return found
