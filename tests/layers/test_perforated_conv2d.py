import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers import compact
from tests.layers.compact import draw, predict, with_weights
from tfcompress.layers import NearestFill2D, PerforatedConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3), (6, 6, 4))

# Input sizes, arguments, and the rows and columns (or single positions) that are computed.
CASES = {
    "every other": ((8, 6), {"kernel_size": 3, "padding": "same"}, ([1, 3, 5, 7], [1, 3, 5])),
    "valid": ((9, 6), {"kernel_size": (3, 2)}, ([0, 2, 4, 6], [1, 3])),
    "stride": (
        (9, 8),
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        ([1, 3], [1, 3]),
    ),
    "uneven": (
        (8, 7),
        {"kernel_size": 3, "padding": "same", "rate": 0.5},
        ([0, 2, 3, 4, 6, 7], [0, 2, 3, 4, 6]),
    ),
    "rows": (
        (8, 3),
        {"kernel_size": 3, "padding": "same", "rate": 0.5, "mask": "rows"},
        ([1, 3, 5, 7], [0, 1, 2]),
    ),
    "columns": (
        (3, 9),
        {"kernel_size": (1, 3), "strides": 2, "rate": 0.5, "mask": "columns"},
        ([0, 1], [1, 3]),
    ),
    "dilation": (
        (8, 6),
        {"kernel_size": 3, "dilation_rate": 2, "padding": "same"},
        ([1, 3, 5, 7], [1, 3, 5]),
    ),
    "1x1": ((8, 6), {"kernel_size": 1}, ([1, 3, 5, 7], [1, 3, 5])),
    "all": ((3, 4), {"kernel_size": 3, "padding": "same", "rate": 0.0}, ([0, 1, 2], [0, 1, 2, 3])),
    "positions": (
        (4, 5),
        {"kernel_size": 3, "padding": "same", "positions": [14, 0, 1]},
        [(0, 0), (0, 1), (2, 4)],
    ),
    "positions of strides": (
        (9, 8),
        {"kernel_size": 2, "strides": 2, "positions": [0, 11]},
        [(0, 0), (2, 3)],
    ),
}
each = pytest.mark.parametrize("case", CASES)


def layer_of(case):
    size, options, computed = CASES[case]
    x = draw((2, *size, 3))
    return with_weights(PerforatedConv2D(4, activation="tanh", **options), x), x, computed


def sources(shape, computed):
    """For each output the computed one that it is a copy of: the nearest; of a grid, the later."""
    grid = isinstance(computed, tuple)
    kept = [(row, column) for row in computed[0] for column in computed[1]] if grid else computed
    found = np.empty((*shape, 2), int)
    for row, column in np.ndindex(*shape):
        far = [(r - row) ** 2 + (c - column) ** 2 for r, c in kept]
        nearest = [at for at, distance in zip(kept, far, strict=True) if distance == min(far)]
        assert grid or len(nearest) == 1, "this case has a tie"
        found[row, column] = nearest[-1]
    return found


def whole(layer, x):
    """The convolution at every position."""
    y = checks.conv2d(
        x,
        compact.numbers(layer.kernel),
        strides=layer.strides,
        padding=layer.padding,
        dilation=layer.dilation_rate,
    )
    return np.tanh(y + compact.numbers(layer.bias))


def naive(layer, x, computed):
    y = whole(layer, x)
    source = sources(y.shape[1:3], computed)
    return y[:, source[..., 0], source[..., 1]]


@each
def test_forward_lowered_and_counts(case):
    layer, x, computed = layer_of(case)
    expected = naive(layer, x, computed)
    np.testing.assert_allclose(predict(layer, x), expected, rtol=1e-4, atol=1e-5)
    assert tuple(layer.compute_output_shape(x.shape)) == expected.shape
    compact.assert_lowered_is_the_same(layer, x)
    count = len(computed) if isinstance(computed, list) else len(computed[0]) * len(computed[1])
    assert layer.macs(x.shape, expected.shape) == count * np.prod(layer.kernel.shape)


