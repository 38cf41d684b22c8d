import numpy as np

from tests.tflite.flatbuffers import flatbuffer
from tfcompress.export.zeros import one_zero


def test_negative_zeros_of_floats_alone(tmp_path):
    floats = np.array([-0.0, 0.0, -1.0, 1e-40, -np.inf] * 40, "float32")
    lowest = np.full(100, np.iinfo("int32").min, "int32")  # The same bits as a negative zero.
    path = tmp_path / "m.tflite"
    path.write_bytes(flatbuffer(floats=floats, lowest=lowest))
    one_zero(path)
    assert path.read_bytes() == flatbuffer(floats=floats + 0.0, lowest=lowest)
    assert not np.signbit((floats + 0.0)[floats == 0]).any()
