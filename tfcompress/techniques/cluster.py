"""Weight clustering: each kernel has a few values that its weights share."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques import _weights
from tfcompress.techniques._engines import Engine, check_prepares, train
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    import keras

    from tfcompress.data.protocol import Data
    from tfcompress.training.clustering import LayerClustering
    from tfcompress.training.context import Row, TrainingContext

Centroids = Literal["kmeans++", "density", "linear", "random"]
# Layers whose filters may have values of their own.
_OF_CHANNELS = frozenset({"Conv2D", "Conv2DTranspose"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How many values, where they begin, and which layers have them.

    Attributes:
        clusters: values in a kernel; 16 fit in 4 bits each. Deep Compression has 256 for
            convolutions and 32 for dense layers.
        centroids: how the values are found first: `kmeans++`, `density` (equal shares of the
            weights), `linear` (evenly spaced; the paper's choice, which keeps large weights) or
            `random`.
        preserve_sparsity: whether zeros stay zero; if not given, they do after `prune`.
        per_channel: whether each filter of a convolution has values of its own.
        layers: clusters by layer name or pattern, as in `conv*:256,dense*:32`.
        leave: names or patterns of layers that stay as they are.
        engine: `tfmot` trains a copy in Keras 2, which learns one class an example; `keras` the
            model itself, with any loss, metrics and callbacks and on any backend, by the same
            values; binary, hashed and custom layers stay as they are then, and attention,
            convolutional recurrent and time-distributed layers are clustered, too. `auto` is tfmot
            for a model that has none of these, that Keras 2 can have, that isn't compiled and
            learns one class an example, else keras.
    """

    clusters: int = searched(16, 8, 16, 32, 64)
    centroids: Centroids = "kmeans++"
    preserve_sparsity: bool | None = None
    per_channel: bool = False
    layers: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        """Refuses counts that share nothing."""
        one_of("option engine", self.engine, get_args(Engine))
        one_of("option centroids", self.centroids, get_args(Centroids))
        require(self.clusters >= 2, f"option clusters must be 2 or more; got {self.clusters}")


def _transform(candidate: Candidate, options: ClusterOptions) -> Candidate:
    """Copies the model in built-in layers; values are shared as the training begins."""
    chosen = _weights.choose(candidate.model, options.leave, "clustered", engine=options.engine)
    counts = _checked_counts(chosen, candidate, options)
    done = [
        LayerLine(name, chosen.kinds_before[name], "clustered", f"{count} values")
        for name, count in counts.items()
    ]
    return candidate.then(chosen.model, *chosen.kept, *done)


def _checked_counts(
    chosen: _weights.Chosen, candidate: Candidate, options: ClusterOptions
) -> dict[str, int]:
    """Returns the number of values of each layer, by its name.

    Raises:
        InputError: a layer has fewer weights than values, and doesn't keep its zeros.
    """
    counts = _counts(chosen, options)
    if not _keeps_zeros(candidate, options):
        for name, count in counts.items():
            _check_count(chosen, name, count, options)
    return counts


def _keeps_zeros(candidate: Candidate, options: ClusterOptions) -> bool:
    """Says whether zeros stay zero; fewer values than asked for are taken then where need be."""
    if options.preserve_sparsity is None:
        return Property.SPARSITY in candidate.properties
    return options.preserve_sparsity


def _check_count(chosen: _weights.Chosen, name: str, count: int, options: ClusterOptions) -> None:
    """Refuses more values than a layer has weights, which TFMOT stumbles over."""
    from tfcompress.bridge.wrappers import kernels

    shape = min((kernel.shape for kernel in kernels(chosen.model, name)), key=math.prod)
    filters = shape[-1] if options.per_channel and len(shape) > 2 else 1
    size = math.prod(shape) // filters
    require(
        count <= size,
        f"option clusters: layer '{name}' has {size} weights{' a filter' if filters > 1 else ''} "
        f"to share {count} values: take fewer, give it its own by layers={name}:{min(size, 16)}, "
        f"or leave={name}",
    )