@pytest.mark.parametrize("case", ["every other", "uneven", "positions"])
def test_gradient_is_the_convolutions_with_the_copies_summed(case):
    layer, x, computed = layer_of(case)
    layer.activation = keras.activations.linear
    shape = layer.compute_output_shape(x.shape)
    upstream = draw(shape, seed=3)
    summed = np.zeros(shape, "float32")
    source = sources(shape[1:3], computed)
    for at in np.ndindex(*shape[1:3]):
        summed[:, *source[at]] += upstream[:, *at]
    plain = keras.layers.Conv2D(4, layer.kernel_size, padding=layer.padding)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    wanted = checks.layer_gradients(plain, x, summed)
    for got, expected in zip(checks.layer_gradients(layer, x, upstream), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["every other", "uneven", "positions"])
def test_filled_in_later_it_is_the_same(case):
    layer, x, _ = layer_of(case)
    expected = predict(layer, x)
    layer.interpolate = False
    part = predict(layer, x)
    assert part.shape == tuple(layer.compute_output_shape(x.shape))
    filled = predict(NearestFill2D(*layer.fill_indices(x.shape)), part)
    np.testing.assert_array_equal(filled.reshape(expected.shape), expected)


def test_uniform_positions_are_the_seeds():
    options = {"kernel_size": 1, "rate": 0.75, "mask": "uniform", "interpolate": False}
    x = np.arange(64, dtype="float32").reshape(1, 8, 8, 1)
    drawn = []
    for seed in (0, 0, 1):
        layer = PerforatedConv2D(1, mask_seed=seed, use_bias=False, **options)
        layer.build(x.shape)
        layer.kernel.assign(np.ones((1, 1, 1, 1)))
        drawn.append(predict(layer, x).ravel().tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(sorted(set(each)) == each for each in drawn)
    assert [len(each) for each in drawn] == [16, 16, 16]


def test_training_saving_precision(tmp_path):
    x = draw((2, 6, 6, 3))
    for options in ({}, {"mask": "uniform", "mask_seed": 3}, {"positions": [1, 8]}):
        layer = PerforatedConv2D(4, 3, kernel_regularizer="l2", **options)
        compact.assert_config_round_trip(layer)
    compact.assert_same_after_saving(PerforatedConv2D(4, 3, positions=[1, 8]), x, tmp_path)
    compact.assert_works_in_half_precision(PerforatedConv2D, x, 4, 3, rate=0.5)
    compact.assert_every_weight_moves(PerforatedConv2D(4, 3), x)


def test_made_of_a_convolution():
    conv = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="mine", trainable=False)
    conv.build((None, 8, 8, 3))
    layer = PerforatedConv2D.from_conv(conv, (None, 8, 8, 3), rate=0.0)
    x = draw((2, 8, 8, 3))
    np.testing.assert_allclose(predict(layer, x), ops.convert_to_numpy(conv(x)), atol=1e-5)
    assert (layer.name, layer.trainable, layer.strides) == ("mine", False, (2, 2))


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
def test_file(tmp_path):
    """Both ways: a convolution with strides between copies, and gathered windows."""
    both = keras.Sequential(
        [
            PerforatedConv2D(4, 3, padding="same"),
            PerforatedConv2D(4, 3, padding="same", mask="uniform"),
        ]
    )
    written = compact.assert_export_is_the_same(both, draw((3, 8, 8, 3)), tmp_path)
    assert written.ops == {"CONV_2D": 2, "GATHER": 4, "PAD": 1, "RESHAPE": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.0}, r"rate must be in \[0, 1\). Received: rate=1.0"),
        ({"mask": "pool"}, r"mask must be one of grid, rows.*Received: mask='pool'"),
        ({"positions": []}, r"positions must be a list of whole numbers.*positions=\[\]"),
        ({"positions": [16]}, "positions must be below the output's 4 x 4. Received: 16"),
        ({"kernel_size": 7}, r"the kernel \(7, 7\) doesn't fit"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        PerforatedConv2D(4, **{"kernel_size": 3, **options}).build((None, 6, 6, 3))


def test_unknown_size():
    with pytest.raises(ValueError, match="needs the input's height, width and channels"):
        PerforatedConv2D(4, 3).build((None, None, 6, 3))
