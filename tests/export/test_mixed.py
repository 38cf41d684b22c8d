"""Layers that keep more bits: which, how many, and why."""

import functools
import itertools

import keras
import numpy as np
import pytest

from tests.export.quantised import mixed_net, pictures
from tfcompress.errors import InputError
from tfcompress.export import Validation, calibrate, convert, export, mixed
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.weighted_ops import with_constant_weights
from tfcompress.training import logits


@pytest.fixture(scope="module")
def net():
    return mixed_net()


@functools.cache
def borderline(count=300):
    """Pictures whose two best classes are nearest, and Keras's labels."""
    x = pictures(3000, 5)
    scores = logits(mixed_net(), x)
    ordered = np.sort(scores, axis=1)
    nearest = np.argsort(ordered[:, -1] - ordered[:, -2])[:count]
    return x[nearest], scores.argmax(1)[nearest]


def written(net, folder, drop, storage="int8_int4", price="bytes", **more):
    validation = Validation(*borderline(), drop, price=price)
    return export(
        net,
        folder / "m.tflite",
        storage=storage,
        representative=pictures(60),
        calibration=pictures(100, 3),
        validation=validation,
        **more,
    )


def alone(net, folder):
    """Layer to the relative rms of what its 4-bit weights alone do to the 8-bit file's outputs."""
    path, probes = folder / "float.tflite", pictures(100, 3)
    convert.float_file(net, path)
    found = calibrate.ranges(path, probes)
    ops = {
        name: op.outputs[0].name
        for name, op in zip(
            ["first", "depthwise", "pointwise", "hidden", "scores"],
            with_constant_weights(read(path)),
            strict=True,
        )
    }
    del ops["depthwise"]
    outputs = {}
    for name in (None, *ops):
        file = folder / "one.tflite"
        bits = {output: 4 for other, output in ops.items() if other == name}
        calibrate.integer_file(path, file, found, bits=bits)
        outputs[name] = LiteModel(file).predict(probes[:64])
    right = outputs.pop(None)
    return {
        name: float(np.sqrt(np.mean((got - right) ** 2) / np.mean(right**2)))
        for name, got in outputs.items()
    }


WEIGHTS = {"first": 9 * 3 * 8, "pointwise": 8 * 8, "hidden": 16 * 8 * 12, "scores": 12 * 5}


def test_no_other_bits_harm_less_for_the_bytes(net, tmp_path):
    loose = written(net, tmp_path, 100)
    assert loose.kept == {}
    held = written(net, tmp_path, 10)
    errors = alone(net, tmp_path)
    assert {name: layer.bits for name, layer in loose.layer_bits.items()} == {
        name: 8 if name == "depthwise" else 4 for name in loose.layer_bits
    }
    for name, error in errors.items():
        assert loose.layer_bits[name].error == pytest.approx(error, rel=1e-3)
        assert loose.layer_bits[name].size_bytes == pytest.approx(WEIGHTS[name] / 2, abs=16)
    assert 1 <= len(held.kept) < 4
    assert {*held.kept} == {name for name in errors if held.layer_bits[name].bits == 8}
    assert all("kept 8 bits: alone in 4 bits" in why for why in held.kept.values())
    spent = sum(WEIGHTS[name] for name in held.kept)
    harm = sum(errors[name] ** 2 for name in errors if name not in held.kept)
    for count in range(len(errors) + 1):
        for others in itertools.combinations(errors, count):
            if sum(WEIGHTS[name] for name in others) <= spent:
                left = sum(errors[name] ** 2 for name in errors if name not in others)
                assert left >= harm * (1 - 1e-6)
    assert held.weight_bytes["int4"] < loose.weight_bytes["int4"]
    assert held.parity.relative_rms < loose.parity.relative_rms
    assert held.notes[-1].startswith("with these bits the accuracy on 300 validation images is ")


def test_two_bits_where_weights_lie_on_such_a_grid(tmp_path):
    """They are exact then, and nothing is cheaper; the other layer keeps more."""
    keras.utils.set_random_seed(0)
    row = keras.Input((32,))
    hidden = keras.layers.Dense(40, activation="relu", name="hidden")
    net = keras.Model(row, keras.layers.Dense(3, name="scores")(hidden(row)))
    codes = np.random.default_rng(0).integers(-2, 2, hidden.kernel.shape)
    hidden.kernel.assign(0.05 * codes.astype("float32"))
    x = np.random.default_rng(1).normal(size=(300, 32)).astype("float32")
    labels = logits(net, x).argmax(1)
    file = export(
        net,
        tmp_path / "m.tflite",
        storage="int8_int4",
        io="float32",
        calibration=x[:100],
        validation=Validation(x, labels, 2, bits=(8, 4, 2)),
    )
    assert file.layer_bits["hidden"].bits == 2
    assert file.layer_bits["hidden"].error < 0.02
    assert file.layer_bits["scores"].bits > 2
    assert file.weight_bytes["int2"] == 32 * 40 / 4
    assert (LiteModel(file.path).predict(x).argmax(1) == labels).mean() >= 0.98


