import functools
import math

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.bridge import BridgeError, compare
from tfcompress.bridge.compare import difference


def one(*values):
    return [np.array(values, "float32")]


@pytest.mark.parametrize(
    ("reference", "other", "expected"),
    [
        (one(0.5, 0.25), one(0.5, 0.5), 0.25),  # Below 1: the difference itself.
        (one(0.0, -8.0), one(0.0, -6.0), 0.25),  # Above: a share of the largest value.
        (one(0.0, -6.0), one(0.0, -8.0), 1 / 3),  # Of the reference's, not of the other's.
        (one(math.inf, 1.0), one(math.inf, 1.0), 0.0),
        (one(math.nan, 1.0), one(math.nan, 1.0), 0.0),
        (one(math.nan, 1.0), one(1.0, 1.0), math.inf),
        (one(1.0, 1.0), one(1.0, math.nan), math.inf),
        (one(math.inf, 1.0), one(-math.inf, 1.0), math.inf),
        (one(1.0), one(1.0, 1.0), math.inf),
        (one(1.0), [*one(1.0), *one(1.0)], math.inf),
        ([*one(1.0), *one(2.0)], [*one(1.0), *one(3.0)], 0.5),  # The worst of several.
        ([*one(2.0), *one(1.0)], [*one(3.0), *one(1.0)], 0.5),
        ([np.zeros((0, 2))], [np.zeros((0, 2))], 0.0),
    ],
)
def test_difference_by_hand(reference, other, expected):
    assert difference(reference, other) == pytest.approx(expected)


def test_samples_are_drawn_by_type():
    inputs = [
        keras.Input((2000,), name="floats"),
        keras.Input((2000,), dtype="int32", name="indices"),
        keras.Input((2000,), dtype="uint8", name="bytes"),
        keras.Input((2000,), dtype="bool", name="truth"),
    ]
    ((floats, indices, numbers, truth),) = compare.samples(
        inputs, [None, 7, None, None], lambda _: True
    )
    assert floats.dtype == np.float32
    assert floats.std() == pytest.approx(1, abs=0.1)
    assert indices.dtype == np.int32
    assert set(indices.ravel()) == set(range(7))
    assert (numbers.dtype, numbers.min(), numbers.max()) == (np.uint8, 0, 255)
    assert set(truth.ravel()) == {False, True}
    again = next(iter(compare.samples(inputs, [None, 7, None, None], lambda _: True)))
    np.testing.assert_array_equal(floats, again[0])


def test_open_sizes_grow_until_they_fit():
    inputs = [keras.Input((None, None, 3))]
    sizes = [x[0].shape for x in compare.samples(inputs, [None], lambda x: x[0].shape[1] > 100)]
    assert sizes == [(2, 128, 128, 3), (2, 224, 224, 3), (2, 331, 331, 3)]


def test_index_limits():
    words, others = keras.Input((5,), dtype="int32"), keras.Input((5,))
    x = layers.Embedding(11, 4)(words)
    y = layers.Embedding(9, 4)(words)
    model = keras.Model([words, others], [x, y, layers.ReLU()(others)])
    assert compare.index_limits(model) == [9, None]


def test_fits():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 5, strides=2)(layers.Conv2D(4, 5)(inputs)))
    assert compare.fits(model, np.zeros((1, 9, 9, 3), "float32"))
    assert not compare.fits(model, np.zeros((1, 8, 9, 3), "float32"))


def test_check_takes_the_first_inputs_that_the_model_can():
    def model(inputs):
        if len(inputs[0]) < 3:
            raise ValueError("too small")
        return inputs[0]

    def refused(inputs):
        raise ValueError("never")

    drawn = [one(1.0), one(1.0, 2.0, 4.0), one(9.0, 9.0, 9.0, 9.0)]
    copy = lambda inputs: inputs[0] * 1.25  # noqa: E731
    gap = compare.check("net", "tf_keras", drawn, (model, copy), (list, list), 0.3)
    assert gap == 0.25
    with pytest.raises(BridgeError, match=r"differs by 0.25 .* \(allowed: 0.2\), though no layer"):
        compare.check("net", "tf_keras", drawn, (model, copy), (lambda x: [], lambda x: []), 0.2)
    with pytest.raises(BridgeError, match="'net' can't be run on random inputs to check it: never"):
        compare.check("net", "tf_keras", drawn, (refused, copy), (list, list), 0.2)


def test_check_allows_what_rounding_brings_before_a_softmax_and_no_more():
    """Scores of some hundred: their last bits are more than the tolerance in the probabilities."""

    def model(inputs, error=0.0):
        scores = 300 * inputs[0].astype("float64") * np.array([1 + error, 1 - error, 1])
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        return odds / odds.sum(-1, keepdims=True)

    def check(error):
        copy = functools.partial(model, error=error)
        no_steps = (lambda x: [], lambda x: [])
        drawn = [one(*[(1.0, 1.001, 0.999)] * 8)]
        return compare.check("net", "tf_keras", drawn, (model, copy), no_steps, 1e-5)

    assert 1e-5 < check(2e-7) < 1e-4
    with pytest.raises(BridgeError, match="allowed: 1e-05"):
        check(1e-5)
