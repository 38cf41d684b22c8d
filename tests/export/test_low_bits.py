"""Weights of 4 and 2 bits: who gets them, and what the files compute."""

import numpy as np
import pytest

from tests.export.handmade import (
    Conv,
    Dense,
    Depthwise,
    Reshape,
    binary,
    changed,
    normal,
    save,
)
from tfcompress.export import exact_grids, latency, low_bits
from tfcompress.export.latency import seconds_in_turns
from tfcompress.runtime import LiteModel
from tfcompress.runtime.interpreter import OpenedFile, open_file
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor


def ternary(shape, seed=0):
    """-c, 0 and c, with a c of its own for each filter."""
    return binary(shape, seed) * (np.random.default_rng(seed + 50).random(shape) < 0.6)


def bits_of(shape, seed=9):
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


def kinds(path):
    """Op and type of the weights, of each product."""
    return [(op.name, op.inputs[1].dtype) for op in read(path).ops if op.macs]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.tflite"


LAYERS = {
    "dense": ((1, 45), Dense, (7, 45), {"bias": normal(7, 1), "activation": "relu"}),
    "rows": ((1, 4, 10), Dense, (5, 10), {}),
    "conv": ((1, 7, 6, 5), Conv, (4, 3, 2, 5), {"bias": normal(4, 1), "strides": (2, 1)}),
    "valid": ((1, 7, 6, 5), Conv, (4, 3, 3, 5), {"padding": "valid", "activation": "relu6"}),
    "1x1": ((1, 5, 4, 6), Conv, (4, 1, 1, 6), {"strides": (2, 2), "activation": "relu"}),
}


