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


def test_vectors_of_other_types_are_apart():
    """Equal bytes, but one vector is aligned to 8 bytes and the other to 1."""
    model = schema.ModelT()
    model.subgraphs = [schema.SubGraphT()]
    tensor = schema.TensorT()
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.zeros(2, np.float32)
    tensor.quantization.zeroPoint = np.zeros(1, np.int64)
    model.subgraphs[0].tensors = [tensor]
    model.buffers = [schema.BufferT()]
    model.buffers[0].data = np.zeros(8, np.uint8)
    again = schema.ModelT.InitFromPackedBuf(pack(model), 0)
    grid = again.subgraphs[0].tensors[0].quantization
    assert (list(grid.scale), list(grid.zeroPoint)) == ([0, 0], [0])
    assert again.buffers[0].data.tolist() == [0] * 8
