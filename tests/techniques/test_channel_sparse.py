"""The penalties that a network is trained with before its channels are cut."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.conftest import trained
from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.data.examples import Examples
from tfcompress.data.protocol import Batch
from tfcompress.errors import InputError
from tfcompress.techniques._channel_sparse import SparsePhase
from tfcompress.techniques.channels import TECHNIQUE
from tfcompress.training import fit


def dense():
    """A dense layer of 16 units with batch normalisation, and one of 4."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(16, name="hidden")(inputs))
    return keras.Model(inputs, layers.Dense(4, name="scores")(layers.ReLU()(x)))


def sizes(model, penalty):
    """Returns what the penalty is on: the gammas, the filters' norms, or the groups'."""
    gamma = np.array(model.get_layer("norm").gamma)
    if penalty == "gamma":
        return gamma
    filters = np.array(model.get_layer("hidden").kernel)
    if penalty == "groups":
        rows = np.array(model.get_layer("scores").kernel)
        filters = np.concatenate([filters, [gamma], rows.T])
    return np.linalg.norm(filters, axis=0)


def test_a_groups_norm_is_of_all_weights_that_go_with_a_channel():
    model = dense()
    options = TECHNIQUE.make_options(sparse_penalty="groups", sparse_strength=0.5)
    phase = SparsePhase(options).apply(techniques.Candidate(model)).model
    expected = 0.5 * np.sqrt(6 + 1 + 4) * sizes(model, "groups").sum()
    np.testing.assert_allclose(float(sum(phase.losses)), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("penalty", ["gamma", "filters", "groups"])
def test_all_of_what_is_penalised_shrinks(penalty):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 6)).astype("float32"), np.arange(64) % 4
    model = dense()
    before = sizes(model, penalty)
    options = {"sparse_epochs": 1, "sparse_penalty": penalty, "sparse_strength": 1.0}
    data = Examples(train=Batch(x, y))
    whole = trained(TECHNIQUE, model, data, 0, **options, macs_ratio=1.0, criterion="l2").model
    assert (sizes(whole, penalty) < before).all()
    np.testing.assert_array_equal(sizes(model, penalty), before)
    assert not whole.losses  # Later trainings have no penalty.


def test_growing_empties_the_channels_that_are_to_go_and_no_others():
    """By the product of the factors, whatever the optimizer does; the cut then finds them empty."""
    rng = np.random.default_rng(0)
    data = Examples(train=Batch(rng.normal(size=(64, 6)).astype("float32"), np.arange(64) % 4))
    model = dense()
    options = TECHNIQUE.make_options(
        sparse_epochs=1,
        sparse_penalty="growing",
        sparse_strength=0.2,
        criterion="l2",
        min_channels=1,
    )
    kept = options.choose(options.graph(model, trained=True), techniques.Candidate(model))[0]
    stays = np.isin(np.arange(16), kept["hidden"])
    assert 0 < stays.sum() < 16
    phase = SparsePhase(options).apply(techniques.Candidate(model)).model
    training = Training(epochs=1, batch_size=16, optimizer="sgd", learning_rate=1e-30)
    fit(phase, data, training)  # Four steps.
    factor = np.prod([1 - 0.2 * step for step in (1, 2, 3, 4)])
    for layer in ("hidden", "norm"):
        for old, new in zip(model.get_layer(layer).trainable_weights,
                            phase.get_layer(layer).trainable_weights, strict=True):  # fmt: skip
            expected = np.array(old) * np.where(stays, 1, factor)
            np.testing.assert_allclose(np.array(new), expected, rtol=1e-5, atol=1e-9)
    small = trained(TECHNIQUE, model, data, 0, **dataclasses.asdict(options)).model
    assert small.get_layer("hidden").units == stays.sum()
    assert not [v.constraint for v in small.variables if v.constraint]


def test_the_phase_comes_before_the_rounds(small):
    options = TECHNIQUE.make_options(sparse_epochs=3, iterations=2)
    settings = Training(epochs=4)
    rounds = TECHNIQUE.rounds(techniques.Candidate(small()), options, settings)
    assert [training.epochs for _, training in rounds] == [3, 2, 2]
    alone = TECHNIQUE.make_options(sparse_epochs=3)
    assert len(TECHNIQUE.rounds(techniques.Candidate(small()), alone, settings)) == 2


def test_without_training_and_without_scales_it_says_what_would_do(small):
    message = "channels with sparse_epochs=2 trains the network .*: use tfcompress.compress or"
    with pytest.raises(InputError, match=message):
        tfcompress.transform(small(), "channels", sparse_epochs=2)
    inputs = keras.Input((8,))
    plain = keras.Model(inputs, layers.Dense(3)(layers.Dense(32)(inputs)), name="plain")
    options = TECHNIQUE.make_options(sparse_epochs=2)
    with pytest.raises(InputError, match=r"sparse_penalty=gamma finds nothing .*=filters$"):
        TECHNIQUE.check(techniques.Candidate(plain), options)
    with pytest.raises(InputError, match=r"option sparse_penalty .*'beta'"):
        TECHNIQUE.make_options(sparse_penalty="beta")
