import random

import numpy as np
import pytest

from tests.tflite.flatbuffers import flatbuffer
from tfcompress.errors import InputError
from tfcompress.tflite import content


def test_ops_and_shapes(tiny):
    found = content.read(tiny.path)
    assert found.op_counts() == {
        "CONV_2D": 1,
        "DEPTHWISE_CONV_2D": 1,
        "TRANSPOSE_CONV": 1,
        "RESHAPE": 1,
        "FULLY_CONNECTED": 1,
        "SOFTMAX": 1,
    }
    assert [tensor.shape for tensor in found.inputs] == [(1, 8, 8, 3)]
    assert [tensor.shape for tensor in found.outputs] == [(1, 5)]
    conv = found.ops[0]
    assert conv.subgraph == 0
    assert not conv.folded
    assert conv.version >= 1
    image, kernel = conv.inputs[:2]
    assert not image.constant
    assert kernel.constant
    assert (kernel.dtype, kernel.shape, kernel.size_bytes) == ("float32", (4, 3, 3, 3), 4 * 108)


def test_macs_by_hand(tiny):
    conv = (8 * 8) * 4 * (3 * 3 * 3)
    depthwise = (4 * 4) * 4 * (3 * 3)
    transposed = (4 * 4) * 4 * (2 * 2) * 2  # every input value meets every kernel value
    dense = (8 * 8 * 2) * 5
    for path in (tiny.path, tiny.int8_path):
        found = content.read(path)
        assert found.macs == conv + depthwise + transposed + dense
        assert found.uncounted == ()


def test_bytes_by_type(tiny):
    weights = 4 * 27 + 4 + 4 * 9 + 4 + 2 * 4 * 4 + 2 + 128 * 5 + 5
    found = content.read(tiny.path)
    # Zero biases may be shared or dropped by the converter; the kernels can't be.
    kernels = 4 * 27 + 4 * 9 + 2 * 4 * 4 + 128 * 5
    assert 4 * kernels <= found.weight_bytes["float32"] <= 4 * weights
    assert sum(found.weight_bytes.values()) <= found.buffer_bytes <= tiny.path.stat().st_size
    small = content.read(tiny.int8_path)
    assert small.weight_bytes["int8"] == kernels
    assert "float32" not in small.dtypes()
    assert all(tensor.quantized for tensor in (*small.inputs, *small.outputs))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.6, 0.9, 0.999])
def test_truncated(tiny, tmp_path, share):
    whole = tiny.path.read_bytes()
    path = tmp_path / "short.tflite"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"short\.tflite is cut short or corrupt"):
        content.read(path)


def test_any_corruption_is_an_input_error(tiny, tmp_path):
    chance = random.Random(5)
    whole = tiny.path.read_bytes()
    path = tmp_path / "flipped.tflite"
    messages = []
    for _ in range(150):
        flipped = bytearray(whole)
        for _ in range(4):
            flipped[chance.randrange(8, len(flipped))] = chance.randrange(256)
        path.write_bytes(flipped)
        try:
            content.read(path)
        except InputError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


def op(name, *shapes, result, adjoint=False):
    tensors = [content.Tensor("t", "float32", shape, False, 0, False) for shape in shapes]
    output = content.Tensor("o", "float32", result, False, 0, False)
    options = type("Options", (), {"adjX": adjoint})()
    return content._macs(name, tuple(tensors), (output,), options)


def test_macs_of_single_ops():
    assert op("BATCH_MATMUL", (2, 3, 5), (2, 5, 7), result=(2, 3, 7)) == 2 * 3 * 5 * 7
    assert op("BATCH_MATMUL", (5, 3), (5, 7), result=(3, 7), adjoint=True) == 3 * 5 * 7
    # Two groups: each filter sees half of the 8 channels.
    assert op("CONV_2D", (1, 4, 4, 8), (6, 3, 3, 4), result=(1, 2, 2, 6)) == 4 * 6 * 9 * 4
    assert op("FULLY_CONNECTED", (9, 16), (5, 16), result=(9, 5)) == 9 * 16 * 5
    assert op("ADD", (9, 16), (9, 16), result=(9, 16)) == 0
    assert op("CONV_3D", (1,), (1,), result=(1,)) is None
    assert op("CUSTOM:Mine", (1,), result=(1,)) is None


class Shaped:
    """A value that says that it has a shape."""

    def __init__(self, shape):
        self.shape, self.dtype = shape, np.dtype("float32")

    def tobytes(self):
        return bytes(4)


def test_a_shape_that_no_array_has(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(flatbuffer(w=Shaped((1,) * 64)))
    assert len(content.read(path).constants[0].shape) == 64
    path.write_bytes(flatbuffer(w=Shaped((1,) * 65)))
    with pytest.raises(InputError, match=r"m.tflite is cut short or corrupt \(a tensor of 65 dim"):
        content.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # What runs by each is looked at by itself, op by op.
        (lambda m: setattr(m, "signatureDefs", m.signatureDefs * 101), "more than 100 signatures"),
        # A name that 3,000 ops have was said 3,000 times: 1.8 GB for a file of 642 KB.
        (lambda m: _custom(m.operatorCodes[0], b"x" * 1025), "a name of 1025 bytes"),
        (lambda m: setattr(m.signatureDefs[0], "signatureKey", b"x" * 2000), "of 2000 bytes"),
    ],
)
def test_more_than_any_file_has(tiny, tmp_path, change, message):
    from ai_edge_litert.tools import flatbuffer_utils

    from tfcompress.tflite import parser

    model = parser.unpack(tiny.path.read_bytes(), tiny.path)
    path = tmp_path / "m.tflite"
    change(model)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    with pytest.raises(InputError, match=rf"m.tflite is cut short or corrupt \(.*{message}"):
        content.read(path)


def _custom(code, name):
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, name
