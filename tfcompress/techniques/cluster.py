"""Weight clustering by TFMOT: each kernel has a few values that its weights share."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.techniques import _weights
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext

Centroids = Literal["kmeans++", "density", "linear", "random"]


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
    """

    clusters: int = 16
    centroids: Centroids = "kmeans++"
    preserve_sparsity: bool | None = None
    per_channel: bool = False
    layers: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses counts that share nothing."""
        one_of("option centroids", self.centroids, get_args(Centroids))
        require(self.clusters >= 2, f"option clusters must be 2 or more; got {self.clusters}")


def _transform(candidate: Candidate, options: ClusterOptions) -> Candidate:
    """Copies the model in built-in layers; values are shared as the training begins."""
    chosen = _weights.choose(candidate.model, options.leave, "clustered")
    counts = _counts(chosen, options)
    if not _keeps_zeros(candidate, options):
        for name, count in counts.items():
            _check_count(chosen, name, count, options)
    done = [
        LayerLine(name, chosen.kinds_before[name], "clustered", f"{count} values")
        for name, count in counts.items()
    ]
    return candidate.then(chosen.model, *chosen.kept, *done)


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


def _fit(
    candidate: Candidate,
    options: ClusterOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains with TFMOT's wrappers and says how many values each kernel has."""
    from tfcompress.bridge import cluster

    chosen = _weights.choose(candidate.model, options.leave, "clustered")
    counts = _counts(chosen, options)
    model, rows = cluster.cluster(
        chosen.model,
        data,
        training,
        counts,
        context,
        centroids=options.centroids,
        preserve_sparsity=_keeps_zeros(candidate, options),
        per_channel=options.per_channel,
    )
    reached = {
        name: f"{count} different weights" for name, count in cluster.values(model, counts).items()
    }
    return _weights.with_trained_model(candidate, model, "clustered", reached), rows


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
    produces=frozenset({Property.CLUSTERS}),
    preserves=frozenset({Property.SPARSITY}),
    acts_in="training",
)
