"""Every layer class that the bridge converts, with settings that aren't its defaults."""

import keras
from keras import constraints, layers, regularizers

LINE, IMAGE, VOLUME = (9, 6), (12, 10, 6), (6, 7, 8, 3)
STEPS = {1: (4, 9, 3), 2: (4, 6, 7, 3), 3: (3, 4, 5, 6, 2)}


def _per_rank():
    for n, shape in ((1, LINE), (2, IMAGE), (3, VOLUME)):

        def make(kind, *args, n=n, **kwargs):
            return lambda: getattr(layers, f"{kind}{n}D")(*args, **kwargs)

        sides = ((1, 2),) * n if n > 1 else (1, 2)
        relu = {"kernel_size": 3, "activation": "relu"}
        yield shape, make("Conv", 6, padding="same", strides=2, groups=3, **relu)
        held = {
            "kernel_regularizer": regularizers.L2(0.1),
            "bias_constraint": constraints.MaxNorm(3),
            "activity_regularizer": regularizers.L1(0.2),
        }
        yield shape, make("Conv", 4, dilation_rate=2, kernel_size=3, **held)
        yield (
            shape,
            lambda n=n: getattr(layers, f"Conv{n}DTranspose")(
                4, 3, strides=2, padding="same", use_bias=False
            ),
        )
        if n < 3:
            wide = {"depth_multiplier": 2, "strides": 2, "padding": "same", **relu}
            yield shape, make("DepthwiseConv", **wide)
            yield shape, make("SeparableConv", 5, **wide)
        for kind in ("AveragePooling", "MaxPooling"):
            yield shape, make(kind, pool_size=3, strides=2, padding="same")
        for kind in ("GlobalAveragePooling", "GlobalMaxPooling"):
            yield shape, make(kind, keepdims=True)
        for kind in ("Cropping", "ZeroPadding"):
            yield shape, make(kind, sides)
        yield shape, make("UpSampling", 2)
        yield shape, make("SpatialDropout", 0.3)
        yield STEPS[n], make("ConvLSTM", 4, 3, padding="same", return_sequences=True)


def _on_images():
    yield lambda: layers.Conv2DTranspose(3, 3, strides=2, output_padding=1)
    yield lambda: layers.UpSampling2D((2, 3), interpolation="bilinear")
    yield lambda: layers.Conv2D(3, 3, trainable=False)
    yield lambda: layers.Flatten()
    yield lambda: layers.Permute((2, 1, 3))
    yield lambda: layers.Reshape((4, 5, -1))
    yield lambda: layers.BatchNormalization(momentum=0.8, epsilon=0.01, scale=False)
    yield lambda: layers.BatchNormalization(center=False, axis=2)
    yield lambda: layers.BatchNormalization(gamma_regularizer="l2", trainable=False)
    yield lambda: layers.GroupNormalization(3, epsilon=0.01)
    yield lambda: layers.GroupNormalization(-1, scale=False)
    yield lambda: layers.LayerNormalization(axis=(1, 2))
    yield lambda: layers.LayerNormalization(epsilon=0.1, center=False)
    yield lambda: layers.Normalization(mean=[1.0, 2, 3, 4, 5, 6], variance=[2.0] * 6)
    yield lambda: layers.Normalization(axis=None, mean=1.0, variance=4.0, invert=True)
    yield lambda: layers.UnitNormalization(axis=1)
    yield lambda: layers.Activation("gelu")
    yield lambda: layers.ELU(0.5)
    yield lambda: layers.LeakyReLU(0.15)
    yield lambda: layers.PReLU(shared_axes=(1, 2), alpha_constraint=constraints.NonNeg())
    yield lambda: layers.ReLU(2.0, negative_slope=0.1, threshold=0.5)
    yield lambda: layers.Softmax(axis=1)
    yield lambda: layers.CenterCrop(5, 4)
    yield lambda: layers.RandomBrightness(0.2, value_range=(0, 1))
    yield lambda: layers.RandomContrast(0.2)
    yield lambda: layers.RandomFlip("horizontal")
    yield lambda: layers.RandomRotation(0.1, fill_mode="nearest")
    yield lambda: layers.RandomTranslation(0.1, 0.2, interpolation="nearest")
    yield lambda: layers.RandomZoom(0.1, 0.2, fill_value=0.5)
    yield lambda: layers.Rescaling(1 / 255, offset=-1)
    yield lambda: layers.Rescaling([1.0, 2, 3, 4, 5, 6])
    yield lambda: layers.Resizing(7, 9, interpolation="nearest")
    yield lambda: layers.Resizing(7, 9, crop_to_aspect_ratio=True)
    yield lambda: layers.ActivityRegularization(0.1, 0.2)
    yield lambda: layers.AlphaDropout(0.1)
    yield lambda: layers.Dropout(0.2, noise_shape=(None, 1, 1, 6), seed=3)
    yield lambda: layers.GaussianDropout(0.1)
    yield lambda: layers.GaussianNoise(0.1)
    yield lambda: layers.Dense(4, activation="tanh", kernel_constraint=constraints.UnitNorm(1))
    yield lambda: layers.EinsumDense(
        "abcd,de->abce", output_shape=(None, None, 3), bias_axes="e", activation="silu"
    )
    yield lambda: layers.Identity()


