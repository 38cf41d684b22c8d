import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.counts import PLAIN
from tests.techniques.test_kinds import Projection
from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D, CPConv2D

PARAMETERS = PLAIN

TECHNIQUE = techniques.get("dsd")


def by_hand(kernel, bias, x, y, rates, masks):
    """Gradient descent on the mean squared error in NumPy, a step for each rate and mask."""
    for rate, mask in zip(rates, masks, strict=True):
        error = 2 * (x @ kernel + bias - y) / y.size
        kernel = (kernel - rate * x.T @ error) * mask
        bias = bias - rate * error.sum(0)
    return kernel, bias


def test_both_stages_by_hand():
    """The smaller half stays zero for 3 steps at the user's rate, then all move at a tenth."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 12)), rng.normal(size=(32, 8))
    model = keras.Sequential([keras.Input((12,)), layers.Dense(8, name="dense")])
    rate = keras.optimizers.schedules.ExponentialDecay(0.5, 1000, 1.0)
    model.compile(keras.optimizers.SGD(rate), "mse")
    kernel, bias = (weights.astype(float) for weights in model.get_weights())
    made = tfcompress.compress(
        model,
        "dsd",
        (x, y),
        validation_data=(x, y),
        epochs=3,
        batch_size=32,
        sparsity=0.5,
        verbose=False,
    )
    mask = np.abs(kernel) > np.median(np.abs(kernel))
    sparse, sparse_bias = by_hand(kernel * mask, bias, x, y, [0.5] * 3, [mask] * 3)
    wanted = by_hand(sparse, sparse_bias, x, y, [0.05] * 3, [1] * 3)
    for weights, expected in zip(made.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(weights, expected, atol=1e-5)
    assert np.all(made.get_weights()[0] != 0)


def test_which_layers_are_sparse_for_a_while(small):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(32, 3, name="separable")(x)
    x = CPConv2D(16, 3, rank=4, name="factors")(x)
    x = BinaryConv2D(16, 3, name="signs")(x)
    x = layers.Conv2D(16, 1, name="frozen", trainable=False)(x)
    x = Projection(name="custom")(layers.GlobalAveragePooling2D()(x))
    x = layers.Dense(16, name="left")(layers.Dense(16, name="half")(x))
    model = keras.Model(inputs, layers.Dense(2, name="little")(x))
    options = TECHNIQUE.make_options(layers="half:0.5", leave="left")
    candidate = TECHNIQUE.transform(techniques.Candidate(model), options)
    assert {line.name: (line.action, line.reason) for line in candidate.layers} == {
        "separable": ("trained sparse", "30% of the weights zero in the sparse stage"),
        "factors": ("trained sparse", "30% of the weights zero in the sparse stage"),
        "signs": ("kept", "BinaryConv2D: kept as it is"),
        "frozen": ("kept", "frozen: what is pruned would stay zero"),
        "custom": ("kept", "Projection: a custom layer, kept as it is"),
        "half": ("trained sparse", "50% of the weights zero in the sparse stage"),
        "left": ("kept", "named in the option leave"),
        "little": ("kept", "only 32 weights"),
    }
    # The network that comes out has the layers of the one that went in.
    assert [type(a) for a in candidate.model.layers] == [type(b) for b in model.layers]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"option sparsity must be a share of zeros in \(0, 1\); got 1.0"),
        ({"dense_rate": 0.0}, "dense_rate must be above 0 and at most 1; got 0.0"),
        ({"layers": ("conv1:high",)}, "the sparsity of conv1 must be a share of zeros"),
        ({"leave": ("convx*",)}, r"no layer is named 'convx\*'; there are"),
        ({"leave": ("*",)}, "no layer of model 'small' can be pruned for a while"),
    ],
)
def test_bad_options(small, options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.check(techniques.Candidate(small()), TECHNIQUE.make_options(**options))


def test_no_epoch_is_refused(small, data):
    options = TECHNIQUE.make_options()
    candidate = TECHNIQUE.transform(techniques.Candidate(small()), options)
    with pytest.raises(InputError, match="dsd trains in two stages: give it 1 epoch or more"):
        TECHNIQUE.fit(candidate, options, data, Training(epochs=0), None)
