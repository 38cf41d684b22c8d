"""What channels are scored by, against finite differences and naive loops."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.conftest import randomise
from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.data.examples import Examples
from tfcompress.data.protocol import Batch
from tfcompress.errors import InputError
from tfcompress.graph.channels import ChannelGraph
from tfcompress.techniques import _channel_scores as channel_scores
from tfcompress.techniques.channels import TECHNIQUE
from tfcompress.training.context import DEFAULT_CONTEXT
from tfcompress.training.gradients import own_targets

BATCH = 16


def residual(dtype="float32"):
    """A sum of a layer with a bias and one with batch normalisation; a dense layer; 3 classes."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2), dtype=dtype)
    x = layers.Conv2D(4, 3, padding="same", name="plain", dtype=dtype)(inputs)
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="normed", dtype=dtype)(inputs)
    y = layers.BatchNormalization(name="norm", dtype=dtype)(y)
    x = layers.Add(dtype=dtype)([x, y])
    x = layers.GlobalAveragePooling2D(dtype=dtype)(layers.Activation("tanh", dtype=dtype)(x))
    x = layers.Dropout(0.5, dtype=dtype)(x)
    x = layers.Dense(5, activation="tanh", name="hidden", dtype=dtype)(x)
    return randomise(keras.Model(inputs, layers.Dense(3, name="scores", dtype=dtype)(x)))


@pytest.fixture(scope="module")
def candidate():
    """Two batches; the first convolution is frozen, as in transfer learning."""
    model = residual()
    model.get_layer("plain").trainable = False
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * BATCH, 6, 6, 2)).astype("float32")
    data = Examples(train=Batch(x, np.arange(2 * BATCH) % 3))
    return techniques.Candidate(model, samples=x, data=data)


@pytest.fixture(scope="module")
def by_taylor(candidate):
    return channel_scores.scores(ChannelGraph(candidate.model), "taylor", 0, candidate)


@pytest.fixture(scope="module")
def precise(candidate):
    model = residual("float64")
    model.set_weights(candidate.model.get_weights())
    return model


def batch_losses(model, batch):
    """Returns the cross-entropy of each batch."""
    logits = np.array(model(batch.x.astype("float64")))
    own = logits[range(len(logits)), batch.y]
    return (np.log(np.exp(logits).sum(1)) - own).reshape(-1, BATCH).mean(1)


def slopes(model, batch, change):
    """Derivatives of the batches' losses by what `change` adds so much of."""
    step = 1e-4
    losses = []
    for amount in (step, -step):
        change(amount)
        losses.append(batch_losses(model, batch))
        change(-amount)
    return (losses[0] - losses[1]) / (2 * step)


def test_taylor_is_the_squared_derivative_by_a_gate(candidate, by_taylor, precise):
    batch = candidate.data.train

    def expected(layer, paths, channel):
        weights = [getattr(precise.get_layer(layer), path) for path in paths]
        whole = [np.array(weight) for weight in weights]

        def change(amount):
            for weight, values in zip(weights, whole, strict=True):
                more = np.zeros_like(values)
                more[..., channel] = amount * values[..., channel]
                weight.assign_add(more)

        return np.square(slopes(precise, batch, change)).mean()

    members = {
        "normed": [("norm", ("gamma", "beta")), ("plain", ("kernel", "bias"))],
        "hidden": [("hidden", ("kernel", "bias"))],
    }
    for name, places in members.items():
        size = len(by_taylor[name])
        parts = np.array([[expected(*place, k) for k in range(size)] for place in places])
        wanted = (parts / parts.mean(1, keepdims=True)).mean(0)
        np.testing.assert_allclose(by_taylor[name], wanted, rtol=1e-3)


def test_obd_is_the_squared_weights_by_their_squared_gradients(candidate, precise):
    scores = channel_scores.scores(ChannelGraph(candidate.model), "obd", 0, candidate)["hidden"]
    batch = candidate.data.train
    wanted = np.zeros(5)
    for weight in precise.get_layer("hidden").trainable_weights:
        whole = np.array(weight)
        for place in np.ndindex(whole.shape):
            one = np.zeros_like(whole)
            one[place] = 1
            slope = slopes(precise, batch, lambda h, w=weight, one=one: w.assign_add(h * one))
            wanted[place[-1]] += 0.5 * np.square(slope).mean() * whole[place] ** 2
    np.testing.assert_allclose(scores, wanted / wanted.mean(), rtol=1e-3)