@pytest.mark.parametrize("weights", [(binary, 4), (binary, 2), (ternary, 4), (ternary, 2)])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_binary_and_ternary_weights_meet_bits_without_error(path, name, weights):
    shape, layer, kernel, options = LAYERS[name]
    make, bits = weights
    floats = path.with_name("floats.tflite")
    kernel = make(kernel, 3)
    save(floats, shape, layer(kernel, **options))
    low_bits.write_low_bits(floats, path, {"y0": bits})
    x = bits_of((6, *shape[1:]))
    right = LiteModel(floats).predict(x)
    np.testing.assert_allclose(
        LiteModel(path).predict(x), right, rtol=0, atol=1e-5 * np.abs(right).max()
    )
    rows = [kernel] if kernel.ndim == 2 else list(np.moveaxis(kernel, 1, 0))
    assert kinds(path) == [("FULLY_CONNECTED", f"int{bits}")] * len(rows)
    assert read(path).weight_bytes[f"int{bits}"] == sum(-(-row.size * bits // 8) for row in rows)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_any_weights_by_half_a_step(path, name):
    """Of 4 bits, and inputs by a step of a 255th of their range (half for the zero point)."""
    shape, layer, kernel, options = LAYERS[name]
    options = {key: value for key, value in options.items() if key != "activation"}
    kernel = normal(kernel, 3)
    floats, bound = path.with_name("floats.tflite"), path.with_name("bound.tflite")
    save(floats, shape, layer(kernel, **options))
    low_bits.write_low_bits(floats, path, {"y0": 4})
    x = normal((6, *shape[1:]), 8)
    step = np.abs(kernel).reshape(len(kernel), -1).max(1) / 7
    if kernel.ndim == 4:  # Each row of the filters has a scale of its own, none a larger one.
        options = {**options, "bias": np.zeros(len(kernel), np.float32)}
    half = np.broadcast_to((step / 2).reshape(-1, *[1] * (kernel.ndim - 1)), kernel.shape)
    save(bound, shape, layer(half.astype(np.float32), **{**options, "bias": None}))
    axes = tuple(range(1, x.ndim))
    grid = (x.max(axes, initial=0) - x.min(axes, initial=0)) / 255
    inputs = (np.abs(kernel) + half).reshape(len(kernel), -1).sum(1)
    allowed = LiteModel(bound).predict(np.abs(x)) + np.multiply.outer(grid, inputs).reshape(
        len(x), *[1] * (x.ndim - 2), -1
    )
    difference = np.abs(LiteModel(path).predict(x) - LiteModel(floats).predict(x))
    assert (difference <= allowed * 1.001).all()
    assert difference.max() > 0.05 * allowed.max()


def test_8_bits_leave_a_convolution(path):
    floats = path.with_name("floats.tflite")
    layers = (
        Conv(binary((6, 3, 3, 4), 1), normal(6, 2)),
        Conv(binary((5, 3, 3, 6), 3)),
        Reshape((1, 5 * 5 * 5)),
        Dense(binary((7, 125), 4)),
        Dense(normal((3, 7), 5)),
    )
    save(floats, (1, 5, 5, 4), *layers)
    low_bits.write_low_bits(floats, path, {"y0": 8, "y1": 2, "y3": 4})
    assert kinds(path) == [
        ("CONV_2D", "int8"),
        *[("FULLY_CONNECTED", "int2")] * 3,
        ("FULLY_CONNECTED", "int4"),
        ("FULLY_CONNECTED", "float32"),  # Not named.
    ]
    x = bits_of((6, 5, 5, 4))
    right, got = (LiteModel(file).predict(x) for file in (floats, path))
    assert np.sqrt(np.mean((got - right) ** 2) / np.mean(right**2)) < 0.05
    assert sorted(path.parent.iterdir()) == [floats, path]  # And nothing else.


def test_names_as_the_converter_writes_them(path):
    """With the names of the layers that it merged, and what a pattern takes for its own."""
    floats = path.with_name("floats.tflite")
    save(floats, (1, 5, 5, 4), Conv(binary((6, 2, 3, 4))), Conv(binary((6, 1, 1, 6))))
    name = "net_1/bn.1/add_1;net_1/conv+(1)/Squeeze"

    def rename(model):
        for tensor in model.subgraphs[0].tensors:
            if tensor.name == b"y0":
                tensor.name = name.encode()

    changed(floats, rename)
    low_bits.write_low_bits(floats, path, {name: 2, "y1": 8})
    assert kinds(path) == [*[("FULLY_CONNECTED", "int2")] * 2, ("CONV_2D", "int8")]


MIXED = (
    Conv(normal((6, 3, 3, 4), 1)),  # y0
    Conv(binary((6, 3, 3, 2), 2)),  # y1: 3 groups
    Depthwise(binary((1, 3, 3, 6), 3)),  # y2
    Conv(ternary((6, 3, 3, 6), 4)),  # y3
    Conv(binary((6, 3, 3, 6), 5)),  # y4: as y3
    Conv(binary((6, 3, 3, 6), 6), activation="relu"),  # y5: otherwise
    Reshape((1, 150)),
    Dense(binary((8, 150), 7)),  # y7
    Dense(np.zeros((8, 8), np.float32)),  # y8
)
PRODUCTS = ["y0", "y1", "y2", "y3", "y4", "y5", "y7", "y8"]
DEPTHWISE = "8 bits: a depthwise convolution isn't a product of matrices"
GROUPS = "8 bits: its 3 groups would be as many products"


@pytest.fixture
def timed(monkeypatch):
    """Layers in the order in which they are timed; of the slow ones the ratio."""
    asked, slow = [], {}

    def latencies(path, name, bits):
        asked.append((name, bits))
        return 1.0, slow.get(name, 1.0)

    monkeypatch.setattr(low_bits, "_latencies", latencies)
    return asked, slow


def test_four_bits_for_products_of_matrices(path, timed):
    chosen, why = low_bits.choose(save(path, (1, 5, 5, 4), *MIXED), PRODUCTS, 4)
    assert chosen == dict.fromkeys(PRODUCTS, 4) | {"y1": 8, "y2": 8}
    assert why == {"y1": GROUPS, "y2": DEPTHWISE}
    # y4 has the form of y3.
    assert timed[0] == [(name, 4) for name in ("y0", "y3", "y5", "y7", "y8")]


def test_two_bits_for_binary_and_ternary_weights(path, timed):
    chosen, why = low_bits.choose(save(path, (1, 5, 5, 4), *MIXED), PRODUCTS, 2)
    assert chosen == dict.fromkeys(PRODUCTS, 2) | {"y0": 8, "y1": 8, "y2": 8}
    values = "8 bits: its filters have more than the values -2s, -s, 0 and s"
    assert why == {"y0": values, "y1": GROUPS, "y2": DEPTHWISE}
    assert timed[0] == [(name, 2) for name in ("y3", "y5", "y7", "y8")]


def test_layers_that_get_slower_keep_8_bits(path, timed):
    timed[1].update({"y3": 1.499, "y7": 1.0001, "y8": 0.5})
    names = ["y3", "y4", "y7", "y8"]
    chosen, why = low_bits.choose(save(path, (1, 5, 5, 4), *MIXED), names, 2)
    assert chosen == {"y3": 8, "y4": 8, "y7": 8, "y8": 2}
    slow = "8 bits: with 2 bits it took 1.50 times the floats' time here"
    assert why == {"y3": slow, "y4": slow, "y7": slow.replace("1.50", "1.00")}


def test_weights_trained_for_few_bits_get_them_while_all_layers_together_are_as_fast(path, timed):
    """What the fast ones save, the slow ones may cost: the least dear of these first."""
    timed[1].update({"y3": 1.4, "y5": 1.2, "y7": 0.5, "y8": 1.0})
    names = ["y0", "y3", "y5", "y7", "y8"]
    chosen, why = low_bits.choose(save(path, (1, 5, 5, 4), *MIXED), names, 2, trained=True)
    assert chosen == {"y0": 8, "y3": 8, "y5": 2, "y7": 2, "y8": 2}
    assert why == {
        "y0": "8 bits: its weights weren't trained for 2 bits",
        "y3": "8 bits: with 2 bits it took 1.40 times the floats' time here",
    }


def test_only_the_named_ones_are_looked_at(path, timed):
    chosen, why = low_bits.choose(save(path, (1, 5, 5, 4), *MIXED), ["y7"], 4)
    assert (chosen, why) == ({"y7": 4}, {})


@pytest.mark.parametrize("name", ["y0", "y8"])
def test_a_layer_is_timed_alone(path, monkeypatch, name, tmp_path_factory):
    """In files of that layer, floats first, which are gone afterwards."""
    seen = []

    def watched(paths):
        seen.extend((path, kinds(path), LiteModel(path).input_shape) for path in paths)
        return seconds_in_turns(paths)

    monkeypatch.setattr(low_bits, "seconds_in_turns", watched)
    editor = Editor(save(path, (1, 5, 5, 4), *MIXED))
    assert min(low_bits._latencies(editor, name, 4)) > 0
    (floats, few) = seen
    shape, op = ((1, 5, 5, 4), "CONV_2D") if name == "y0" else ((1, 8), "FULLY_CONNECTED")
    assert floats[1:] == ([(op, "float32")], shape)
    assert few[1:] == ([("FULLY_CONNECTED", "int4")] * (3 if name == "y0" else 1), shape)
    assert not any(file.exists() for file, *_ in seen)


@pytest.mark.parametrize(
    ("kernel", "yes"),
    [
        (binary((3, 2, 2, 5)), True),
        (ternary((3, 20)), True),
        (np.zeros((3, 20)), True),
        (ternary((3, 20)) * (1 - 5e-7 * np.linspace(0, 1, 20)), True),
        (ternary((3, 20)) * (1 - 1e-4 * np.linspace(0, 1, 20)), False),
        (np.array([[1, -1, 0.5]]), False),
        (np.array([[1, -1, 1e-3]]), False),
        (np.array([[1, -1, 1e-9]]), True),
        (np.array([[1, -1], [0.5, -0.5]]), True),
        (np.array([[1, 0.5], [1, 0.5]]), False),
        (np.array([[-1, 0.5], [-1, -0.5]]), True),
    ],
)
def test_two_bits_hold(kernel, yes):
    rows = kernel.reshape(len(kernel), -1)
    assert (exact_grids.grid_steps(rows, 2) is not None) == yes


@pytest.mark.parametrize(("few_ms", "bits", "reason"), [(30, 8, "3.00 times"), (5, 4, None)])
def test_layers_that_few_bits_make_slower_get_eight(path, monkeypatch, few_ms, bits, reason):
    """By a clock that only runs of files move: 10 ms with floats."""
    now = 0.0

    class Timed:
        def __init__(self, path, opened):
            self.milliseconds = few_ms if "few" in str(path) else 10
            self.opened = opened

        def __getattr__(self, name):
            return getattr(self.opened, name)

        def invoke(self):
            nonlocal now
            now += self.milliseconds / 1000
            self.opened.invoke()

    def timed(path, **options):
        return OpenedFile(Timed(path, open_file(path, **options).interpreter))

    monkeypatch.setattr(latency, "open_file", timed)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now)
    save(path, (1, 24), Dense(normal((6, 24), 1)))
    (op,) = [op for op in read(path).ops if op.macs]
    chosen, why = low_bits.choose(path, [op.outputs[0].name], 4)
    assert list(chosen.values()) == [bits]
    if reason is None:
        assert why == {}
    else:
        assert f"it took {reason} the floats' time" in why[op.outputs[0].name]
