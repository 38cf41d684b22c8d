"""Files with integer or 16-bit weights: what stands in them, and what they compute."""

from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tests.export.handmade import Dense, Reshape, save
from tests.export.quantised import (
    DEPTHWISE_WEIGHTS,
    FOUR_BIT_WEIGHTS,
    constants,
    mixed_net,
    pictures,
)
from tests.techniques.conftest import randomise
from tfcompress import data, models
from tfcompress.errors import InputError
from tfcompress.export import ExportError, calibrate, convert, export, fallback, storages
from tfcompress.layers import HashedConv2D, HashedDense
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.weighted_ops import with_constant_weights
from tfcompress.training import logits

STORED = ("float16", "int8", "int8_int4")


@pytest.fixture(scope="module")
def net():
    return mixed_net()


@pytest.fixture(scope="module")
def files(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return {
        name: export(
            net,
            folder / f"{name}.tflite",
            storage=name,
            representative=pictures(40, 2),
            calibration=pictures(100, 3),
            io="int8" if storages.get(name).usual.integer else None,
        )
        for name in ("float32", *STORED)
    }


def content(files, name):
    return read(files[name].path)


@pytest.mark.parametrize(
    ("storage", "near"), [("float16", 1e-3), ("int8", 0.04), ("int8_int4", 0.25)]
)
def test_computes_what_keras_does(files, net, storage, near):
    x = pictures(60, 7)  # Others than those of the gate.
    expected = logits(net, x)
    got = LiteModel(files[storage].path).predict(x)
    assert np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2)) < near
    assert (got.argmax(1) == expected.argmax(1)).mean() >= storages.get(
        storage
    ).usual.tolerance.min_agreement


@pytest.mark.parametrize("storage", ["int8", "int8_int4"])
def test_integers_throughout(files, storage):
    """In and out, too, and the leaky ReLU that the quantizer leaves float."""
    found = content(files, storage)
    assert {t.dtype for t in (*found.inputs, *found.outputs)} == {"int8"}
    assert set(found.dtypes()) <= {"int8", "int4", "int32"}
    assert files[storage].float_ops == files[storage].float_products == ()
    assert found.op_counts()["LEAKY_RELU"] == 1
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(found.op_counts())


def test_four_bits_are_half_a_byte_in_the_file(files):
    assert files["int8"].weight_bytes["int8"] == FOUR_BIT_WEIGHTS + DEPTHWISE_WEIGHTS
    assert files["int8_int4"].weight_bytes["int4"] == FOUR_BIT_WEIGHTS // 2
    assert files["int8_int4"].weight_bytes["int8"] == DEPTHWISE_WEIGHTS
    largest = max(
        np.abs(values).max()
        for kind, values, *_ in constants_of(files, "int8_int4")
        if kind == "INT4"
    )
    assert largest == 7


def constants_of(files, name):
    from pathlib import Path

    return constants(Path(files[name].path)).values()


@pytest.mark.parametrize("storage", ["int8", "int8_int4"])
def test_one_scale_a_filter_and_no_zero_point(files, storage):
    for _, values, scale, zero in constants_of(files, storage):
        filters = values.shape[3 if values.shape[0] == 1 and values.ndim == 4 else 0]
        assert len(scale) == filters
        assert not zero.any()


def test_half_the_bytes_as_16_bit_floats(files):
    weights = 2 * (FOUR_BIT_WEIGHTS + DEPTHWISE_WEIGHTS)
    assert files["float16"].weight_bytes["float16"] == weights
    found = content(files, "float16")
    assert {t.dtype for t in (*found.inputs, *found.outputs)} == {"float32"}
    assert files["float16"].float_products == ()


def test_ranges_are_the_least_and_the_largest_of_all_images(net, tmp_path):
    path = tmp_path / "float.tflite"
    convert.float_file(net, path)
    x = pictures(30)
    x[4, 2, 3, 1] = 50  # What an average over images would lose.
    found = calibrate.ranges(path, x)
    (source,), (scores,) = read(path).inputs, read(path).outputs
    assert found[source.name]["max"].item() == 50
    assert found[source.name]["min"].item() == x.min()
    expected = logits(net, x)
    for end in ("min", "max"):
        assert found[scores.name][end].item() == pytest.approx(getattr(expected, end)(), rel=1e-4)
    for ends in found.values():
        assert ends["min"].item() <= 0 <= ends["max"].item()


def test_ranges_of_parts_of_an_image_that_stand_beside_the_batch(tmp_path):
    """As blocks of hashed weights have them: a range of the first part would clip the others."""
    kernel = np.diag([1, -2, 30]).astype(np.float32)
    blocks = Reshape((3, 2)), Dense(np.diag([1, -1]).astype(np.float32)), Reshape((1, 6))
    path = save(tmp_path / "m.tflite", (1, 3), Dense(np.repeat(kernel, 2, 0)), *blocks)
    x = np.abs(pictures(9)[:, 0, 0])
    most = x.max(0)
    found = calibrate.ranges(path, x)
    for name, least, largest in (("y1", -2 * most[1], 30 * most[2]),
                                 ("y2", -30 * most[2], 30 * most[2])):  # fmt: skip
        ends = found[name]["min"].item(), found[name]["max"].item()
        np.testing.assert_allclose(ends, [least, largest], rtol=1e-6)


