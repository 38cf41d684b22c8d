"""The penalties that a network is trained with before its channels are cut."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.conftest import trained
from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.techniques.channels import TECHNIQUE


def sizes(model, penalty):
    """Returns what the penalty is on, of channels that can go: gammas or the filters' norms."""
    end = "_bn" if penalty == "gamma" else ""
    named = [model.get_layer(f"conv{number}{end}") for number in (1, 2, 3)]
    if penalty == "gamma":
        return np.concatenate([np.abs(np.array(layer.gamma)) for layer in named])
    kernels = [np.array(layer.kernel) for layer in named]
    return np.concatenate([np.linalg.norm(k.reshape(-1, k.shape[-1]), axis=0) for k in kernels])


@pytest.mark.parametrize("penalty", ["gamma", pytest.param("filters", marks=pytest.mark.slow)])
def test_all_of_what_is_penalised_shrinks_and_then_it_is_cut(penalty, small, data):
    model = small()
    before = sizes(model, penalty)
    options = {"sparse_epochs": 1, "sparse_penalty": penalty, "sparse_strength": 1.0}
    more = {"macs_ratio": 1.0, "criterion": "l2"}
    whole = trained(TECHNIQUE, model, data, 0, **options, **more).model
    assert (sizes(whole, penalty) < before).all()
    np.testing.assert_array_equal(sizes(model, penalty), before)
    assert not whole.losses  # Later trainings have no penalty.


def test_the_phase_comes_before_the_rounds(small):
    options = TECHNIQUE.make_options(sparse_epochs=3, iterations=2)
    settings = tfcompress.config.Training(epochs=4)
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
