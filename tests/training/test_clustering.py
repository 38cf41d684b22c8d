"""Clustering in Keras 3, step by step against TFMOT on tf_keras."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.bridge.cluster import CENTROIDS, wrapped_for_clustering
from tfcompress.bridge.legacy import tf_keras
from tfcompress.bridge.wrappers import kernel_variables
from tfcompress.ops.clustering import nearest
from tfcompress.training import clustering
from tfcompress.training.clustering import ClusterWeights, LayerClustering

STEPS, EPOCHS = 8, 2
NAMES = ("conv", "wide")


def small(zeros=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(16, activation="relu", name="wide"),
            layers.Dense(4, name="scores"),
        ]
    )
    for name in NAMES if zeros else ():
        for kernel in kernel_variables(model.get_layer(name)):
            weights = kernel.numpy()
            kernel.assign(weights * (np.abs(weights) > np.median(np.abs(weights))))
    return model


def natively(model, plan):
    kernels = {name: kernel_variables(model.get_layer(name)) for name in plan}
    return clustering.clustered(model, kernels, plan)


def examples():
    random = np.random.default_rng(1)
    x = random.normal(size=(STEPS * 4, 6, 6, 3)).astype("float32")
    return x, random.integers(0, 4, STEPS * 4)


def trained(module, model, optimizer, states):
    """The wrappers' latent weights, values and indices before each step, and at the end."""
    loss = module.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    steps = [states()]

    class Record(module.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(states())

    x, y = examples()
    model.fit(x, y, batch_size=4, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[Record()])
    return steps


def by_tfmot(model, plan, optimizer):
    trainee = wrapped_for_clustering(model, plan)
    wrappers = [trainee.get_layer(f"cluster_{name}") for name in plan]

    def states():
        found = []
        for wrapper in wrappers:
            for name, latent in wrapper.original_clusterable_weights.items():
                values = wrapper.cluster_centroids[name].numpy()
                latent = latent.numpy()
                if wrapper.preserve_sparsity:  # As the next step begins.
                    latent = latent * wrapper.sparsity_masks[name].numpy()
                    zero = wrapper.zero_idx[name].numpy()[..., None]
                    np.put_along_axis(values, zero, 0, -1)
                # Those that the step took.
                found.append((latent, values, wrapper.pulling_indices[name].numpy()))
        return found

    return trained(tf_keras(), trainee, optimizer(tf_keras()), states)


def by_keras(model, plan, optimizer):
    trainee = natively(model, plan)

    def states():
        found = []
        for wrapper in clustering.wrappers(trainee):
            for number, kernel in enumerate(wrapper.kernels):
                latent, values = kernel.numpy(), wrapper.values[number].numpy()
                if wrapper.settings.preserve_sparsity:
                    latent = latent * wrapper.weights_left[number].numpy()
                    values = values * wrapper.values_left[number].numpy()
                found.append((latent, values, nearest(latent, values).numpy()))
        return found

    return trained(keras, trainee, optimizer(keras), states)


@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        ({}, lambda module: module.optimizers.SGD(0.1, momentum=0.9)),
        ({"preserve_sparsity": True}, lambda module: module.optimizers.Adam(0.01)),
        (
            {"preserve_sparsity": True, "per_channel": True, "centroids": "density"},
            lambda module: module.optimizers.Adam(0.01),
        ),
    ],
    ids=["all together", "zeros kept", "zeros of each channel kept"],
)
def test_indices_and_values_are_tfmots_at_every_step(settings, optimizer):
    plan = dict.fromkeys(NAMES, LayerClustering(clusters=6, **settings))
    plan["wide"] = dataclasses.replace(plan["wide"], per_channel=False)
    zeros = "preserve_sparsity" in settings
    expected = by_tfmot(small(zeros), plan, optimizer)
    steps = by_keras(small(zeros), plan, optimizer)
    assert len(steps) == len(expected) == STEPS * EPOCHS + 1
    moved = 0
    for number, (those, its) in enumerate(zip(steps, expected, strict=True)):
        for place, ((weights, values, _), (its_weights, its_values, indices)) in enumerate(
            zip(those, its, strict=True)
        ):
            np.testing.assert_allclose(weights, its_weights, atol=2e-6)
            np.testing.assert_allclose(values, its_values, atol=2e-6)
            # TFMOT's were found as the step began.
            before = steps[max(number - 1, 0)][place][2]
            np.testing.assert_array_equal(before, indices, f"step {number}")
            moved += (before != steps[0][place][2]).sum()
    assert moved > 20


@pytest.mark.parametrize("centroids", CENTROIDS)
def test_finished_has_few_values_and_computes_the_same(centroids):
    plan = dict.fromkeys(NAMES, LayerClustering(clusters=5, centroids=centroids))
    model = natively(small(), plan)
    assert [layer.name for layer in model.layers[1:]] == [each.name for each in small().layers]
    done = clustering.finished(model)
    assert [v.shape for v in done.variables] == [v.shape for v in small().variables]
    for name in plan:
        for kernel in kernel_variables(done.get_layer(name)):
            assert 2 <= len(np.unique(kernel)) <= 5
    x, _ = examples()
    np.testing.assert_allclose(done(x), model(x), atol=1e-6)
    assert clustering.wrappers(done) == []


def test_what_a_layer_does_beside_its_outputs_is_kept():
    """Losses, random numbers, masks, 16-bit computation, a saved file."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True, name="rows")(inputs)
    lstm = layers.LSTM(
        6, recurrent_dropout=0.5, kernel_regularizer="l2", dtype="mixed_float16", name="lstm"
    )
    x = lstm(x)
    outputs = layers.Dense(
        6, activation="softmax", activity_regularizer=keras.regularizers.L2(0.1), name="scores"
    )(x)
    model = keras.Model(inputs, outputs)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    # As many values as weights: the same function.
    names = ("rows", "lstm", "scores")
    trainee = natively(model, dict.fromkeys(names, LayerClustering(clusters=160)))
    words = np.array([[3, 7, 1, 0, 0], [5, 2, 0, 0, 0]])
    np.testing.assert_allclose(trainee(words), plain(words), atol=1e-3)
    assert trainee.get_layer("scores").activation is keras.activations.softmax
    losses = []
    for each in (plain, trainee):
        each(words)
        losses.append([float(loss) for loss in each.losses])
    assert len(losses[0]) == 2  # Of the recurrent kernel, and of the outputs.
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-3)
    drawn = {float(trainee(words, training=True)[0, 0]) for _ in range(3)}
    assert len(drawn) == 3  # Other weights are dropped each time.


def test_a_model_saved_in_the_middle_goes_on(tmp_path):
    model = natively(
        small(zeros=True), {"wide": LayerClustering(clusters=5, preserve_sparsity=True)}
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(*examples())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    wrapper = loaded.get_layer("wide")
    assert isinstance(wrapper, ClusterWeights)
    assert wrapper.settings == model.get_layer("wide").settings
    for each in (model, loaded):
        each.train_on_batch(*examples())
    for a, b in zip(model.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