def test_embeddings_are_scored_by_all_words_that_occur():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (BATCH, 5)), rng.integers(0, 3, BATCH)
    x[:, 0] = x[:, 1]  # Words that occur twice.
    inputs = keras.Input((5,), dtype="int32")
    words = layers.Embedding(9, 4, name="words")(inputs)
    outputs = layers.Dense(3, name="scores")(layers.GlobalAveragePooling1D()(words))
    model = keras.Model(inputs, outputs)
    given = techniques.Candidate(model, samples=x, data=Examples(train=Batch(x, y)))
    scores = channel_scores.scores(ChannelGraph(model), "taylor", 0, given)["words"]
    table, kernel, bias = model.get_weights()
    means = table[x].mean(1)
    logits = means @ kernel + bias
    errors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[y]
    wanted = np.square((means * (errors @ kernel.T)).mean(0))
    np.testing.assert_allclose(scores, wanted / wanted.mean(), rtol=1e-3)


def test_targets_of_ones_own_are_drawn_from_the_outputs():
    inputs = keras.Input((2,))
    chances = layers.Dense(3, activation="softmax", name="chances")(inputs)
    model = keras.Model(inputs, {"chances": chances, "value": layers.Dense(1)(inputs)})
    x = np.tile(np.float32([[1, 2]]), (4000, 1))
    batch, goal = own_targets(model, x)
    outputs = {name: np.array(y) for name, y in model(x[:1]).items()}
    np.testing.assert_allclose(batch.y["chances"].mean(0), outputs["chances"][0], atol=0.03)
    np.testing.assert_allclose(batch.y["value"].mean(), outputs["value"][0, 0], atol=0.05)
    assert 0.9 < batch.y["value"].std() < 1.1
    assert set(goal.loss) == {"chances", "value"}


def test_examples_without_labels_are_enough(candidate):
    """Behind the first unit alone is an output: without the others none changes."""
    x = candidate.samples
    inputs = keras.Input(x.shape[1:])
    hidden = layers.Dense(6, activation="tanh", name="hidden")(layers.Flatten()(inputs))
    last = layers.Dense(2, name="last")
    model = keras.Model(inputs, last(hidden))
    last.kernel.assign(np.array(last.kernel) * (np.arange(6) == 4)[:, None])
    graph = ChannelGraph(model)
    scores = channel_scores.scores(graph, "taylor", 0, techniques.Candidate(model, samples=x))
    np.testing.assert_allclose(scores["hidden"], 6 * (np.arange(6) == 4), atol=1e-6)


