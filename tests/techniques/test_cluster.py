import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.conftest import kernels, trained
from tests.techniques.counts import PLAIN
from tfcompress import techniques, training
from tfcompress.bridge import wrappers
from tfcompress.errors import InputError
from tfcompress.training.context import DEFAULT_CONTEXT, TrainingContext

PARAMETERS = PLAIN

TECHNIQUE = techniques.get("cluster")


def cluster(model, data, epochs=1, context=DEFAULT_CONTEXT, **options):
    return trained(TECHNIQUE, model, data, epochs, context, **options)


@pytest.mark.parametrize("centroids", ["kmeans++", "density", "linear", "random"])
def test_as_many_values_as_asked(smallest, data, centroids):
    candidate = cluster(smallest(), data, clusters=8, centroids=centroids)
    for name, kernel in kernels(candidate.model).items():
        assert len(np.unique(kernel)) <= 8, name
    assert candidate.properties == {"clusters"}
    assert any("8 different weights" in line.reason for line in candidate.layers)


def test_without_training_each_weight_takes_the_nearest_value(small, data):
    model = small()
    after = kernels(cluster(model, data, epochs=0, clusters=8).model)
    for name, before in kernels(model).items():
        values = np.unique(after[name])
        nearest = values[np.abs(before[..., None] - values).argmin(-1)]
        np.testing.assert_array_equal(after[name], nearest)


def test_values_are_trained(smallest, data):
    tuned = kernels(cluster(smallest(), data, epochs=2, clusters=8).model)
    first = kernels(cluster(smallest(), data, epochs=0, clusters=8).model)
    assert any(not np.array_equal(np.unique(tuned[n]), np.unique(first[n])) for n in first)


def test_zeros_survive_after_pruning(smallest, data):
    # Clusters without sparsity preservation would fill nearly all zeros again.
    candidate = trained(techniques.get("prune"), smallest(), data, epochs=1)
    found = cluster(candidate, data, epochs=2)
    assert found.properties == {"sparsity", "clusters"}
    for name, kernel in kernels(found.model).items():
        assert np.mean(kernel == 0) >= 0.79, name
        assert len(np.unique(kernel)) <= 16
    filled = cluster(candidate, data, epochs=2, preserve_sparsity=False)
    assert np.mean(kernels(filled.model)["conv"] == 0) < 0.1


@pytest.mark.parametrize("engine", ["tfmot", "keras"])
@pytest.mark.parametrize("left", [(5, 3), (4, 0), (1, 1), (0, 0)])
def test_fewer_weights_left_than_values(small, data, left, engine):
    """Five above zero and three below, with sixteen values asked for; and down to no weight."""
    model = small()
    layer = model.get_layer("conv2")
    kernel = np.zeros(layer.kernel.shape, np.float32)
    above, below = left
    kernel.ravel()[: above + below] = [*np.arange(1, above + 1), *-np.arange(1, below + 1)]
    layer.kernel.assign(kernel / 10)
    settings = {"epochs": 0, "preserve_sparsity": True, "engine": engine}
    after = kernels(cluster(model, data, **settings).model)["conv2"]
    np.testing.assert_allclose(after, kernel / 10, atol=1e-6)


def test_by_name_and_per_channel(small, data):
    found = kernels(
        cluster(small(), data, clusters=4, layers=("conv3:8",), leave=("logits",)).model
    )
    assert len(np.unique(found["conv2"])) <= 4 < len(np.unique(found["conv3"])) <= 8
    assert len(np.unique(found["logits"])) > 100
    # TFMOT makes an op of each filter: one layer's are enough.
    own = kernels(
        cluster(small(), data, clusters=4, per_channel=True, leave=("conv2", "conv3")).model
    )["conv1"]
    for index in range(own.shape[-1]):
        assert len(np.unique(own[..., index])) <= 4
    assert len(np.unique(own)) > 4


