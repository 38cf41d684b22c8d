"""Codes of a codebook: what stands in the file, when it is looked up, and what it computes."""

import dataclasses

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.export.handmade import Conv, Dense, Depthwise, Reshape, normal, save
from tests.export.quantised import mixed_net
from tests.export.storages.limits import EXACT
from tests.techniques.conftest import randomise
from tfcompress.errors import InputError
from tfcompress.export import codebooks, export, folded, words
from tfcompress.export.codebooks import Codebook
from tfcompress.layers import CodebookConv2D, CodebookDense
from tfcompress.ops.codebooks import LEVELS, step_of
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import edit

# What the contract holds the storage to.
LIMITS = {"usual": EXACT, "binary": EXACT}


def NET():
    """Codebooks with a BN behind them, strides and a 1x1 kernel; dense ones; and other layers."""
    keras.utils.set_random_seed(0)
    image = keras.Input(mixed_net().input_shape[1:])
    x = keras.layers.Conv2D(8, 3, padding="same", name="first")(image)
    x = CodebookConv2D(24, 3, centroids=40, padding="same", strides=2, name="conv")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="bn")(x))
    x = CodebookConv2D(16, 3, centroids=32, block_channels=2, name="wide", activation="relu")(x)
    x = CodebookConv2D(12, 1, block_channels=4, name="one", use_bias=False)(x)
    x = CodebookDense(20, name="hidden", activation="relu")(keras.layers.Flatten()(x))
    model = keras.Model(image, keras.layers.Dense(5, name="scores")(x), name="codebook_net")
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if hasattr(layer, "codes"):
            layer.project(rng.normal(0, 0.2, layer.logical_shape()).astype("float32"))
    return randomise(model)