@pytest.fixture(scope="module")
def chain():
    """Two convolutions and a dense layer, with a ReLU behind each, and examples."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 7, 2))
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = layers.Conv2D(5, 3, strides=2, activation="relu", name="second")(layers.ReLU()(x))
    x = layers.Dense(6, activation="relu", name="hidden")(layers.Flatten()(x))
    model = randomise(keras.Model(inputs, layers.Dense(3, name="scores")(x)))
    first = model.get_layer("first")
    first.bias.assign([-2.0, 0.0, 1.0, -1.0])
    x = np.random.default_rng(0).normal(size=(8, 6, 7, 2)).astype("float32")
    return techniques.Candidate(model, samples=x)


def outputs_of(candidate, tensor):
    return np.array(keras.Model(candidate.model.input, tensor)(candidate.samples))


def test_apoz_and_hrank_count_zeros_and_ranks(chain):
    graph = ChannelGraph(chain.model)
    by_zeros = channel_scores.scores(graph, "apoz", 0, chain)
    by_ranks = channel_scores.scores(graph, "hrank", 0, chain)
    maps = {
        "first": np.maximum(outputs_of(chain, chain.model.get_layer("first").output), 0),
        "second": outputs_of(chain, chain.model.get_layer("second").output),
        "hidden": outputs_of(chain, chain.model.get_layer("hidden").output)[:, None, None],
    }
    for name, values in maps.items():
        channels = range(values.shape[-1])
        left = np.array([1 - np.mean(values[..., k] == 0) for k in channels])
        np.testing.assert_allclose(by_zeros[name], left / left.mean(), rtol=1e-5)
        ranks = [[np.linalg.matrix_rank(each[..., k]) for each in values] for k in channels]
        means = np.mean(ranks, axis=1)
        np.testing.assert_allclose(by_ranks[name], means / means.mean(), rtol=1e-5)


@pytest.mark.parametrize(("group", "consumer"), [("first", "second"), ("second", "hidden")])
def test_thinet_takes_in_turn_the_channel_that_the_next_layer_misses_least(chain, group, consumer):
    """All positions are few enough to be looked at; a ReLU is taken off for the whole responses."""
    scores = channel_scores.scores(ChannelGraph(chain.model), "thinet", 0, chain)[group]
    layer = chain.model.get_layer(consumer)
    kernel, bias = layer.get_weights()
    linear = type(layer).from_config({**layer.get_config(), "activation": None, "name": "linear"})
    taken = outputs_of(chain, layer.input)
    linear.build(taken.shape)

    def responses(gone):
        channels = np.arange(kernel.shape[-2]) % len(scores)
        linear.set_weights([np.where(np.isin(channels, gone)[:, None], 0, kernel), bias])
        return np.array(linear(taken))

    whole, gone = responses([]), []
    while len(gone) < len(scores):
        left = [k for k in range(len(scores)) if k not in gone]
        errors = [np.square(responses([*gone, k]) - whole).sum() for k in left]
        gone.append(left[int(np.argmin(errors))])
    assert np.argsort(scores).tolist() == gone


def test_a_criterion_that_finds_nothing_gives_way_to_l2(candidate):
    """There is no ReLU; the report names what the scores are by."""
    graph = ChannelGraph(candidate.model)
    by_zeros, criteria = channel_scores.scored(graph, "apoz", 0, candidate)
    assert set(criteria.values()) == {"l2"}
    for name, values in channel_scores.scores(graph, "l2", 0).items():
        np.testing.assert_array_equal(by_zeros[name], values)


def test_scores_that_are_no_numbers_are_refused(small):
    model = small()
    kernel = model.get_layer("conv2").kernel
    kernel.assign(np.where(np.arange(16) == 3, np.nan, np.array(kernel)))
    with pytest.raises(InputError, match=r"^the channels of 'conv2' have scores by l2 that aren't"):
        tfcompress.transform(model, "channels")


@pytest.mark.parametrize("criterion", channel_scores.BY_EXAMPLES)
def test_without_examples_it_says_where_there_are_some(criterion, small):
    message = f"channels with criterion={criterion} needs training examples: use tfcompress.compr"
    with pytest.raises(InputError, match=message):
        tfcompress.transform(small(), "channels", criterion=criterion)


def test_auto_looks_at_examples_where_there_are_some(small):
    model = small()
    assert TECHNIQUE.make_options().criterion == "auto"
    assert channel_scores.chosen("auto", techniques.Candidate(model)) == "l2"
    some = techniques.Candidate(model, samples=np.zeros((1, 16, 16, 3)))
    assert channel_scores.chosen("auto", some) == "taylor"


def test_a_chain_gives_its_techniques_the_targets(candidate, by_taylor):
    """Without them the scores are others; and the model stays as it was."""
    before = [w.copy() for w in candidate.model.get_weights()]
    scores = {}

    def transform(given, options):
        scores.update(channel_scores.scores(ChannelGraph(given.model), "taylor", 0, given))
        return given

    technique = dataclasses.replace(TECHNIQUE, transform=transform)
    step = techniques.Step(technique, TECHNIQUE.make_options(), Training(epochs=0))
    alone = techniques.Candidate(candidate.model, samples=candidate.samples)
    techniques.apply(alone, [step], candidate.data, DEFAULT_CONTEXT)
    for name, values in by_taylor.items():
        np.testing.assert_allclose(scores[name], values, rtol=1e-4)
    transform(alone, None)
    assert not np.allclose(scores["hidden"], by_taylor["hidden"], rtol=0.1)
    for old, now in zip(before, candidate.model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)
