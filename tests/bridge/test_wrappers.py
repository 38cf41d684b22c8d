"""What TFMOT's wrappers get of a layer, and what they pass on."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.bridge import to_tf_keras
from tfcompress.bridge.prune import LayerPruning, wrapped_for_pruning
from tfcompress.bridge.wrappers import kernel_variables, kernels

SETTINGS = LayerPruning(
    schedule="constant",
    initial_sparsity=0.5,
    final_sparsity=0.5,
    begin_step=0,
    end_step=10,
    frequency=1,
)


def model_of(shape, *parts):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (layers.Conv1DTranspose(5, 3, name="x"), [(3, 5, 4)]),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 3), name="x"), [(4, 2, 3)]),
        (layers.LSTM(3, name="x"), [(4, 12), (3, 12)]),
        (layers.Bidirectional(layers.GRU(3), name="x"), [(4, 9), (3, 9), (4, 9), (3, 9)]),
        (
            layers.RNN([layers.LSTMCell(3), layers.SimpleRNNCell(2)], name="x"),
            [(4, 12), (3, 12), (3, 2), (2, 2)],
        ),
        (layers.TimeDistributed(layers.Dense(3), name="x"), [(4, 3)]),
        (layers.DepthwiseConv1D(3, name="x"), []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_kernels_of_both_kerases(layer, shapes):
    model = model_of((6, 4), layer)
    assert [kernel.shape for kernel in kernels(model, "x")] == shapes
    theirs = kernel_variables(to_tf_keras(model).get_layer("x"))
    for kernel, other in zip(kernels(model, "x"), theirs, strict=True):
        np.testing.assert_array_equal(kernel, other.numpy())


def test_masks_go_through_wrappers_as_through_the_layers():
    """Of the layers one makes a mask, one takes and passes it on, and one only passes it on."""
    model = model_of(
        (7,),
        layers.Embedding(9, 4, mask_zero=True, name="rows"),
        layers.GRU(3, return_sequences=True, name="gru"),
        layers.Dense(5, name="dense"),
        layers.GlobalAveragePooling1D(),
    )
    names = ("rows", "gru", "dense")
    trainee = wrapped_for_pruning(model, dict.fromkeys(names, SETTINGS))
    x = np.array([[1, 2, 3, 0, 0, 0, 0], [4, 5, 6, 7, 8, 1, 0]], "float32")
    expected = keras.ops.convert_to_numpy(model(x))
    assert not np.allclose(expected, model(np.where(x == 0, 1, x)), atol=1e-3)
    np.testing.assert_allclose(trainee(x, training=False), expected, atol=1e-5)
