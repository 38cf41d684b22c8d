"""What is put right in the quantizer's files."""

import numpy as np
import pytest

from tests.export.quantised import mixed_net, pictures
from tfcompress.export import calibrate, convert, export
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read

# First versions of the ops with these types, as TensorFlow's converter writes them.
VERSIONS = {
    "int8": {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "ADD": 2},
    "int8_int4": {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 10, "MAX_POOL_2D": 2},
    "dynamic": {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 12, "ADD": 1},
    "float16": {"CONV_2D": 1, "DEQUANTIZE": 3},
}


@pytest.mark.parametrize("storage", sorted(VERSIONS))
def test_op_versions(storage, tmp_path):
    path = tmp_path / "m.tflite"
    export(mixed_net(), path, storage=storage, representative=pictures(60))
    found = {op.name: op.version for op in read(path).ops}
    assert {name: found[name] for name in VERSIONS[storage]} == VERSIONS[storage]


def test_constants_stand_in_the_flatbuffer(tmp_path):
    """The quantizer puts those of files above 256 KiB behind it."""
    import keras
    from ai_edge_litert import schema_py_generated as schema

    model = keras.Sequential([keras.Input((900,)), keras.layers.Dense(600)])
    path = tmp_path / "m.tflite"
    export(model, path, storage="int8", calibration=np.ones((4, 900), "float32"))
    packed = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    assert all(buffer.offset <= 1 for buffer in packed.buffers)
    assert max(len(b.data) for b in packed.buffers if b.data is not None) == 900 * 600


def test_the_joined_activation_computes_the_same(tmp_path, monkeypatch):
    net, x = mixed_net(), pictures(30)
    path = tmp_path / "float.tflite"
    convert.float_file(net, path)
    found = calibrate.ranges(path, x)
    files = {}
    for name in ("joined", "apart"):
        files[name] = tmp_path / f"{name}.tflite"
        if name == "apart":
            monkeypatch.setattr("tfcompress.export.finish.UNARY", ())
        calibrate.integer_file(path, files[name], found)
    assert read(files["joined"]).op_counts().keys().isdisjoint({"QUANTIZE", "DEQUANTIZE"})
    assert read(files["apart"]).op_counts()["DEQUANTIZE"] == 1
    joined, apart = (LiteModel(file).predict(x) for file in files.values())
    step = LiteModel(files["joined"]).outputs[0].details["quantization"][0]
    assert np.abs(joined - apart).max() <= 3 * step
