"""Hashed weights as their buckets, beside naive loops over the hash's formula."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.export.handmade import Conv, Dense, normal, opened, save
from tests.ops.test_hashing import elementwise
from tests.techniques.conftest import randomise
from tfcompress.export import buckets, export
from tfcompress.layers import HashedConv2D, HashedDense
from tfcompress.ops.hashing import ElementwiseHash
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import edit
from tfcompress.training import logits


def hashed(inputs, filters, *, ratio=1 / 4, seed=0, weights=None):
    """What a layer stores."""
    positions = ElementwiseHash(inputs, filters, ratio, seed)
    stored = normal(positions.stored_shape, seed + 1) if weights is None else weights
    return buckets.Buckets(stored, positions)


def naive(layer, dtype="float32"):
    """The matrix (filters, inputs) of the weights as a file has them."""
    stored = layer.weights
    if dtype == "float16":
        stored = stored.astype(np.float16).astype(np.float32)
    if dtype == "int8":
        step = np.abs(stored).max() / np.float32(127)
        stored = np.rint(stored / step) * step
    return elementwise(stored, *layer.positions.shape, layer.positions.seed).T.astype(np.float32)


def file_of(path, shape, *products, dtype="float32", stored=()):
    """Writes a float file and puts buckets into it; says how many products have them."""
    save(path, shape, *products)
    done = []
    edit(path, lambda editor: done.append(buckets.write_buckets(editor, list(stored), dtype)))
    return done[0]


def units(shape):
    """Inputs with a 1 at one place each."""
    size = int(np.prod(shape))
    return np.eye(size, dtype=np.float32).reshape(size, *shape)


@pytest.fixture
def any_size(monkeypatch):
    """As if the ops took no bytes, so that layers may be small."""
    monkeypatch.setattr(buckets, "_OPS_BYTES", 0)


# Of a row of inputs 1.0 becomes 127 steps of the 127th part, which float32 rounds.
NEAR = {"float32": 0, "float16": 0, "int8": 1e-6}


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_dense(tmp_path, dtype, seed):
    path = tmp_path / "m.tflite"
    layer = hashed(21, 30, seed=seed)
    assert file_of(path, (1, 21), Dense(naive(layer)), dtype=dtype, stored=[layer]) == 1
    expected = naive(layer, dtype).T
    np.testing.assert_allclose(LiteModel(path).predict(units((21,))), expected, rtol=NEAR[dtype])


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("factor", [False, True])
def test_convolution(tmp_path, dtype, factor):
    """Row by row of the filters; behind a BN the converter has multiplied each filter."""
    path = tmp_path / "m.tflite"
    layer = hashed(3 * 2 * 5, 20, seed=3)
    factors = np.linspace(-1, 2, 20, dtype=np.float32)[:, None] if factor else np.float32(1)
    kernel = (factors * naive(layer)).reshape(20, 3, 2, 5)
    conv = Conv(kernel, padding="valid")
    assert file_of(path, (1, 3, 2, 5), conv, dtype=dtype, stored=[layer]) == 1
    got = LiteModel(path).predict(units((3, 2, 5)))[:, 0, 0]
    expected = factors * naive(layer, dtype)
    np.testing.assert_allclose(got, expected.T, rtol=1e-5 if factor or dtype == "int8" else 0)
    assert read(path).op_counts()["BATCH_MATMUL"] == 3


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_several_rows_of_inputs(tmp_path, dtype):
    path = tmp_path / "m.tflite"
    layer = hashed(10, 40)
    dense = Dense(naive(layer), normal(40, 5), "relu")
    assert file_of(path, (1, 5, 10), dense, dtype=dtype, stored=[layer]) == 1
    x = normal((4, 5, 10), 6)
    expected = Dense(naive(layer, dtype), dense.bias, "relu").expected(x)
    np.testing.assert_allclose(LiteModel(path).predict(x), expected, rtol=0, atol=1e-5)
    # BATCH_MATMUL would take integers that aren't constants for something else.
    assert {op.inputs[1].dtype for op in read(path).ops if op.name == "BATCH_MATMUL"} == {"float32"}


@pytest.mark.usefixtures("any_size")
def test_a_row_of_inputs_meets_integers(tmp_path):
    """Inputs that stand on their own grid, -127 to 127, are met without error."""
    path = tmp_path / "m.tflite"
    steps = np.arange(-127, 128).astype(np.float32)
    layer = hashed(60, 30, ratio=255 / 1800, weights=steps / 8)
    dense = Dense(naive(layer), normal(30, 2))
    assert file_of(path, (1, 60), dense, dtype="int8", stored=[layer]) == 1
    (op,) = [op for op in read(path).ops if op.macs]
    assert (op.name, op.inputs[1].dtype, op.inputs[1].constant) == (
        "FULLY_CONNECTED",
        "int8",
        False,
    )
    x = np.random.default_rng(0).integers(-127, 128, (9, 60)).astype(np.float32)
    x[:, 0] = 127
    expected = dense.expected(x)
    got = LiteModel(path).predict(x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    # Others by half a step of the row's largest.
    x = normal((9, 60), 4)
    bound = np.abs(x).max(1, keepdims=True) / 254 * np.abs(dense.kernel).sum(1)
    difference = np.abs(LiteModel(path).predict(x) - dense.expected(x))
    assert (difference <= 1.001 * bound).all()
    assert difference.max() > 0.01 * bound.max()


@pytest.mark.usefixtures("any_size")
def test_geometry_and_activation(tmp_path):
    path = tmp_path / "m.tflite"
    layer = hashed(3 * 3 * 8, 16)
    conv = Conv(naive(layer).reshape(16, 3, 3, 8), normal(16, 2), (2, 1), activation="relu6")
    x = 2 * normal((3, 9, 7, 8), 3)
    right = LiteModel(save(path, (1, 9, 7, 8), conv)).predict(x)
    assert file_of(path, (1, 9, 7, 8), conv, stored=[hashed(8, 16), layer]) == 1
    np.testing.assert_allclose(LiteModel(path).predict(x), right, rtol=0, atol=3e-5)


@pytest.mark.usefixtures("any_size")
def test_layers_of_one_shape_with_other_seeds_and_weights(tmp_path):
    path = tmp_path / "m.tflite"
    made = [hashed(20, 20, seed=seed) for seed in (0, 1)]
    made.append(hashed(20, 20, seed=0, weights=normal((100,), 99)))
    dense = [Dense(naive(layer)) for layer in made]
    stored = [made[2], made[0], made[1]]  # In another order than in the file.
    assert file_of(path, (1, 20), *dense, stored=stored) == 3
    x = normal((5, 20))
    expected = dense[2].expected(dense[1].expected(dense[0].expected(x)))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(LiteModel(path).predict(x), expected, rtol=0, atol=1e-5 * scale)
    counts = read(path).op_counts()
    assert (counts["CALL_ONCE"], counts["READ_VARIABLE"]) == (1, 3)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_buckets_stand_there_once(tmp_path, dtype):
    """Though three rows of filters are made of them."""
    path = tmp_path / "m.tflite"
    layer = hashed(3 * 3 * 20, 32, ratio=1 / 16)
    conv = Conv(naive(layer).reshape(32, 3, 3, 20))
    assert file_of(path, (1, 6, 6, 20), conv, dtype=dtype, stored=[layer]) == 1
    stored = 360 * np.dtype(dtype).itemsize
    sizes = [len(buffer.data) for buffer in opened(path).buffers if buffer.data is not None]
    assert sizes.count(stored) == 1
    assert max(sizes) == stored
    assert read(path).op_counts().get("DEQUANTIZE", 0) == (dtype != "float32")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_where_buckets_are_written_the_file_gets_smaller(tmp_path, dtype, rows):
    """At the least that is gained, against the weights in the same type: 4800 bytes a part."""
    path, each = tmp_path / "m.tflite", np.dtype(dtype).itemsize
    parts = max(1, rows)
    least = parts * 4800 // each
    inputs = 50 * max(1, rows)
    logical = inputs * 128 * (2 if each == 1 else 1)
    for saved, gains in ((least, False), (least + 1, True)):
        layer = hashed(inputs, logical // inputs, ratio=(logical - saved) / logical)
        assert layer.weights.size == logical - saved
        product = Dense(layer.matrix.astype(np.float32))
        shape = (1, inputs)
        if rows:
            product = Conv(product.kernel.reshape(-1, rows, 1, 50))
            shape = (1, 7, 5, 50)
        before = save(path, shape, product).stat().st_size
        assert file_of(path, shape, product, dtype=dtype, stored=[layer]) == gains
        assert ("CALL_ONCE" in read(path).op_counts()) == gains
        if gains:
            assert path.stat().st_size < before - (4 - each) * logical


@pytest.mark.usefixtures("any_size")
def test_other_weights_stay(tmp_path):
    path = tmp_path / "m.tflite"
    layer = hashed(40, 40)
    kernel = naive(layer)
    kernel[7, 9] += 1e-3
    dense = Dense(kernel), Dense(normal((40, 40)))
    assert file_of(path, (1, 40), *dense, stored=[layer]) == 0
    assert file_of(path, (1, 40), Dense(naive(layer)), stored=[hashed(40, 40, seed=1)]) == 0


def net(hashing="elementwise"):
    """Hashed layers with a BN behind, strides, both paddings, a shared bias, several rows."""
    keras.utils.set_random_seed(0)
    options = {"hashing": hashing, "compression_ratio": 1 / 16}
    x = image = keras.Input((9, 8, 24), name="image")
    x = HashedConv2D(80, 3, strides=(2, 1), padding="same", name="same", hash_seed=4,
                     use_bias=False, **options)(x)  # fmt: skip
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = HashedConv2D(32, (2, 3), padding="valid", name="valid", activation="tanh",
                     hash_bias=True, **options)(x)  # fmt: skip
    x = HashedDense(48, name="rows", hash_bias=True, activation="relu", **options)(x)
    x = layers.Flatten(name="flat")(x)
    x = HashedDense(30, name="dense", hash_seed=5, hash_bias=True, **options)(x)
    x = layers.ReLU(name="relu2")(x)
    model = keras.Model(image, layers.Dense(6, name="scores")(x), name="hashed_net")
    return randomise(model)


@pytest.fixture(scope="module")
def hashed_net():
    return net()


def images(count, seed=1):
    return normal((count, 9, 8, 24), seed)


@pytest.fixture(scope="module")
def files(hashed_net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hashed")
    options = {"representative": images(40, 2), "calibration": images(100, 3)}
    return {
        name: export(hashed_net, folder / f"{name}.tflite", storage=name, **options)
        for name in ("float32", "float16", "dynamic", "int8")
    }


@pytest.mark.parametrize(
    ("storage", "near"), [("float32", 1e-6), ("float16", 1e-3), ("dynamic", 0.03), ("int8", 0.05)]
)
def test_exported_nets_compute_what_keras_does(files, hashed_net, storage, near):
    x = images(50, 7)
    expected = logits(hashed_net, x)
    got = LiteModel(files[storage].path).predict(x)
    assert np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2)) < near


def test_exported_nets_hold_buckets(files, hashed_net):
    """All but in int8, whose activations are integers, too."""
    stored = sum(hashed_net.get_layer(name).kernel.shape[0] for name in ("same", "valid", "dense"))
    for name, each in (("float32", 4), ("float16", 2), ("dynamic", 1)):
        counts = files[name].ops
        few = name == "float32"  # In which 1440 weights less are worth the ops.
        assert (counts["CALL_ONCE"], counts["READ_VARIABLE"]) == (1, 3 + 2 + 1 + few)
        kind = {"dynamic": "int8"}.get(name, name)
        rest = (96 if few else 32 * 48) + 30 * 6  # "rows", and what isn't hashed.
        held = files[name].weight_bytes[kind]
        assert each * (stored + rest) <= held <= each * (stored + rest) + 2000
    assert "CALL_ONCE" not in files["int8"].ops
    sizes = {name: file.size_bytes for name, file in files.items()}
    assert sizes["float32"] < sizes["int8"]