def test_hashed_blocks_as_integers(tmp_path):
    """The last block's outputs are far larger than the first one's."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 8), name="image")
    x = HashedConv2D(16, 3, compression_ratio=1 / 4, activation="relu", name="conv")(image)
    x = HashedDense(32, compression_ratio=1 / 4, name="hidden")(layers.Flatten()(x))
    model = randomise(keras.Model(image, layers.Dense(5, name="scores")(layers.ReLU()(x))))
    conv = model.get_layer("conv")
    first, *_, last = conv.positions.orders[0]  # The channels that the first weights meet there.
    assert first != last
    conv.kernel.assign(conv.kernel * np.array([10] + [0.1] * 7, np.float32)[:, None])
    x = np.random.default_rng(0).normal(size=(260, 6, 6, 8)).astype(np.float32)
    x[..., last] *= 10
    written = export(
        model,
        tmp_path / "m.tflite",
        storage="int8",
        representative=x[:60],
        calibration=x[60:],
    )
    assert {op.split()[0] for op in written.float_ops} <= {"NEG"}
    assert written.parity.relative_rms < 0.05


def test_zeros_stay_zero_and_shared_values_few(tmp_path):
    """What pruning and clustering leave is still there: the grid has 0, and is the filter's."""
    model = mixed_net()
    rng = np.random.default_rng(0)
    hidden = model.get_layer("hidden")
    centres = np.array([-0.2, -0.05, 0, 0.1, 0.3], "float32")
    kernel = centres[rng.choice(5, hidden.kernel.shape, p=[0.1, 0.1, 0.6, 0.1, 0.1])]
    hidden.kernel.assign(kernel)
    path = tmp_path / "m.tflite"
    export(model, path, storage="int8", representative=pictures(60))
    stored = [v for _, v, *_ in constants(path).values() if v.shape == kernel.T.shape]
    assert len(stored) == 1
    np.testing.assert_array_equal(stored[0] == 0, kernel.T == 0)
    assert all(len(np.unique(row)) <= 5 for row in stored[0])


@pytest.mark.parametrize("bits", [4, 8])
def test_named_products_keep_more_bits(net, tmp_path, bits):
    path = tmp_path / "float.tflite"
    convert.float_file(net, path)
    ops = list(with_constant_weights(read(path)))
    kept = ops[2].outputs[0].name
    limits = calibrate.ranges(path, pictures(20))
    more = {kept: {4: 8, 8: 32}[bits]}
    calibrate.integer_file(path, path, limits, weight_bits=bits, bits=more)
    weights = {op.outputs[0].name: op.inputs[1].dtype for op in with_constant_weights(read(path))}
    assert weights[kept] == {4: "int8", 8: "float32"}[bits]
    others = [kind for name, kind in weights.items() if name != kept]
    assert others.count("float32") == 0
    assert others.count("int4") == {4: 3, 8: 0}[bits]


def test_other_images_other_ranges(net, tmp_path):
    scales = []
    for factor in (1, 3):
        path = tmp_path / f"{factor}.tflite"
        export(
            net,
            path,
            storage="int8",
            representative=pictures(20),
            calibration=pictures(20, 4) * factor,
            io="int8",
        )
        scales.append(LiteModel(path).inputs[0].details["quantization"][0])
    assert scales[1] == pytest.approx(3 * scales[0], rel=1e-3)


def test_half_of_the_images_calibrate_and_the_others_are_compared(net, tmp_path):
    x = pictures(21) * np.linspace(1, 1.5, 21, dtype="float32")[:, None, None, None]
    half = x[np.random.default_rng(0).permutation(21)[10:]]
    path = tmp_path / "m.tflite"
    written = export(net, path, storage="int8", representative=x, io="int8")
    assert written.parity.images == 10
    scale = LiteModel(path).inputs[0].details["quantization"][0]
    assert scale == pytest.approx((half.max() - half.min()) / 255, rel=1e-3)


@pytest.mark.parametrize("given", [None, pictures(1)])
def test_no_images_to_calibrate_on(net, tmp_path, given):
    with pytest.raises(InputError, match=r"ranges .* from images: give representative=, about"):
        export(net, tmp_path / "m.tflite", storage="int8", representative=given)
    assert list(tmp_path.iterdir()) == []


def test_calibration_alone_is_enough(net, tmp_path):
    written = export(net, tmp_path / "m.tflite", storage="int8", calibration=pictures(20))
    assert (written.parity, written.errors) == (None, {})


def test_calibration_images_of_another_shape(net, tmp_path):
    with pytest.raises(InputError, match=r"must have the shape \(n, 16, 16, 3\)"):
        export(net, tmp_path / "m.tflite", storage="int8", calibration=np.zeros((9, 8, 8, 3)))


