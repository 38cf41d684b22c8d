"""Deep Compression: prune, share the values that are left, code what that leaves.

The first two are trained here, by `prune` and `cluster`. The third takes nothing from the accuracy
and is every run's: `compressed.tfz` beside `compressed.tflite`.
"""

from __future__ import annotations

import dataclasses
import glob
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.techniques import _weights, cluster, prune
from tfcompress.techniques._engines import Engine
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled
from tfcompress.techniques.cluster import Centroids, ClusterOptions
from tfcompress.techniques.prune import PruneOptions

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext

# Values are shared in half of the epochs that pruning took, at a tenth of its learning rate.
_TUNING_EPOCHS, _TUNING_RATE = 0.5, 0.1
_MOST_BITS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepCompressionOptions:
    """Zeros and shared values; defaults are the paper's for AlexNet (table 4 and section 5).

    Attributes:
        conv_sparsity: share of zeros in each convolution, recurrent layer and embedding; the paper
            keeps 35 to 38% of the weights from the second convolution on.
        dense_sparsity: share of zeros in each dense layer; the paper keeps 9% in the hidden ones.
        final_sparsity: one share for all layers, in place of both.
        conv_bits: of a shared value's index in the same layers: 8 are 256 values, zero among them.
        dense_bits: likewise in dense layers: 5 are 32 values.
        centroids: where the shared values begin: evenly spaced (the paper's choice, section 3.2),
            or another of `cluster`.
        sparsities: share of zeros by layer name or pattern, as in `conv1:0.16,logits:0.75`, which
            are the paper's for the first and last layer.
        bits: by layer name or pattern, as in `logits:8`.
        leave: names or patterns of layers that stay as they are.
        engine: who trains, as of `prune` and `cluster`.
    """

    conv_sparsity: float = 0.65
    dense_sparsity: float = 0.91
    final_sparsity: float | None = None
    conv_bits: int = 8
    dense_bits: int = 5
    centroids: Centroids = "linear"
    sparsities: tuple[str, ...] = ()
    bits: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        """Refuses shares and bits that no layer can have."""
        for name in ("conv_sparsity", "dense_sparsity", "final_sparsity"):
            value = getattr(self, name)
            require(
                value is None or 0 < value < 1,
                f"option {name} must be a share of zeros in (0, 1); got {value}",
            )
        for name in ("conv_bits", "dense_bits"):
            _check_bits(f"option {name}", getattr(self, name))
        one_of("option engine", self.engine, get_args(Engine))
        one_of("option centroids", self.centroids, get_args(Centroids))


def _check_bits(what: str, value: int) -> None:
    require(1 <= value <= _MOST_BITS, f"{what} must be 1 to {_MOST_BITS}; got {value}")


def _round_options(
    candidate: Candidate, options: DeepCompressionOptions
) -> tuple[PruneOptions, Any]:
    """Returns the options of both rounds, each layer by its name.

    Raises:
        InputError: a pattern fits no layer, or no layer is left.
    """
    from tfcompress.bridge.wrappers import NOT_CLUSTERED

    chosen = _weights.choose(candidate.model, options.leave, "compressed", engine=options.engine)
    bits = {}
    for name, text in _weights.overrides(options.bits, chosen.names).items():
        require(text.isdecimal(), f"option bits: {name} takes a whole number; got '{text}'")
        _check_bits(f"option bits: those of {name}", int(text))
        bits[name] = int(text)
    shares, counts = [], []
    for name in chosen.names:
        dense = chosen.kinds[name] in ("Dense", "EinsumDense")
        share = options.dense_sparsity if dense else options.conv_sparsity
        pattern = glob.escape(name)
        shares.append(f"{pattern}:{options.final_sparsity or share}")
        its_bits = bits.get(name, options.dense_bits if dense else options.conv_bits)
        counts.append(f"{pattern}:{2**its_bits}")
    # What can be pruned and not clustered: sharing would spread its zeros.
    whole = [line.name for line in chosen.kept if line.kind in NOT_CLUSTERED]
    pruning = PruneOptions(
        # Each layer has its own share; they start at half of the weights, as `prune` does.
        initial_sparsity=0.5,
        final_sparsity=0.5,
        layers=(*shares, *options.sparsities),
        leave=(*options.leave, *map(glob.escape, whole)),
        engine=options.engine,
    )
    sharing = ClusterOptions(
        centroids=options.centroids,
        preserve_sparsity=True,
        layers=tuple(counts),
        leave=tuple(glob.escape(line.name) for line in chosen.kept),
        engine=options.engine,
    )
    return pruning, sharing


def _rounds(
    candidate: Candidate, options: DeepCompressionOptions, settings: Training
) -> Sequence[tuple[Any, Training]]:
    """Returns two rounds: pruning with its training, then sharing with a shorter one."""
    pruning, sharing = _round_options(candidate, options)
    tuning = dataclasses.replace(
        settings,
        epochs=math.ceil(settings.epochs * _TUNING_EPOCHS),
        learning_rate=settings.learning_rate * _TUNING_RATE,
    )
    return [(pruning, settings), (sharing, tuning)]


def _transform(candidate: Candidate, options: Any) -> Candidate:
    """Transforms for one round: the one whose options these are, else the first."""
    if isinstance(options, ClusterOptions):
        from tfcompress.graph.fold_batch_norm import fold_batch_norms

        # Behind the sharing it would scale each filter's values apart.
        model, gone = fold_batch_norms(candidate.model)
        lines = [
            LayerLine(name, "BatchNormalization", "folded", f"into {into}, to share its values")
            for name, into in gone.items()
        ]
        return cluster.TECHNIQUE.transform(candidate.then(model, *lines), options)
    if isinstance(options, DeepCompressionOptions):
        options = _round_options(candidate, options)[0]
    every = _weights.choose(candidate.model, (), "compressed", engine=options.engine)
    reasons = {line.name: line.reason for line in every.kept}
    pruned = prune.TECHNIQUE.transform(candidate, options)
    return dataclasses.replace(pruned, layers=tuple(_own_words(pruned.layers, reasons)))


def _own_words(lines: tuple[LayerLine, ...], reasons: Mapping[str, str]) -> Iterator[LayerLine]:
    """Yields the lines; of layers that were left for these reasons, with the reason."""
    for line in lines:
        its_own = line.reason == _weights.NAMED and line.name in reasons
        yield dataclasses.replace(line, reason=reasons[line.name]) if its_own else line


def _fit(
    candidate: Candidate,
    options: Any,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains one round, chosen as in `_transform`."""
    from tfcompress.training.optimizers import at_lower_rate

    if isinstance(options, ClusterOptions):
        context = at_lower_rate(context, _TUNING_RATE)
        return cluster.TECHNIQUE.fit(candidate, options, data, training, context)
    if isinstance(options, DeepCompressionOptions):
        options = _round_options(candidate, options)[0]
    return prune.TECHNIQUE.fit(candidate, options, data, training, context)


TECHNIQUE = Technique(
    name="deep_compression",
    summary="pruned, then shared values, both trained; compressed.tfz holds the file coded",
    reference="Han, Mao, Dally 2016, arXiv:1510.00149",
    options=DeepCompressionOptions,
    transform=_transform,
    check=_transform,
    training=distilled(epochs=10, learning_rate=1e-3),
    storages=("float32",),
    fit=_fit,
    rounds=_rounds,
    produces=frozenset({Property.SPARSITY, Property.CLUSTERS}),
    preserves=frozenset(),
    acts_in="training",
)
