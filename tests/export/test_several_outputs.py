"""Models with several inputs and outputs: in a file they have Keras's order."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.conftest import randomise
from tfcompress import kernels
from tfcompress.export import export
from tfcompress.layers import BinaryConv2D
from tfcompress.runtime.interpreter import open_file
from tfcompress.tflite import signatures
from tfcompress.tflite.io_order import keep_order


def net(binary):
    """Names that no sorting leaves in this order, and an output that a later one comes before."""
    keras.utils.set_random_seed(0)
    picture, numbers = keras.Input((8, 8, 3), name="zeta"), keras.Input((5,), name="alpha")
    x = layers.Conv2D(8, 3, activation="relu", name="first")(picture)
    if binary:
        x = BinaryConv2D(8, 3, name="binary")(x)
    features = layers.Flatten()(x)
    both = layers.Concatenate()([features, layers.Dense(4)(numbers)])
    outputs = [
        layers.Dense(7, name="w")(both),
        layers.Dense(2, name="c")(features),
        layers.Dense(3, name="k")(numbers),
    ]
    return randomise(keras.Model([picture, numbers], outputs))


NETS = {False: net(False), True: net(True)}
STORED = [
    (False, "float32"),
    (False, "float16"),
    (False, "dynamic"),
    (False, "int4"),
    (True, "float32"),
    (True, "1bit"),
    (True, "int8"),
    (True, "xnor"),
    (True, "xnor+int8"),
]


@pytest.mark.parametrize(("binary", "storage"), STORED)
def test_by_index_and_by_name(binary, storage, tmp_path):
    if "xnor" in storage and kernels.missing() is not None:
        pytest.skip("no 1-bit kernels here")
    model, path = NETS[binary], tmp_path / "m.tflite"
    export(model, path, storage=storage)
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(1, *x.shape[1:])).astype("float32") for x in model.inputs]
    expected = [np.asarray(y) for y in model(values)]
    near = {"dynamic": 0.05, "float16": 1e-2, "int4": 0.5}.get(storage, 1e-4)
    for signature in signatures.graphs(path) if "+" in storage else (None,):
        file = open_file(path, threads=1, xnnpack=True, signature=signature).interpreter
        inputs, outputs = file.get_input_details(), file.get_output_details()
        assert [tuple(x["shape"]) for x in inputs] == [x.shape for x in values]
        for details, value in zip(inputs, values, strict=True):
            file.set_tensor(details["index"], value)
        file.invoke()
        for details, right in zip(outputs, expected, strict=True):
            got = file.get_tensor(details["index"])
            assert got.shape == right.shape
            assert np.abs(got - right).max() <= near * np.abs(right).max()


def test_more_than_ten(tmp_path):
    """`output_10` stands behind `output_9`, and by letters behind `output_1`."""
    inputs = [keras.Input((2 + number,), name=f"x{number}") for number in range(12)]
    outputs = [layers.Dense(3 + number)(x) for number, x in enumerate(inputs[::-1])]
    path = tmp_path / "m.tflite"
    export(keras.Model(inputs, outputs), path)
    file = open_file(path, threads=1, xnnpack=True).interpreter
    assert [int(x["shape"][1]) for x in file.get_input_details()] == list(range(2, 14))
    assert [int(y["shape"][1]) for y in file.get_output_details()] == list(range(3, 15))
    data = path.read_bytes()
    keep_order(path)
    assert path.read_bytes() == data