def test_goes_on_where_it_was(smallest, data, tmp_path):
    whole = cluster(smallest(), data, epochs=3).model

    def stop(epoch, step, steps):
        if epoch == 2:
            raise KeyboardInterrupt

    kept = TrainingContext(checkpoint=tmp_path / "state.npz")
    stopped = dataclasses.replace(kept, on_step=stop)
    with pytest.raises(training.Stopped):
        cluster(smallest(), data, epochs=3, context=stopped)
    again = cluster(smallest(), data, epochs=3, context=kept).model
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_pruning_after_clustering_is_refused():
    with pytest.raises(InputError, match=r"prune can't follow cluster.*'prune\+cluster' works"):
        techniques.chain("cluster+prune")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": 1}, "clusters must be 2 or more"),
        ({"centroids": "kmeans"}, "centroids takes one of"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.make_options(**options)


@pytest.mark.parametrize(
    ("options", "size"), [({"clusters": 217}, "216 weights"), ({"per_channel": True,
     "clusters": 28}, "27 weights a filter")]
)  # fmt: skip
def test_more_values_than_weights(small, options, size):
    message = f"layer 'conv1' has {size} to share {options['clusters']} values: take fewer, .*layer"
    with pytest.raises(InputError, match=message):
        TECHNIQUE.check(techniques.Candidate(small()), TECHNIQUE.make_options(**options))
    own = TECHNIQUE.make_options(**options, layers=("conv1:16",), leave=("logits",))
    TECHNIQUE.check(techniques.Candidate(small()), own)


def test_bad_count_by_name(small):
    with pytest.raises(InputError, match=r"conv2 needs 2 clusters or more; got '1\.5'"):
        TECHNIQUE.check(
            techniques.Candidate(small()), TECHNIQUE.make_options(layers=("conv2:1.5",))
        )


@pytest.mark.parametrize("engine", ["tfmot", "keras"])
def test_kernels_of_recurrent_layers_and_embeddings(data, engine):
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(12, activation="relu", name="numbers")(layers.Flatten()(inputs))
    x = layers.Embedding(50, 8, name="rows")(x)
    x = layers.LSTM(6, name="lstm")(layers.EinsumDense("abc,cd->abd", (None, 8), name="einsum")(x))
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    candidate = cluster(model, data, epochs=0, clusters=8, engine=engine)
    reasons = {line.name: (line.action, line.reason) for line in candidate.layers}
    assert reasons["scores"] == ("kept", "only 24 weights")
    for name in ("rows", "lstm", "einsum"):
        assert reasons[name] == ("clustered", "8 different weights")
    for kernel in wrappers.kernels(candidate.model, "lstm"):
        assert len(np.unique(kernel)) == 8


def test_both_engines_give_the_same_net_and_file(small, data, tmp_path):
    import gzip

    sizes, weights = {}, {}
    for engine in ("tfmot", "keras"):
        model = cluster(small(), data, epochs=1, engine=engine).model
        path = tmp_path / f"{engine}.tflite"
        tfcompress.export(model, path)
        sizes[engine] = path.stat().st_size, len(gzip.compress(path.read_bytes()))
        weights[engine] = kernels(model)
    for name, by_tfmot in weights["tfmot"].items():
        np.testing.assert_allclose(by_tfmot, weights["keras"][name], atol=1e-5)
    assert sizes["keras"][0] == pytest.approx(sizes["tfmot"][0], rel=1e-3)
    assert sizes["keras"][1] == pytest.approx(sizes["tfmot"][1], rel=0.02)
    assert sizes["keras"][1] < 0.6 * sizes["keras"][0]


def test_keras_clusters_what_tfmot_has_no_wrapper_for(data):
    inputs = keras.Input((16, 16, 3))
    x = layers.Reshape((16, 48))(inputs)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.TimeDistributed(layers.Dense(8), name="each")(x)
    model = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))
    candidate = cluster(model, data, epochs=0, clusters=6)
    for name in ("attention", "each"):
        for kernel in wrappers.kernels(candidate.model, name):
            assert len(np.unique(kernel)) == 6
