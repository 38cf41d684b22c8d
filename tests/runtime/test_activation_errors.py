"""Signal to quantization noise against NumPy, and which values of two files are the same."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest

from tfcompress.errors import InputError
from tfcompress.export import export
from tfcompress.runtime import LiteModel
from tfcompress.runtime.activation_errors import (
    activation_errors,
    drawn_inputs,
    matched,
    sqnr_db,
)
from tfcompress.tflite.content import FileContent, Op, Tensor, read
from tfcompress.tflite.editor import Editor

numbers = itertools.count()


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Two dense layers as a float file and as one of integers, and inputs."""
    keras.utils.set_random_seed(3)
    biases = {"bias_initializer": keras.initializers.RandomNormal(stddev=0.3, seed=1)}
    layers = [keras.layers.Dense(9, activation="relu", **biases), keras.layers.Dense(4, **biases)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    x = np.random.default_rng(4).uniform(-1, 1, (40, 6)).astype("float32")
    folder = tmp_path_factory.mktemp("activations")
    export(model, folder / "float.tflite")
    export(model, folder / "int8.tflite", storage="int8", representative=x, io="float32")
    model.save(folder / "m.keras")
    return model, folder, x


def integer_layers(path, x):
    """Computes both layers in integers from what stands in the file (Jacob et al. 2018)."""
    editor = Editor(path)
    graph = editor.graph

    def grid(tensor):
        steps = graph.tensors[tensor].quantization
        return np.asarray(steps.scale, "float64"), np.asarray(steps.zeroPoint, "int64")

    outputs, values = [], None
    for op in editor.ops():
        if editor.name(op) == "QUANTIZE":
            scale, zero = grid(op.outputs[0])
            values = np.clip(np.rint(x / scale) + zero, -128, 127).astype("int64")
        if editor.name(op) == "FULLY_CONNECTED":
            into, weights, bias = op.inputs
            scale, zero = grid(into)
            steps, _ = grid(weights)
            sums = (values - zero) @ editor.values(weights, "int8").T.astype("int64")
            real = (sums + editor.values(bias, "int32")) * scale * steps
            scale, zero = grid(op.outputs[0])
            least = zero if op.builtinOptions.fusedActivationFunction else -128
            values = np.clip(np.rint(real / scale) + zero, least, 127).astype("int64")
            outputs.append(scale * (values - zero))
    return outputs


def test_figures_are_numpys(dense):
    model, folder, x = dense
    found = activation_errors(folder / "float.tflite", folder / "int8.tflite", x)
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in model.layers)
    hidden = np.maximum(x.astype("float64") @ w1 + b1, 0)
    right = [hidden, hidden @ w2 + b2]
    expected = sorted(
        10 * np.log10(np.square(a).sum() / np.square(a - b).sum())
        for a, b in zip(right, integer_layers(folder / "int8.tflite", x), strict=True)
    )
    assert (found.examples, found.unmatched) == (40, ())
    assert {error.op for error in found.errors} == {"FULLY_CONNECTED"}
    # A rounding that falls the other way in LiteRT's fixed-point arithmetic moves it by little.
    assert [error.sqnr_db for error in found.errors] == pytest.approx(expected, abs=0.1)


def test_a_file_has_no_noise_against_itself(dense):
    _, folder, x = dense
    found = activation_errors(folder / "float.tflite", folder / "float.tflite", x[:2])
    assert [error.sqnr_db for error in found.errors] == [None, None]


def test_one_percent_of_noise_is_20_db():
    assert sqnr_db(100.0, 1.0) == 20.0
    assert sqnr_db(1.0, 0.0) is None


def tensor(name, shape=(1, 4), dtype="float32"):
    return Tensor(name, dtype, shape, False, 0, dtype == "int8", number=next(numbers))


def content(*outputs):
    ops = tuple(Op(kind, 1, (), (out,), subgraph=0, folded=False, macs=0) for kind, out in outputs)
    return FileContent("m", ops, (), (), 0, (), {}, 0)


def test_by_name_then_by_order():
    """Names first; between those that match, the same kinds of ops of one shape, in order."""
    floats = content(
        ("CONV_2D", tensor("a")),
        ("ADD", tensor("b")),
        ("CONV_2D", tensor("c")),
        ("RELU", tensor("d")),
        ("SOFTMAX", tensor("e")),
    )
    integers = content(
        ("QUANTIZE", tensor("x", dtype="int8")),
        ("CONV_2D", tensor("other a", dtype="int8")),
        ("CONV_2D", tensor("c", dtype="int8")),
        ("SOFTMAX", tensor("other e", dtype="int8")),
        ("DEQUANTIZE", tensor("out")),
    )
    matches, unmatched = matched(floats, integers)
    assert [(one.reference.name, one.tensor.name, one.by) for one in matches] == [
        ("a", "other a", "order"),
        ("c", "c", "name"),
        ("e", "other e", "order"),
    ]
    assert unmatched == ["b", "d"]


def test_other_shapes_and_names_that_repeat_dont_match():
    one, other = content(("ADD", tensor("a"))), content(("ADD", tensor("a", (1, 8), "int8")))
    assert matched(one, other) == ([], ["a"])
    twice = content(("ADD", tensor("a")), ("ADD", tensor("a")))
    assert matched(twice, one) == ([], [])


def test_files_of_other_networks_are_refused(dense, tiny):
    _, folder, x = dense
    with pytest.raises(InputError, match=r"no op's output of .* was found in"):
        activation_errors(folder / "int8.tflite", tiny.path, x)


def test_drawn_inputs_are_what_integers_stand_for(dense, tiny):
    _, folder, _ = dense
    (x,) = drawn_inputs(tiny.int8_path, 50)
    scale, zero_point = LiteModel(tiny.int8_path).input_grid
    assert x.shape == (50, 8, 8, 3)
    assert scale * (-128 - zero_point) <= x.min() < x.max() <= scale * (127 - zero_point)
    assert np.ptp(x) > 0.9 * 255 * scale
    (x,) = drawn_inputs(folder / "float.tflite", 500)
    assert x.std() == pytest.approx(1, abs=0.1)


def test_every_op_of_a_convolutional_file(tiny):
    """All but what the other converter run names otherwise; the quantised file is the worse."""
    (x,) = drawn_inputs(tiny.int8_path, 4)
    found = activation_errors(tiny.path, tiny.int8_path, x)
    kinds = {op.name for op in read(tiny.path).ops}
    assert kinds - {error.op for error in found.errors} <= {"RESHAPE"}
    figures = [error.sqnr_db for error in found.errors]
    assert figures == sorted(figures)
    assert set(dataclasses.asdict(found)) == {"errors", "unmatched", "examples"}