def _on_sequences():
    yield lambda: layers.Conv1D(4, 3, padding="causal")
    yield lambda: layers.GRU(4, return_sequences=True, reset_after=False, go_backwards=True)
    yield lambda: layers.GRU(4, activation="relu", dropout=0.1)
    yield lambda: layers.LSTM(4, unit_forget_bias=False, recurrent_dropout=0.1)
    yield lambda: layers.LSTM(3, use_bias=False, unroll=True, return_sequences=True)
    yield lambda: layers.SimpleRNN(4, activation="relu")
    yield lambda: layers.RNN(layers.LSTMCell(4))
    yield lambda: layers.RNN([layers.GRUCell(4), layers.SimpleRNNCell(3)], return_sequences=True)
    yield lambda: layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.LSTMCell(4)]))
    yield lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="sum")
    yield lambda: layers.Bidirectional(
        layers.GRU(3), backward_layer=layers.GRU(3, go_backwards=True, activation="relu")
    )
    yield lambda: layers.TimeDistributed(layers.Dense(3, activation="relu"))
    yield lambda: layers.TimeDistributed(layers.BatchNormalization(axis=1))
    yield lambda: layers.Masking(0.5)


def _on_indices():
    yield lambda: layers.Embedding(
        9, 4, embeddings_constraint="non_neg", embeddings_regularizer=regularizers.L1L2(0.1, 0.2)
    )
    yield lambda: layers.CategoryEncoding(7, "multi_hot")
    yield lambda: layers.CategoryEncoding(7, "count")


# Of one input: its shape and type, and what makes the layer.
SINGLE = [
    *((shape, "float32", make) for shape, make in _per_rank()),
    *((IMAGE, "float32", make) for make in _on_images()),
    *((LINE, "float32", make) for make in _on_sequences()),
    *(((5,), "int32", make) for make in _on_indices()),
    ((6,), "float32", lambda: layers.RepeatVector(3)),
]

# Of several inputs: their shapes, and what is made of them.
SEVERAL = {
    **{
        kind: ([(4, 5), (4, 5), (1, 5)], lambda *xs, kind=kind: getattr(layers, kind)()(xs))
        for kind in ("Add", "Average", "Maximum", "Minimum", "Multiply")
    },
    "Subtract": ([(4, 5), (4, 5)], lambda *xs: layers.Subtract()(xs)),
    "Concatenate": ([(4, 5), (3, 5)], lambda *xs: layers.Concatenate(axis=1)(xs)),
    "Dot": ([(4, 5), (6, 5)], lambda *xs: layers.Dot(axes=(2, 2), normalize=True)(xs)),
    "Attention": ([(4, 5), (6, 5)], lambda *xs: layers.Attention(use_scale=True)(list(xs))),
    "AttentionConcat": (
        [(4, 5), (6, 5)],
        lambda *xs: layers.Attention(score_mode="concat")(list(xs), use_causal_mask=True),
    ),
    "AdditiveAttention": ([(4, 5), (6, 5)], lambda *xs: layers.AdditiveAttention()(list(xs))),
    "MultiHeadAttention": (
        [(4, 5), (6, 7)],
        lambda a, b: layers.MultiHeadAttention(2, 3, value_dim=4, output_shape=8)(
            a, b, return_attention_scores=True
        ),
    ),
    "MultiHeadAttentionSelf": (
        [(4, 6, 5)],
        lambda x: layers.MultiHeadAttention(2, 3, attention_axes=(2,), use_bias=False)(x, x, key=x),
    ),
}


def single(shape, dtype, make):
    """A model of one layer, and the layer."""
    layer = make()
    return keras.Sequential([keras.Input(shape, dtype=dtype), layer]), layer


def several(name):
    """A model of one layer with several inputs, and the layer."""
    shapes, make = SEVERAL[name]
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, make(*inputs))
    return model, model.layers[-1]
