"""Pruning in Keras 3, step by step against TFMOT on tf_keras."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.bridge.legacy import tf_keras, tfmot
from tfcompress.bridge.prune import wrapped_for_pruning
from tfcompress.training import constraints, pruning
from tfcompress.training.pruning import LayerPruning

SETTINGS = {
    "schedule": "polynomial",
    "initial_sparsity": 0.2,
    "final_sparsity": 0.8,
    "begin_step": 1,
    "end_step": 19,
    "frequency": 3,
}
STEPS, EPOCHS = 8, 3  # Masks change at an epoch's first step, too: the 25th would be one.


def small(**settings):
    """A net of a convolution and two matrices, and how each is pruned."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, activation="relu", name="wide"),
            layers.Dense(4, name="scores"),
        ]
    )
    names = ("wide",) if settings.get("block_size") else ("conv", "wide")
    plan = dict.fromkeys(names, LayerPruning(**{**SETTINGS, **settings}))
    return model, plan


def examples():
    random = np.random.default_rng(1)
    x = random.normal(size=(STEPS * 4, 6, 6, 3)).astype("float32")
    return x, random.integers(0, 4, STEPS * 4)


def kernels(model, plan):
    return {name: model.get_layer(name).kernel for name in plan}


def attach(model, plan):
    pruning.attach({name: [kernel] for name, kernel in kernels(model, plan).items()}, plan)


def train(module, model, optimizer, callbacks):
    """Trains a model of Keras 3 or tf_keras by its own `fit`."""
    loss = module.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    x, y = examples()
    model.fit(x, y, batch_size=4, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)


def by_tfmot(model, plan, optimizer):
    """Returns masks and masked weights of each step, and the weights at the end."""
    trainee = wrapped_for_pruning(model, plan)
    wrappers = {name: trainee.get_layer(f"prune_low_magnitude_{name}") for name in plan}
    steps = []
    raw = {name: each.layer.kernel.numpy() for name, each in wrappers.items()}

    class Record(tf_keras().callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            masks = {name: each.pruning_vars[0][1].numpy() for name, each in wrappers.items()}
            steps.append((masks, {name: raw[name] * mask for name, mask in masks.items()}))
            raw.update({name: each.layer.kernel.numpy() for name, each in wrappers.items()})

    callbacks = [tfmot().sparsity.keras.UpdatePruningStep(), Record()]
    train(tf_keras(), trainee, optimizer(tf_keras()), callbacks)
    return steps, {name: each.layer.kernel.numpy() for name, each in wrappers.items()}


def natively(model, plan, optimizer):
    """Returns the same of a training in Keras 3."""
    attach(model, plan)
    steps = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            found = kernels(model, plan)
            masks = {name: kernel.constraint.mask.numpy() for name, kernel in found.items()}
            steps.append((masks, {name: kernel.numpy() for name, kernel in found.items()}))

    train(keras, model, optimizer(keras), [*constraints.callbacks(model), Record()])
    return steps, {name: kernel.numpy() for name, kernel in kernels(model, plan).items()}


@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        ({}, lambda module: module.optimizers.SGD(0.1, momentum=0.9)),
        ({"frequency": 1, "end_step": 24}, lambda module: module.optimizers.Adam(0.01)),
        (
            {"schedule": "constant", "begin_step": 2, "end_step": -1, "frequency": 7},
            lambda module: module.optimizers.Adam(0.05),
        ),
        ({"block_size": (1, 4)}, lambda module: module.optimizers.SGD(0.1)),
        ({"m_by_n": (2, 4)}, lambda module: module.optimizers.Adam(0.01)),
    ],
    ids=["polynomial", "each step", "constant", "blocks", "2:4"],
)
def test_masks_and_weights_are_tfmots_at_every_step(settings, optimizer):
    model, plan = small(**settings)
    expected, expected_end = by_tfmot(model, plan, optimizer)
    steps, end = natively(model, plan, optimizer)
    assert len(steps) == len(expected) == STEPS * EPOCHS
    changes = 0
    for number, ((masks, weights), (its_masks, its_weights)) in enumerate(
        zip(steps, expected, strict=True)
    ):
        for name in plan:
            np.testing.assert_array_equal(masks[name], its_masks[name], f"step {number + 1}")
            np.testing.assert_allclose(weights[name], its_weights[name], atol=1e-6)
        changes += any((masks[name] != steps[number - 1][0][name]).any() for name in plan)
    assert changes >= 2 or "m_by_n" in settings
    for name in plan:
        np.testing.assert_allclose(end[name], expected_end[name], atol=1e-6)


def test_epochs_of_unknown_length_have_as_many_zeros_at_every_step():
    import tensorflow as tf

    class Count(keras.callbacks.Callback):
        """Keras begins a step more where an epoch's end isn't known."""

        def on_train_batch_begin(self, batch, logs=None):
            kernel = self.model.get_layer("wide").kernel
            zeros[int(kernel.constraint.step)] = int((kernel.numpy() == 0).sum())

    found = []
    for known in (True, False):
        zeros = {}
        model, plan = small()
        attach(model, plan)
        pipeline = tf.data.Dataset.from_tensor_slices(examples()).batch(4)
        pipeline = pipeline if known else pipeline.filter(lambda *_: True)
        assert (pipeline.cardinality() == STEPS) == known
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        callbacks = [*constraints.callbacks(model), Count()]
        model.fit(pipeline, epochs=EPOCHS, verbose=0, callbacks=callbacks)
        found.append([zeros[step] for step in range(STEPS * EPOCHS)])
    assert found[0] == found[1]
    assert len(set(found[0])) > 5


def test_a_constraint_of_the_users_is_applied_first():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, kernel_constraint="non_neg", name="wide")]
    )
    settings = LayerPruning(**{**SETTINGS, "schedule": "constant", "frequency": 1})
    attach(model, {"wide": settings})
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, 8))
    model.train_on_batch(x, np.ones((4, 16)))
    kernel = model.layers[0].kernel.numpy()
    assert kernel.min() == 0
    assert 0 < (kernel > 0).sum() <= round(0.2 * kernel.size)
    assert pruning.finished(model).layers[1].kernel_constraint.__class__.__name__ == "NonNeg"


def test_finished_has_the_zeros_and_no_mask():
    model, plan = small(schedule="constant")
    attach(model, plan)
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    done = pruning.finished(model)
    assert constraints.constraints(done) == []
    assert constraints.callbacks(done) == []
    for name in plan:
        assert np.mean(done.get_layer(name).kernel.numpy() == 0) == pytest.approx(0.8, abs=0.01)
    assert [v.shape for v in done.variables] == [v.shape for v in small()[0].variables]


def test_a_frozen_layer_has_its_zeros_at_once():
    model, plan = small()
    wide = model.get_layer("wide")
    wide.trainable = False
    before = wide.kernel.numpy()
    attach(model, plan)
    after = wide.kernel.numpy()
    left = np.abs(before) >= np.sort(np.abs(before), None)[-round(0.2 * before.size)]
    np.testing.assert_array_equal(after, before * left)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = examples()
    model.fit(x, y, batch_size=16, verbose=0, callbacks=constraints.callbacks(model))
    np.testing.assert_array_equal(pruning.finished(model).get_layer("wide").kernel, after)
