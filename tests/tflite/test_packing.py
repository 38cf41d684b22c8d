"""Equal vectors are stored once, and the file says what it said."""

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

import tfcompress
from tfcompress.runtime import LiteModel
from tfcompress.tflite import parser
from tfcompress.tflite.packing import pack


def test_the_same_file_in_fewer_bytes(tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(32, 1, name=f"conv{number}") for number in range(6)]
    model = keras.Sequential([keras.Input((4, 4, 32)), *layers])
    x = np.random.default_rng(0).normal(size=(20, 4, 4, 32)).astype("float32")
    path, other = tmp_path / "m.tflite", tmp_path / "other.tflite"
    tfcompress.export(model, path, storage="int8", representative=x)
    unpacked = parser.unpack(path.read_bytes(), path)
    unshared = bytes(flatbuffer_utils.convert_object_to_bytearray(unpacked))
    # At least five of six vectors of 32 zero points, of 8 bytes each.
    assert len(unshared) - path.stat().st_size > 5 * 32 * 8
    assert pack(schema.ModelT.InitFromPackedBuf(unshared, 0)) == pack(unpacked)
    other.write_bytes(unshared)
    np.testing.assert_array_equal(LiteModel(path).predict(x), LiteModel(other).predict(x))


def model_of(*tensors, constants=()):
    model = schema.ModelT()
    model.subgraphs = [schema.SubGraphT()]
    model.subgraphs[0].tensors = list(tensors)
    model.buffers = [schema.BufferT() for _ in constants]
    for buffer, data in zip(model.buffers, constants, strict=True):
        buffer.data = data
    return model


def tensor(scale, zero_point):
    result = schema.TensorT()
    result.quantization = schema.QuantizationParametersT()
    result.quantization.scale, result.quantization.zeroPoint = scale, zero_point
    return result


def test_vectors_of_other_types_are_apart():
    """Equal bytes, but one vector is aligned to 8 bytes and the other to 4."""
    data = pack(model_of(tensor(np.zeros(2, np.float32), np.zeros(1, np.int64))))
    grid = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0].tensors[0].quantization
    assert (list(grid.scale), list(grid.zeroPoint)) == ([0, 0], [0])


def test_equal_constants_have_their_own_bytes():
    data = pack(model_of(constants=[np.zeros(5000, np.uint8)] * 2))
    assert len(data) > 10000


def test_a_file_that_shares_too_much_would_be_refused_and_shares_nothing():
    tensors = [tensor(np.ones(500, np.float32), np.zeros(500, np.int64)) for _ in range(5)]
    data = pack(model_of(*tensors))
    assert len(data) > 5 * 500 * 12
    assert len(parser.unpack(data, "m.tflite").subgraphs[0].tensors) == 5