def _counts(chosen: _weights.Chosen, options: ClusterOptions) -> dict[str, int]:
    """Returns the number of values of each layer, by its name."""
    counts = dict.fromkeys(chosen.names, options.clusters)
    for name, text in _weights.overrides(options.layers, chosen.names).items():
        good = text.isdecimal() and int(text) >= 2
        require(good, f"option layers: {name} needs 2 clusters or more; got '{text}'")
        counts[name] = int(text)
    return counts


def _plan(
    chosen: _weights.Chosen, candidate: Candidate, options: ClusterOptions, counts: dict[str, int]
) -> dict[str, LayerClustering]:
    """Returns how each layer is clustered; those that have but zeros to keep are left out.

    Where zeros are kept, a kernel has no more values than weights that aren't zero, and zero: TFMOT
    looks for values among the former, and fails where they are fewer.
    """
    from tfcompress.bridge.wrappers import kernels
    from tfcompress.training.clustering import LayerClustering

    keeps_zeros = _keeps_zeros(candidate, options)
    plan = {}
    for name, wanted in counts.items():
        count = wanted
        if keeps_zeros:
            left = min(int(np.count_nonzero(kernel)) for kernel in kernels(chosen.model, name))
            if not left:
                continue
            count = min(wanted, left + 1)
        plan[name] = LayerClustering(
            clusters=count,
            centroids=options.centroids,
            preserve_sparsity=keeps_zeros,
            # As TFMOT has it: other kernels have their values together.
            per_channel=options.per_channel and chosen.kinds[name] in _OF_CHANNELS,
        )
    return plan


def _fit(
    candidate: Candidate,
    options: ClusterOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains shared values and says how many each kernel has."""
    from tfcompress.bridge import cluster

    chosen = _weights.choose(candidate.model, options.leave, "clustered", engine=options.engine)
    counts = _counts(chosen, options)
    plan = _plan(chosen, candidate, options, counts)
    model, rows = train(
        candidate,
        options.engine,
        data,
        training,
        context,
        convert=lambda: cluster.trainee_of(chosen.model, plan),
        by_tfmot=lambda wrapped: cluster.train_wrapped(
            wrapped, chosen.model, data, training, context
        ),
        in_keras=lambda: _fit_in_keras(chosen.model, data, training, plan, context),
        suits_tfmot=chosen.by_tfmot,
    )
    reached = {
        name: f"{count} different weights" for name, count in cluster.values(model, counts).items()
    }
    return _weights.with_trained_model(candidate, model, "clustered", reached), rows


def _fit_in_keras(
    model: keras.Model,
    data: Data,
    training: Training,
    plan: dict[str, LayerClustering],
    context: TrainingContext,
) -> tuple[keras.Model, list[Row]]:
    """Trains a model whose layers are wrapped, and returns a copy without the wrappers."""
    from tfcompress.training import clustering, fit

    trainee = clustering.clustered(model, _weights.kernels(model, plan), plan)
    rows = fit(trainee, data, training, context)
    return clustering.finished(trainee), rows


def _prepare(candidate: Candidate, options: ClusterOptions) -> keras.Model:
    """Returns a copy whose kernels share values, which whatever optimizer trains it trains, too."""
    from tfcompress.training import clustering

    check_prepares(options.engine)
    chosen = _weights.choose(candidate.model, options.leave, "clustered", engine="keras")
    plan = _plan(chosen, candidate, options, _checked_counts(chosen, candidate, options))
    return clustering.clustered(chosen.model, _weights.kernels(chosen.model, plan), plan)


TECHNIQUE = Technique(
    name="cluster",
    summary="kernels whose weights share 16 values (TFMOT's clustering)",
    reference="Han, Mao, Dally 2016, arXiv:1510.00149, section 3",
    options=ClusterOptions,
    transform=_transform,
    check=_transform,
    training=distilled(epochs=5, learning_rate=1e-4),
    storages=("float32",),
    fit=_fit,
    prepare=_prepare,
    produces=frozenset({Property.CLUSTERS}),
    preserves=frozenset({Property.SPARSITY}),
    acts_in="training",
)
