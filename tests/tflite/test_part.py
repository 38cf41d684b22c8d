"""Files that are cut off behind a tensor."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tests.export.handmade import Conv, Dense, Reshape, normal, save
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.part import write_part

SHAPE = (1, 5, 4, 3)
LAYERS = (
    Conv(normal((4, 3, 3, 3), 1), normal(4, 2), activation="relu"),
    Conv(normal((6, 2, 2, 4), 3), strides=(2, 1)),
    Reshape((1, 3 * 4 * 6)),
    Dense(normal((5, 3 * 4 * 6), 4), normal(5, 5)),
)


def test_a_part_computes_what_the_whole_file_does_there(tmp_path):
    path, part = save(tmp_path / "m.tflite", SHAPE, *LAYERS), tmp_path / "part.tflite"
    content, x = read(path), normal((2, *SHAPE[1:]), 9)
    whole = LiteModel(path, keep_all=True)
    for op in content.ops[:2]:
        output = op.outputs[0]
        write_part(path, output.number, part)
        expected = whole.tensors(x, [output.name])[0]
        np.testing.assert_array_equal(LiteModel(part).predict(x), expected)
    assert [op.name for op in read(part).ops] == ["CONV_2D", "CONV_2D"]
    assert not Interpreter(str(part)).get_signature_list()
