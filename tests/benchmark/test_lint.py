import dataclasses

import numpy as np
import pytest

from tests.benchmark.flat import KINDS, Net, chain, grouped, schema
from tests.tflite.made import tensor
from tfcompress.benchmark.lint import gpu_warnings
from tfcompress.tflite import compatibility, versions
from tfcompress.tflite.content import Op, read


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        (1, None),
        (2, "a grouped convolution of 2 channels a group is computed wrongly or not at all"),
        (4, None),
        (6, "a grouped convolution of 6 channels a group crashes the process"),
        (8, None),
    ],
)
def test_grouped_convolutions(tmp_path, channels, text):
    assert gpu_warnings(read(grouped(tmp_path / "m.tflite", channels))) == ((text,) if text else ())


def test_ordinary_files_pass(tmp_path, tiny_file):
    assert gpu_warnings(read(tiny_file)) == ()
    assert gpu_warnings(read(chain(tmp_path / "m.tflite", "NEG", "RELU"))) == ()


def test_open_batch(tmp_path):
    net = Net()
    x = net.tensor((1, 8), signature=(-1, 8))
    path = net.write(tmp_path / "m.tflite", [x], [net.op("NEG", [x], (1, 8))])
    (text,) = gpu_warnings(read(path))
    assert text == "an input of open shape (-1, 8) may not run on the GPU: fix the batch"


def test_a_dense_layer_that_flattens(tmp_path):
    net = Net()
    x = net.tensor((1, 2, 2, 3))
    weights = net.tensor((5, 12), values=np.zeros((5, 12)))
    kind, options = KINDS.FullyConnectedOptions, schema.FullyConnectedOptionsT()
    y = net.op("FULLY_CONNECTED", [x, weights, -1], (1, 5), kind=kind, options=options)
    path = net.write(tmp_path / "m.tflite", [x], [y])
    text = "a FULLY_CONNECTED that flattens its input itself is computed wrongly"
    assert gpu_warnings(read(path)) == (text,)


def test_types_and_ops(tmp_path):
    net = Net()
    x = net.tensor((1, 4, 8), "int16")
    y = net.op("NEG", [x], (1, 4, 8), "int16")
    places = net.tensor((2, 2), "int32", values=np.zeros((2, 2)))
    gathered = net.op("GATHER", [y, places], (2, 2, 4, 8), "int16")
    options = schema.ArgMaxOptionsT()
    axis = net.tensor((), "int32", values=0)
    best = net.op("ARG_MAX", [gathered, axis], (2, 4, 8), "int64", KINDS.ArgMaxOptions, options)
    volume = net.op("CONV_3D", [x, x], (1,))
    path = net.write(tmp_path / "m.tflite", [x], [best, volume])
    assert gpu_warnings(read(path)) == (
        "int16 activations don't run on the GPU (4 ops)",
        "GATHER with indices that aren't one-dimensional doesn't run on the GPU",
        "ARG_MAX with int64 indices doesn't run on the GPU",
        "3D convolutions don't run on the GPU",
    )


@pytest.mark.parametrize(
    "name", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "GATHER", "ARG_MAX", "PADV2"]
)
@pytest.mark.parametrize("shapes", [[], [()], [(), ()], [(1, 4), ()], [None, None]])
def test_ops_without_inputs_outputs_or_shapes(tmp_path, name, shapes):
    whole = read(chain(tmp_path / "m.tflite", "NEG"))
    inputs = tuple(shape if shape is None else tensor(shape=shape) for shape in shapes)
    file = dataclasses.replace(whole, ops=(Op(name, 1, inputs, (), 0, False, 0),))
    assert gpu_warnings(file) in ((), ("GATHER with indices that aren't one-dimensional doesn't "
                                       "run on the GPU",))  # fmt: skip
    for rule in (compatibility.never, compatibility.old, compatibility.gpu, versions.oldest):
        rule(file)
