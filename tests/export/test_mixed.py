"""Layers that keep more bits: which, how many, and why."""

import functools

import keras
import numpy as np
import pytest

from tests.export.quantised import mixed_net, pictures
from tfcompress.errors import InputError
from tfcompress.export import Validation, calibrate, convert, export
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


def written(net, folder, drop, storage="int8_int4", **more):
    validation = Validation(*borderline(), drop)
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
    """Layer to the rms of what its 4-bit weights alone do to the outputs of the 8-bit file."""
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
        higher = [output for other, output in ops.items() if other != name]
        calibrate.integer_file(path, file, found, weight_bits=4, higher=higher)
        outputs[name] = LiteModel(file).predict(probes[:64])
    right = outputs.pop(None)
    return {name: float(np.sqrt(np.mean((got - right) ** 2))) for name, got in outputs.items()}


def test_the_most_harmful_layers_keep_8_bits(net, tmp_path):
    loose = written(net, tmp_path, 100)
    assert loose.kept == {}
    held = written(net, tmp_path, 10)
    effects = alone(net, tmp_path)
    order = sorted(effects, key=lambda name: -effects[name])
    assert 1 <= len(held.kept) < 4
    assert list(held.kept) == order[: len(held.kept)]
    assert all("kept 8 bits: alone in 4 bits" in why for why in held.kept.values())
    assert held.weight_bytes["int4"] < loose.weight_bytes["int4"]
    assert held.parity.relative_rms < loose.parity.relative_rms


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
    assert all("with it the mae on 200 validation examples" in why for why in held.kept.values())
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
