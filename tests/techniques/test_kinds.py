"""Every technique on layers of every kind: taken, left with a reason, or refused in one line."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict
from tfcompress import graph, techniques
from tfcompress.errors import InputError

each = pytest.mark.parametrize("name", techniques.names())
# Fewer sweeps: what they find isn't looked at here.
QUICK = {"cp": {"iterations": 1}}


@keras.saving.register_keras_serializable("tests.kinds")
class Scaling(layers.Layer):
    """A custom layer with a weight of one axis and a setting."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        start = keras.initializers.Constant(self.start)
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer=start)

    def call(self, x):
        return x * self.scale

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@keras.saving.register_keras_serializable("tests.kinds")
class Projection(layers.Layer):
    """A custom layer that multiplies with a matrix."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 16))

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)


def adapted():
    layer = layers.Normalization(name="kind")
    layer.adapt(np.random.default_rng(0).normal(2, 3, (8, 12, 12, 3)).astype("float32"))
    return layer


IMAGE, STEPS, VIDEO, WORDS = (12, 12, 3), (12, 16), (4, 8, 8, 3), (12,)
# Name to input shape and layer. Words are whole numbers.
KINDS = {
    "SeparableConv2D": (IMAGE, lambda: layers.SeparableConv2D(48, 3, padding="same", name="kind")),
    "SeparableConv1D": (STEPS, lambda: layers.SeparableConv1D(48, 3, name="kind")),
    "Conv1D": (STEPS, lambda: layers.Conv1D(48, 3, padding="causal", name="kind")),
    "Conv1DTranspose": (STEPS, lambda: layers.Conv1DTranspose(48, 3, name="kind")),
    "Conv2DTranspose": (IMAGE, lambda: layers.Conv2DTranspose(48, 3, name="kind")),
    "Conv3D": (VIDEO, lambda: layers.Conv3D(24, 3, padding="same", name="kind")),
    "DepthwiseConv1D": (STEPS, lambda: layers.DepthwiseConv1D(3, name="kind")),
    "DepthwiseConv2D": (IMAGE, lambda: layers.DepthwiseConv2D(3, name="kind")),
    "EinsumDense": (
        STEPS,
        lambda: layers.EinsumDense("abc,cd->abd", (12, 48), bias_axes="d", name="kind"),
    ),
    "MultiHeadAttention": (STEPS, lambda: layers.MultiHeadAttention(4, 8, name="kind")),
    "LSTM": (STEPS, lambda: layers.LSTM(16, name="kind")),
    "GRU": (STEPS, lambda: layers.GRU(16, return_sequences=True, name="kind")),
    "SimpleRNN": (STEPS, lambda: layers.SimpleRNN(16, name="kind")),
    "Bidirectional": (STEPS, lambda: layers.Bidirectional(layers.LSTM(8), name="kind")),
    "ConvLSTM2D": (VIDEO, lambda: layers.ConvLSTM2D(8, 3, padding="same", name="kind")),
    "TimeDistributed": (STEPS, lambda: layers.TimeDistributed(layers.Dense(48), name="kind")),
    "Embedding": (WORDS, lambda: layers.Embedding(50, 24, name="kind")),
    "Rescaling": (IMAGE, lambda: layers.Rescaling(1 / 127.5, -1.0, name="kind")),
    "Normalization": (IMAGE, adapted),
    "custom": (IMAGE, lambda: Scaling(2.0, name="kind")),
    "custom kernel": (STEPS, lambda: Projection(name="kind")),
}
# Those with no line of their own: they have no weights that are multiplied with.
UNNAMED = {"Rescaling", "Normalization", "custom"}


def net(kind):
    """A net with a layer of the kind between a dense layer and others that all techniques take."""
    keras.utils.set_random_seed(0)
    shape, make = KINDS[kind]
    x = inputs = keras.Input(shape, dtype="int32" if shape == WORDS else "float32")
    if shape != WORDS and kind not in UNNAMED:
        x = layers.Dense(24, name="before")(x)
    x = make()(x, x) if kind == "MultiHeadAttention" else make()(x)
    x = layers.Flatten()(layers.ReLU()(x))
    x = layers.Reshape((4, 4, 64))(layers.Dense(1024, name="wide")(x))
    x = layers.ReLU()(layers.Conv2D(64, 3, padding="same", name="first_conv")(x))
    x = layers.ReLU()(layers.Conv2D(64, 3, padding="same", name="conv")(x))
    x = layers.Dense(64, activation="relu", name="dense")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(4, name="last")(x), name="net")


def check(name, kind, tmp_path):
    """Whether it is taken; each refusal is one line that names layers."""
    technique = techniques.get(name)
    model, options = net(kind), technique.make_options(**QUICK.get(name, {}))
    refused = ""
    try:
        candidate = technique.transform(techniques.Candidate(model), options)
    except InputError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        assert "kind" in refused
        return False
    shape = (2, *KINDS[kind][0])
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, shape) if shape[1:] == WORDS else rng.normal(size=shape)
    expected = predict(candidate.model, x.astype(model.inputs[0].dtype))
    assert np.isfinite(expected).all()
    lowered = graph.lower(candidate.model)
    np.testing.assert_allclose(predict(lowered, x), expected, atol=1e-4 * np.abs(expected).max())
    candidate.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict(again, x), expected)
    if kind not in UNNAMED and name != "baseline":
        assert "kind" in {line.name for line in candidate.layers}
    return True


# What has no integer form; and a layer that has most of the multiply-accumulates, and stays.
REFUSED = {
    "channels": {"ConvLSTM2D"},
    "qat": {
        *("Conv1DTranspose", "Conv3D", "MultiHeadAttention", "LSTM", "GRU", "SimpleRNN"),
        *("Bidirectional", "ConvLSTM2D", "TimeDistributed", "Embedding", "custom", "custom kernel"),
    },
}


@pytest.mark.parametrize("kind", ["SeparableConv2D", "Conv1D", "LSTM", "custom"])
@pytest.mark.parametrize("name", ["xnor", "svd", "hashed", "prune"])
def test_kinds_that_are_met_first(name, kind, tmp_path):
    assert check(name, kind, tmp_path) == (kind not in REFUSED.get(name, ()))


@pytest.mark.parametrize("kind", ["EinsumDense", "MultiHeadAttention"])
@pytest.mark.parametrize(("name", "action"), [("cluster", "clustered"), ("prune", "pruned")])
def test_projections_are_taken_by_default(name, action, kind):
    technique = techniques.get(name)
    made = technique.transform(techniques.Candidate(net(kind)), technique.make_options())
    assert {line.action for line in made.layers if line.name == "kind"} == {action}


@pytest.mark.slow
@each
@pytest.mark.parametrize("kind", KINDS)
def test_every_technique_on_every_kind(name, kind, tmp_path):
    assert check(name, kind, tmp_path) == (kind not in REFUSED.get(name, ()))
