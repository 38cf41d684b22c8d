"""Makes the weights of Keras 3 models share values, by TFMOT's weight clustering."""

from __future__ import annotations

import contextlib
import functools
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
from tfcompress.training.clustering import LayerClustering
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.outputs import ends_in_softmax

_CLUSTERING = "python.core.clustering.keras"
CENTROIDS = {
    "kmeans++": "KMEANS_PLUS_PLUS",
    "density": "DENSITY_BASED",
    "linear": "LINEAR",
    "random": "RANDOM",
}


def trainee_of(model: keras.Model, plan: Mapping[str, LayerClustering]) -> Any:
    """Returns a model's tf_keras copy whose weights share values, for `train_wrapped`.

    Args:
        model: flat, functional, of built-in layers.
        plan: how layers are clustered, by name.

    Raises:
        BridgeError: the model can't be converted to tf_keras.
    """
    with nearest_by_search(), _dense_einsums():
        return wrapped_for_clustering(model, plan)


def train_wrapped(
    trainee: Any,
    model: keras.Model,
    data: Data,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
) -> tuple[keras.Model, list[Row]]:
    """Trains a model whose weights are shared: TFMOT's wrappers train the shared values.

    Args:
        trainee: as `trainee_of` made it.
        model: of Keras 3, that it was made from; it stays as it is.
        data: as in `training.fit`.
        training: epochs, optimizer and rates; with 0 epochs each weight becomes the value of its
            cluster, and nothing is tuned.
        context: as in `training.fit`.

    Returns:
        A Keras 3 model with the shared values, and one row an epoch.

    Raises:
        TrainingError, Stopped: as in `training.fit`.

    Reference:
        Han, Mao, Dally 2016, "Deep Compression", arXiv:1510.00149, section 3.
    """
    strip = tfmot().clustering.keras.strip_clustering
    with nearest_by_search(), _dense_einsums():
        rows = train.fit(trainee, data, training, context, softmax=ends_in_softmax(model))
        return copy_back(strip(trainee), model), rows


def wrapped_for_clustering(model: keras.Model, plan: Mapping[str, LayerClustering]) -> Any:
    """Returns a tf_keras copy of a Keras 3 model with clustering wrappers around named layers."""
    initialization = tfmot().clustering.keras.CentroidInitialization
    # Not `cluster_weights`: it counts a convolution's filters by its last weight, which without a
    # bias is the kernel, and then skips the layer as too small.
    wrappers = tfmot(f"{_CLUSTERING}.cluster_wrapper")

    def wrap(layer: Any, settings: LayerClustering) -> Any:
        recurrent = type(layer).__name__ in RECURRENT
        wrapper = wrappers.ClusterWeightsRNN if recurrent else wrappers.ClusterWeights
        return wrapper(
            layer,
            number_of_clusters=settings.clusters,
            cluster_centroids_init=getattr(initialization, CENTROIDS[settings.centroids]),
            preserve_sparsity=settings.preserve_sparsity,
            cluster_per_channel=settings.per_channel,
        )

    functions = {
        name: functools.partial(wrap, settings=settings) for name, settings in plan.items()
    }
    return wrapped(model, functions)


@contextlib.contextmanager
def _dense_einsums() -> Iterator[None]:
    """Makes TFMOT take `EinsumDense` within it as it takes `Dense`."""
    registry = tfmot(f"{_CLUSTERING}.clustering_registry")
    known = registry.ClusteringRegistry._LAYERS_WEIGHTS_MAP
    kind = tf_keras().layers.EinsumDense
    known[kind] = ["kernel"]
    try:
        yield
    finally:
        del known[kind]


def values(model: keras.Model, names: Mapping[str, Any]) -> dict[str, int]:
    """Returns how many different values a kernel of each of these layers has at most."""
    return {name: max(len(np.unique(kernel)) for kernel in kernels(model, name)) for name in names}