@pytest.mark.parametrize("mends", [True, False])
def test_ranges_a_hundred_times_too_small(net, tmp_path, monkeypatch, mends):
    """Of what comes out of one layer: it keeps floats, or the refusal names it."""
    right = calibrate.ranges

    def wrong(path, images):
        found = right(path, images)
        (name,) = [name for name in found if "pointwise" in name]
        return found | {name: {end: value / 100 for end, value in found[name].items()}}

    monkeypatch.setattr(calibrate, "ranges", wrong)
    if mends:
        written = export(net, tmp_path / "m.tflite", storage="int8", representative=pictures(60))
        assert "pointwise" in written.kept
        return
    monkeypatch.setattr(fallback, "agreeing", lambda built, first, *args: (built, first))
    with pytest.raises(ExportError, match=r"output of layer 'pointwise' differs most, by 0\.9"):
        export(net, tmp_path / "m.tflite", storage="int8", representative=pictures(60))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["nested", "softmax", "shared", "sequential"])
def test_kinds_of_models(tmp_path, kind):
    keras.utils.set_random_seed(3)
    body = [layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU()]
    if kind == "nested":
        body = [keras.Sequential(body)]
    if kind == "shared":
        shared = layers.Conv2D(3, 3, padding="same")
        body = [shared, shared]
    last = layers.Dense(5, activation="softmax" if kind == "softmax" else None)
    model = keras.Sequential([keras.Input((16, 16, 3)), *body, layers.Flatten(), last])
    written = export(
        model,
        tmp_path / "m.tflite",
        storage="int8",
        representative=pictures(30),
        calibration=pictures(200, 3),
    )
    assert written.float_ops == ()
    assert written.parity.relative_rms < 0.05


def test_real_images_and_half_a_quarter_of_the_bytes(tmp_path):
    images = data.load("fashion_mnist_small")
    keras.utils.set_random_seed(0)
    model = models.build("vgg_small", images.image_shape, images.num_classes)
    x = images.representative(120)
    sizes = {}
    for storage, near in (("float32", 1e-5), ("float16", 1e-3), ("int8", 0.05)):
        written = export(model, tmp_path / "m.tflite", storage=storage, representative=x)
        assert written.parity.relative_rms < near
        sizes[storage] = written.size_bytes
    assert sizes["float16"] < 0.51 * sizes["float32"]
    assert sizes["int8"] < 0.27 * sizes["float32"]


def steps_of_activations(path):
    """The step between the integers of each activation, by its name."""
    details = Interpreter(path).get_tensor_details()
    return {each["name"]: each["quantization"][0] for each in details if each["quantization"][0]}


def test_ranges_of_least_error_clip_inner_values_alone(tmp_path):
    """Products of sums have a few large values, which cost the others their precision."""
    random = np.random.default_rng(0)
    x = inputs = keras.Input((16,))
    for _ in range(2):
        x = layers.Multiply()([layers.Dense(16)(x), layers.Dense(16)(x)])
    net = keras.Model(inputs, layers.Dense(4)(x))
    net.set_weights([random.standard_normal(w.shape) / 4 for w in net.get_weights()])
    x = random.uniform(-1, 1, (200, 16)).astype("float32")
    options = {"storage": "int8", "io": "int8", "calibration": x, "representative": x}
    whole, default, cut = (
        export(net, tmp_path / f"{number}.tflite", **options, **ranges).path
        for number, ranges in enumerate(({"ranges": "minmax"}, {}, {"ranges": "mse"}))
    )
    assert Path(whole).read_bytes() == Path(default).read_bytes()
    steps, narrower = map(steps_of_activations, (whole, cut))
    changed = {name for name in steps if narrower[name] < steps[name]}
    assert changed
    assert all(narrower[name] == steps[name] for name in steps.keys() - changed)
    content = read(whole)
    assert not changed & {tensor.name for tensor in (*content.inputs, *content.outputs)}
    with pytest.raises(InputError, match="ranges must be one of minmax, mse; got 'mean'"):
        export(net, tmp_path / "no.tflite", ranges="mean", **options)
    with pytest.raises(InputError, match=r"ranges=mse is .* int8 or int8_int4"):
        export(net, tmp_path / "no.tflite", ranges="mse", storage="float16")


@pytest.mark.parametrize(
    ("draw", "least", "most"), [("random", 1, 1), ("standard_normal", 0.7, 0.9)]
)
def test_the_share_of_a_range_with_the_least_error(draw, least, most):
    values = getattr(np.random.default_rng(0), draw)(size=200_000)
    low, high = min(values.min(), 0.0), values.max()

    def error(share):
        step = share * (high - low) / 255
        zero = round(share * low / step)
        codes = np.clip(np.round(values / step), zero, zero + 255)
        return np.mean((values - codes * step) ** 2)

    counts = np.histogram(values, bins=4096, range=(low, high))[0]
    share = calibrate._least_error_share(counts, low, high)
    assert least <= share <= most
    assert error(share) <= 1.02 * min(error(each) for each in np.linspace(0.3, 1, 36))
