"""Makes the weights of Keras 3 models share values, by TFMOT's weight clustering."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.bridge import train
from tfcompress.bridge.legacy import tf_keras, tfmot
from tfcompress.bridge.nearest import nearest_by_search
from tfcompress.bridge.to_keras import copy_back
from tfcompress.bridge.wrappers import RECURRENT, kernels, wrapped
from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.outputs import ends_in_softmax

_TFMOT = "tensorflow_model_optimization.python.core.clustering.keras."
_WRAPPER, _REGISTRY = f"{_TFMOT}cluster_wrapper", f"{_TFMOT}clustering_registry"
CENTROIDS = {
    "kmeans++": "KMEANS_PLUS_PLUS",
    "density": "DENSITY_BASED",
    "linear": "LINEAR",
    "random": "RANDOM",
}


def cluster(
    model: keras.Model,
    data: Data,
    training: Training,
    clusters: Mapping[str, int],
    context: TrainingContext = DEFAULT_CONTEXT,
    *,
    centroids: str = "kmeans++",
    preserve_sparsity: bool = False,
    per_channel: bool = False,
) -> tuple[keras.Model, list[Row]]:
    """Trains a model whose weights are shared: TFMOT's wrappers train the shared values.

    Args:
        model: flat, functional, of built-in layers; it stays as it is.
        data: as in `training.fit`.
        training: epochs, optimizer and rates; with 0 epochs each weight becomes the value of its
            cluster, and nothing is tuned.
        clusters: how many values each kernel of a layer may have, by layer name.
        context: as in `training.fit`.
        centroids: how the first values are found, a key of `CENTROIDS`.
        preserve_sparsity: whether zeros stay zero; they are one of the values.
        per_channel: whether each filter of a convolution has values of its own.

    Returns:
        A Keras 3 model with the shared values, and one row an epoch.

    Raises:
        BridgeError: the model can't be converted to tf_keras.
        TrainingError, Stopped: as in `training.fit`.

    Reference:
        Han, Mao, Dally 2016, "Deep Compression", arXiv:1510.00149, section 3.
    """
    clustering = tfmot().clustering.keras
    initialization = getattr(clustering.CentroidInitialization, CENTROIDS[centroids])
    # Not `cluster_weights`: it counts a convolution's filters by its last weight, which without a
    # bias is the kernel, and then skips the layer as too small.
    wrappers = importlib.import_module(_WRAPPER)

    def wrapper(count: int) -> Any:
        return lambda layer: (
            wrappers.ClusterWeightsRNN
            if type(layer).__name__ in RECURRENT
            else wrappers.ClusterWeights
        )(
            layer,
            number_of_clusters=count,
            cluster_centroids_init=initialization,
            preserve_sparsity=preserve_sparsity,
            cluster_per_channel=per_channel,
        )

    if preserve_sparsity:
        clusters = _at_most_the_weights_left(model, clusters)
    with nearest_by_search(), _dense_einsums():
        trainee = wrapped(model, {name: wrapper(count) for name, count in clusters.items()})
        rows = train.fit(trainee, data, training, context, softmax=ends_in_softmax(model))
        return copy_back(clustering.strip_clustering(trainee), model), rows


@contextlib.contextmanager
def _dense_einsums() -> Iterator[None]:
    """Makes TFMOT take `EinsumDense` within it as it takes `Dense`."""
    known = importlib.import_module(_REGISTRY).ClusteringRegistry._LAYERS_WEIGHTS_MAP
    kind = tf_keras().layers.EinsumDense
    known[kind] = ["kernel"]
    try:
        yield
    finally:
        del known[kind]


def _at_most_the_weights_left(model: keras.Model, clusters: Mapping[str, int]) -> dict[str, int]:
    """Returns the counts, none larger than what a pruned kernel has: its weights left, and zero.

    TFMOT looks for the values among the weights that aren't zero, and fails where they are fewer.
    A layer with a kernel of zeros alone is left out.
    """
    left = {
        name: min(int(np.count_nonzero(kernel)) for kernel in kernels(model, name))
        for name in clusters
    }
    return {name: min(count, left[name] + 1) for name, count in clusters.items() if left[name]}


def values(model: keras.Model, names: Mapping[str, Any]) -> dict[str, int]:
    """Returns how many different values a kernel of each of these layers has at most."""
    return {name: max(len(np.unique(kernel)) for kernel in kernels(model, name)) for name in names}