def test_the_price_is_what_each_layer_takes(net, tmp_path, monkeypatch):
    """4 bits are slower here but for the largest layer; only that one gets them."""
    seen = []

    def seconds(paths):
        (op,) = with_constant_weights(read(paths[0]))
        seen.append([next(with_constant_weights(read(path))).inputs[1].dtype for path in paths])
        return [2e-6, 1e-6 if op.inputs[1].shape == (12, 128) else 3e-6]

    monkeypatch.setattr(mixed, "seconds_in_turns", seconds)
    held = written(net, tmp_path, 100, price="time")
    assert seen == [["int8", "int4"]] * 4
    assert {name for name, layer in held.layer_bits.items() if layer.bits == 4} == {"hidden"}
    assert held.layer_bits["hidden"].microseconds == pytest.approx(1)
    assert "32 bytes, 3 µs" in held.kept["pointwise"]


def test_what_cannot_be_timed_alone_has_8_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(mixed, "seconds_in_turns", lambda paths: [1e-6] * len(paths))
    keras.utils.set_random_seed(0)
    x = image = keras.Input((4, 4, 2))
    x = keras.layers.Conv2DTranspose(3, 3, name="up")(x)
    net = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    x = np.random.default_rng(0).normal(size=(60, 4, 4, 2)).astype("float32")
    validation = Validation(x, logits(net, x).argmax(1), 100, price="time")
    path = tmp_path / "m.tflite"
    file = export(net, path, storage="int8", io="float32", representative=x, validation=validation)
    assert (file.layer_bits["up"].bits, file.layer_bits["up"].microseconds) == (8, None)


def test_the_bound_holds_and_no_layer_too_many_is_kept(net, tmp_path):
    x, labels = borderline()
    counts = []
    for drop in (2, 10, 30):
        held = written(net, tmp_path, drop)
        agreement = (LiteModel(held.path).predict(x).argmax(1) == labels).mean()
        assert 100 * (1 - agreement) <= drop + 1e-6
        counts.append(len(held.kept))
    assert counts == sorted(counts, reverse=True)


def test_floats_beside_8_bits(net, tmp_path):
    held = written(net, tmp_path, 1.5, storage="int8", io="int8")
    assert held.kept
    assert LiteModel(held.path).output_dtype == "int8"
    assert all("kept floats: alone in 8 bits" in why for why in held.kept.values())
    assert len(held.float_products) == len(held.kept)


def test_what_cannot_be_reached(net, tmp_path):
    """Images that the float file gets right and the one of 8 bits doesn't."""
    path, calibration = tmp_path / "m.tflite", pictures(100, 3)
    export(net, path, storage="int8", calibration=calibration)
    x = pictures(2000, 6)
    labels = logits(net, x).argmax(1)
    wrong = LiteModel(path).predict(x).argmax(1) != labels
    path.unlink()
    assert wrong.sum() > 3
    message = (
        r"with 8 bits for 4 of 4 layers .* is 0.00%, below the 100.00% .*: allow more, or use int8"
    )
    with pytest.raises(InputError, match=message):
        export(
            net,
            path,
            storage="int8_int4",
            calibration=calibration,
            validation=Validation(x[wrong], labels[wrong], 0),
        )
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_two_inputs_holds_in_percent(tmp_path):
    random = np.random.default_rng(0)
    inputs = [keras.Input((12,), name="left"), keras.Input((12,), name="right")]
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(40, activation="relu")(keras.layers.Concatenate()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(20)(hidden)))
    x = {name: random.normal(size=(200, 12)).astype("float32") for name in ("left", "right")}
    # As near to the outputs as rounding must not go.
    y = model.predict(x, verbose=0) + 0.02 * random.normal(size=(200, 1))

    def written(drop):
        return export(
            model,
            tmp_path / "m.tflite",
            storage="int8_int4",
            io="float32",
            representative=x,
            validation=Validation(x, y, drop),
            strict=False,
        )

    drop = 500.0
    held = written(drop)
    assert 1 <= len(held.kept) < 3
    assert "the mae on 200 validation examples is " in held.notes[-1]
    before = np.abs(model.predict(x, verbose=0) - y).mean()
    after = np.abs(LiteModel(held.path).predict(x) - y).mean()
    assert after <= (1 + drop / 100) * before * 1.001
    with pytest.raises(InputError, match=r"file's mae on .* above the 0.0.* that max_drop=0.1"):
        written(0.1)


@pytest.mark.parametrize("storage", ["float32", "float16", "dynamic"])
def test_other_storages_choose_nothing(net, tmp_path, storage):
    with pytest.raises(InputError, match=f"storage {storage} .* doesn't do: use int8 or int8_int4"):
        written(net, tmp_path, 1, storage)


@pytest.mark.parametrize(
    ("count", "drop", "message"),
    [(3, 0.5, "a label for each image; got 4 images and 3 labels"), (4, -1, "max_drop must be 0")],
)
def test_bad_validation(count, drop, message):
    with pytest.raises(InputError, match=message):
        Validation(pictures(4), np.zeros(count), drop)


@pytest.mark.parametrize("bits", [(4,), (8,), (8, 3), ()])
def test_bad_bits(bits):
    with pytest.raises(InputError, match="bits takes 8 and one or more of 4, 2; got"):
        Validation(pictures(4), np.zeros(4), bits=bits)
