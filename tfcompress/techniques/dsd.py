"""Dense-sparse-dense training: weights are pruned for a while, then all are trained again."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.config import Training
from tfcompress.errors import require
from tfcompress.techniques import _weights
from tfcompress.techniques._blocks import custom, no_layer, weighted
from tfcompress.techniques.base import Candidate, LayerLine, Technique, fit_keras

if TYPE_CHECKING:
    import keras

    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext

_ACTION = "trained sparse"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DsdOptions:
    """How many weights are zero in the sparse stage, and how the dense one behind it is trained.

    Attributes:
        sparsity: share of zeros in each layer in the sparse stage, in (0, 1): the paper has 0.25
            to 0.5 (section 3).
        dense_rate: of the dense stage, as a share of the sparse one's learning rate: a tenth in the
            paper.
        layers: sparsity by layer name or pattern, as in `conv*:0.5,dense1:0.25`.
        leave: names or patterns of layers that are dense in both stages.
    """

    sparsity: float = 0.3
    dense_rate: float = 0.1
    layers: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses shares and rates that train nothing."""
        _check_sparsity("option sparsity", self.sparsity)
        require(
            0 < self.dense_rate <= 1,
            f"option dense_rate must be above 0 and at most 1; got {self.dense_rate}",
        )


class _DenseStage(DsdOptions):
    """The options as the second stage gets them."""


def _check_sparsity(what: str, value: float) -> None:
    require(0 < value < 1, f"{what} must be a share of zeros in (0, 1); got {value}")


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Which layers of a model are pruned.

    Attributes:
        kernels: by layer name, what is pruned of it.
        sparsities: layer name to the share of zeros.
        lines: for the report, one for each layer with weights.
    """

    kernels: dict[str, list[keras.Variable]]
    sparsities: dict[str, float]
    lines: tuple[LayerLine, ...]


def _choose(model: keras.Model, options: DsdOptions) -> _Choice:
    """Chooses what is pruned.

    Raises:
        InputError: a pattern fits no layer, a layer's sparsity is none, or no layer is left.
    """
    from tfcompress.graph.nodes import operations

    layers = {op.name: op for op in operations(model)}
    for pattern in options.leave:
        _weights.matches(pattern, layers)
    found = {name: _kernels(layer) for name, layer in layers.items()}
    reasons = {name: _why_dense(layers[name], found[name], options.leave) for name in found}
    kernels = {name: found[name] for name, reason in reasons.items() if reason is None}
    sparsities = dict.fromkeys(kernels, options.sparsity)
    for name, text in _weights.overrides(options.layers, list(kernels)).items():
        try:
            sparsities[name] = float(text)
        except ValueError:
            sparsities[name] = math.nan
        _check_sparsity(f"option layers: the sparsity of {name}", sparsities[name])
    lines = []
    for name, layer in layers.items():
        kind, reason = type(layer).__name__, reasons[name]
        if reason is None:
            text = f"{sparsities[name]:.0%} of the weights zero in the sparse stage"
            lines.append(LayerLine(name, kind, _ACTION, text))
        elif weighted(layer):
            lines.append(LayerLine(name, kind, "kept", reason))
    if not kernels:
        raise no_layer(model, "pruned for a while", lines)
    return _Choice(kernels, sparsities, tuple(lines))


def _kernels(layer: Any) -> list[keras.Variable]:
    """Returns the kernels of a layer that can be pruned for a while, as a layer has them itself."""
    from tfcompress.bridge.wrappers import kernel_variables
    from tfcompress.layers import BinaryConv2D, BinaryDense, HashedConv2D, HashedDense

    if custom(layer) or isinstance(layer, BinaryConv2D | BinaryDense | HashedConv2D | HashedDense):
        return []
    if hasattr(layer, "lower"):
        return [weight for weight in layer.weights if len(weight.shape) > 1]
    if type(layer).__name__ in ("SeparableConv1D", "SeparableConv2D"):
        return [layer.pointwise_kernel]
    return kernel_variables(layer)


def _why_dense(layer: Any, kernels: Sequence[Any], leave: Sequence[str]) -> str | None:
    """Says why a layer isn't pruned; None if it is."""
    kind = type(layer).__name__
    if not kernels:
        why = "a custom layer, kept as it is" if custom(layer) else "kept as it is"
        return f"{kind}: {why}"
    if any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in leave):
        return _weights.NAMED
    if not all(kernel.trainable for kernel in kernels):
        return "frozen: what is pruned would stay zero"
    size = sum(math.prod(kernel.shape) for kernel in kernels)
    return f"only {size} weights" if size < _weights.SMALLEST else None


def _transform(candidate: Candidate, options: DsdOptions) -> Candidate:
    """Copies the model for the sparse stage; the dense one goes on with what that one left."""
    if isinstance(options, _DenseStage):
        return candidate
    from tfcompress.graph import clone

    model = clone(candidate.model)
    return candidate.then(model, *_choose(model, options).lines)


def _rounds(
    candidate: Candidate, options: DsdOptions, settings: Training
) -> Sequence[tuple[Any, Training]]:
    """Returns two rounds of equal length: the sparse stage, then the dense one at a lower rate."""
    dense = dataclasses.replace(settings, learning_rate=settings.learning_rate * options.dense_rate)
    return [(options, settings), (_DenseStage(**dataclasses.asdict(options)), dense)]


def _fit(
    candidate: Candidate,
    options: DsdOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains one stage, chosen by the options."""
    from tfcompress.training.optimizers import at_lower_rate
    from tfcompress.training.pruning import LayerPruning, train_pruned

    require(training.epochs > 0, "dsd trains in two stages: give it 1 epoch or more")
    if isinstance(options, _DenseStage):
        context = at_lower_rate(context, options.dense_rate)
        return fit_keras(candidate, options, data, training, context)
    choice = _choose(candidate.model, options)
    plan = {name: LayerPruning.at_once(sparsity) for name, sparsity in choice.sparsities.items()}
    model, rows = train_pruned(candidate.model, choice.kernels, plan, data, training, context)
    return dataclasses.replace(candidate, model=model), rows


def _training(options: DsdOptions) -> Training:
    """Returns the settings of the sparse stage, and of the dense one but for its rate."""
    return Training(epochs=5, learning_rate=1e-3)


TECHNIQUE = Technique(
    name="dsd",
    summary="dense-sparse-dense: pruned for a while, then whole again; for accuracy, not for bytes",
    reference="Han et al. 2017, arXiv:1607.04381",
    options=DsdOptions,
    transform=_transform,
    check=_transform,
    training=_training,
    storages=("float32",),
    fit=_fit,
    rounds=_rounds,
    acts_in="training",
)