def stored(count, window, filters, channels, wide=1, seed=0):
    """A codebook of random blocks, rounded, and random codes."""
    rng = np.random.default_rng(seed)
    book = rng.normal(size=(count, *window, wide)).astype(np.float32)
    step = np.float32(step_of(book))
    return Codebook(
        np.rint(book / step) * step, rng.integers(0, count, (filters, channels // wide))
    )


def kernel(layer):
    """By loops, in the file's order of axes."""
    _, height, width, wide = layer.book.shape
    filters, groups = layer.codes.shape
    made = np.zeros((filters, height, width, groups * wide), np.float32)
    for f, i, j, channel in np.ndindex(*made.shape):
        made[f, i, j, channel] = layer.book[layer.codes[f, channel // wide], i, j, channel % wide]
    return made


def written(path, shape, layers, books):
    """The file's outputs before and after, and why layers were left."""
    save(path, shape, *layers)
    x = normal((3 * shape[0], *shape[1:]), 7)
    right, left = LiteModel(path).predict(x), {}
    edit(path, lambda editor: left.update(codebooks.write_codebooks(editor, books)))
    return right, LiteModel(path).predict(x), left


CASES = {
    "3x3": (stored(181, (3, 3), 20, 6), (1, 7, 6, 6), {}),
    "wide blocks, strides": (stored(7, (3, 2), 8, 6, 3), (1, 7, 6, 6), {"strides": (2, 1)}),
    "1x1, one code a word": (stored(200, (1, 1), 30, 40, 4), (1, 5, 5, 40), {}),
    "one block": (stored(1, (3, 3), 4, 2), (1, 5, 5, 2), {"padding": "valid"}),
    "dense": (stored(32, (1, 1), 30, 45, 5), (1, 45), None),
    "dense, several rows": (stored(5, (1, 1), 10, 8, 4), (1, 6, 8), None),
}


@pytest.mark.parametrize("factors", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_computes_what_the_floats_do(name, factors, tmp_path):
    book, shape, options = CASES[name]
    weights, filters = kernel(book), len(book.codes)
    if factors:  # As of a BN behind them.
        weights *= np.linspace(-1, 2, filters, dtype="float32")[:, None, None, None]
    bias, path = normal(filters, 1), tmp_path / "m.tflite"
    layer = Dense(weights.reshape(filters, -1), bias, "relu")
    if options is not None:
        layer = Conv(weights, bias, activation="relu", **options)
    right, got, left = written(path, shape, [layer], [stored(3, (1, 1), 2, 2), book])
    assert left == {}
    np.testing.assert_allclose(got, right, rtol=0, atol=4e-6 * np.abs(right).max())
    count, size = words.digits(max(len(book.book), 2)), book.book[0].size
    values = 2 * len(book.book) * size + 2 * -(-book.codes.size // count)
    found = read(path).weight_bytes
    # Codes and codebook; the table's own numbers and where blocks begin are a few hundred bytes.
    assert values <= found["int16"] <= values + 2 * len(book.book) * (size + 1)
    assert found["float32"] <= 3 * 4 + 2 * 4 * filters + 4


@pytest.mark.parametrize("xnnpack", [True, False])
def test_weights_are_looked_up_once_as_the_file_is_loaded(tmp_path, xnnpack):
    """They stand there before the first run."""
    first, last = stored(40, (3, 3), 5, 2), stored(16, (1, 1), 4, 7 * 6 * 5, 5)
    path = tmp_path / "m.tflite"
    dense = Dense(kernel(last).reshape(4, -1))
    save(path, (1, 7, 6, 2), Conv(kernel(first)), Reshape((1, 7 * 6 * 5)), dense)
    edit(path, lambda editor: codebooks.write_codebooks(editor, [first, last]))
    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    places = {details["name"]: details["index"] for details in interpreter.get_tensor_details()}
    weights = [
        op.inputs[1] for op in read(path).ops if op.name in ("BATCH_MATMUL", "FULLY_CONNECTED")
    ]
    assert not any(tensor.constant for tensor in weights)
    rows = [kernel(first)[:, row].reshape(5, -1) for row in range(3)]
    for tensor, right in zip(weights, [*rows, dense.kernel], strict=True):
        np.testing.assert_array_equal(interpreter.get_tensor(places[tensor.name]), right)


def test_other_layers_stay(tmp_path):
    book = stored(9, (3, 3), 6, 6)
    layers = (
        Conv(normal((6, 3, 3, 2))),
        Depthwise(normal((1, 3, 3, 6))),
        Conv(kernel(dataclasses.replace(book, codes=book.codes[:, :2]))),
        Conv(kernel(book)),
    )
    parts = dataclasses.replace(book, codes=book.codes[:, :2])
    _, _, left = written(tmp_path / "m.tflite", (1, 5, 5, 2), layers, [book, parts])
    assert left == {
        "y0": "its weights have no codebook",
        "y1": "its weights have no codebook",
        "y2": "its 3 groups would be as many products",
    }


def test_a_layer_that_is_called_twice_is_looked_up_once(tmp_path):
    book = stored(16, (3, 3), 5, 5)
    weights, counts = kernel(book), []
    for layers in ([Conv(weights)], [Conv(weights), Conv(2 * weights, normal(5, 1))]):
        right, got, left = written(tmp_path / "m.tflite", (1, 6, 6, 5), layers, [book])
        assert left == {}
        np.testing.assert_allclose(got, right, rtol=0, atol=4e-6 * np.abs(right).max())
        counts.append(read(tmp_path / "m.tflite").op_counts()["GATHER"])
    assert counts[0] == counts[1]


def test_factors_of_many_weights_of_one_sign():
    """Sums of 32 bits would be off by more than the weights may be."""
    matrix = np.full((2, 10**6), 0.1, np.float32)
    found = folded.factors(3 * matrix, matrix)
    np.testing.assert_allclose(found, 3, rtol=1e-6)


def test_largest_values_and_places():
    """Both ends of the levels; the highest place in the codebook that 16 bits reach."""
    for largest in (1.0, 0.99, 2.0**-30, 3e4, 0.0):
        book = np.array([largest, -largest, largest / 3], np.float32)
        step = step_of(book)
        assert np.abs(book).max() <= LEVELS * step
        assert np.abs(book).max() > LEVELS * step / 2 or largest == 0


def test_books_too_large_for_16_bits_stay_floats(tmp_path):
    book = stored(2048, (1, 3), 64, 96, 6)
    _, _, left = written(tmp_path / "m.tflite", (1, 3, 3, 96), [Conv(kernel(book))], [book])
    assert left == {
        "y0": "its codebook's 36,864 values in a row of the filter are more than 32,768"
    }


def test_a_net_with_codebooks(tmp_path):
    model = NET()
    x = normal((20, *model.input_shape[1:]), 5)
    made = export(model, tmp_path / "m.tflite", storage="pq", representative=x)
    plain = export(model, tmp_path / "f.tflite", storage="float32", representative=x)
    assert made.kept == dict.fromkeys(
        ("first", "scores"), "4 bytes a weight: its weights have no codebook"
    )
    assert made.weight_bytes["int16"] < plain.weight_bytes["float32"] / 6
    # The tables and the ranges of two steps at most; books of one size share a table.
    assert 1 <= read(tmp_path / "m.tflite").op_counts()["RANGE"] <= 4


def test_a_model_without_codebooks_is_refused(tmp_path):
    model = mixed_net()
    x = normal((4, *model.input_shape[1:]), 5)
    message = r"storage pq finds no codebook in model 'mixed_net' \(.*: use float32, or the tech"
    with pytest.raises(InputError, match=message):
        export(model, tmp_path / "m.tflite", storage="pq", representative=x)
