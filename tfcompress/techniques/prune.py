"""Magnitude pruning: the smallest weights become zero while the network is trained."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques import _weights
from tfcompress.techniques._blocks import no_layer
from tfcompress.techniques._engines import Engine, check_prepares, train
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    import keras

    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext
    from tfcompress.training.pruning import LayerPruning

Schedule = Literal["polynomial", "constant"]
# Of the steps, after which the masks stay and the rest is tuning.
_LAST_CHANGE = 0.6


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """How many weights become zero, when, and where; the names are TFMOT's.

    Attributes:
        schedule: `polynomial` raises the share of zeros from `initial_sparsity` to
            `final_sparsity`; `constant` begins with all of them.
        initial_sparsity: at `begin_step`.
        final_sparsity: share of zeros in each layer at the end, in (0, 1).
        begin_step: first step whose weights are masked.
        end_step: last step at which the masks change; if not given, after 60% of the steps.
        frequency: steps between two changes of the masks, or fewer in a short training; at 1 a
            step takes twice as long.
        power: of the polynomial.
        block_size: height x width of blocks that are zero together, as in `1x4`. TFMOT has blocks
            for matrices only: other convolutions than 1x1 stay dense then.
        m_by_n: zeros in so many consecutive inputs, as in `2x4` for 2:4 sparsity; it decides the
            share of zeros and needs the constant schedule.
        layers: final sparsity by layer name or pattern, as in `conv*:0.9,dense1:0.5`.
        leave: names or patterns of layers that stay dense.
        engine: `tfmot` trains a copy in Keras 2, which learns one class an example; `keras` the
            model itself, with any loss, metrics and callbacks and on any backend, by the same
            masks; binary, hashed and custom layers stay as they are then. `auto` is tfmot for a
            model that Keras 2 can have, isn't compiled and learns one class an example, else keras.
    """

    schedule: Schedule = "polynomial"
    initial_sparsity: float = 0.5
    final_sparsity: float = searched(0.8, low=0.5, high=0.95, step=0.05)
    begin_step: int = 0
    end_step: int | None = None
    frequency: int = 100
    power: float = 3.0
    block_size: str = "1x1"
    m_by_n: str | None = None
    layers: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        """Refuses what TFMOT would refuse later, or not at all."""
        one_of("option engine", self.engine, get_args(Engine))
        one_of("option schedule", self.schedule, get_args(Schedule))
        for name in ("initial_sparsity", "final_sparsity"):
            _share(f"option {name}", getattr(self, name), zero=name == "initial_sparsity")
        for name, least in (("begin_step", 0), ("frequency", 1)):
            value = getattr(self, name)
            require(value >= least, f"option {name} must be {least} or more; got {value}")
        require(self.power > 0, f"option power must be positive; got {self.power}")
        require(
            self.end_step is None or self.end_step > self.begin_step,
            f"option end_step must come behind begin_step {self.begin_step}; got {self.end_step}",
        )
        if self.schedule == "polynomial" and not self.m_by_n:
            require(
                self.initial_sparsity <= self.final_sparsity,
                f"option initial_sparsity {self.initial_sparsity} must be at most final_sparsity "
                f"{self.final_sparsity}",
            )
        _pair("block_size", self.block_size)
        if self.m_by_n:
            zeros, of = _pair("m_by_n", self.m_by_n)
            require(zeros < of, f"option m_by_n must leave some weights; got {self.m_by_n}")
            require(self.block_size == "1x1", "give one of the options m_by_n and block_size")


def _share(what: str, value: float, *, zero: bool = False) -> None:
    good = 0 <= value < 1 if zero else 0 < value < 1
    require(good, f"{what} must be a share of zeros in {'[' if zero else '('}0, 1); got {value}")


def _pair(name: str, text: str) -> tuple[int, int]:
    """Reads `1x4` as (1, 4)."""
    try:
        first, second = (int(part) for part in text.split("x"))
        good = min(first, second) >= 1
    except ValueError:
        good = False
    require(good, f"option {name} takes two numbers, as in 1x4; got '{text}'")
    return first, second


def _transform(candidate: Candidate, options: PruneOptions) -> Candidate:
    """Copies the model in built-in layers; the zeros come with the training."""
    chosen = _weights.choose(candidate.model, options.leave, "pruned", engine=options.engine)
    plan = _plan(chosen, options, steps=1)
    lines = [*chosen.kept]
    for name in chosen.names:
        settings = plan[name]
        kind = chosen.kinds_before[name]
        if isinstance(settings, str):
            lines.append(LayerLine(name, kind, "kept", settings))
        else:
            lines.append(LayerLine(name, kind, "pruned", _words(settings, options)))
    if not any(line.action == "pruned" for line in lines):
        raise no_layer(candidate.model, "pruned", lines)
    return candidate.then(chosen.model, *lines)


def _words(settings: dict[str, Any], options: PruneOptions) -> str:
    if options.m_by_n:
        zeros, of = _pair("m_by_n", options.m_by_n)
        return f"{zeros} zeros in every {of} consecutive inputs"
    blocks = "" if options.block_size == "1x1" else f" in blocks of {options.block_size}"
    return f"{settings['final_sparsity']:.0%} of the weights zero{blocks}"


def _plan(
    chosen: _weights.Chosen, options: PruneOptions, steps: int
) -> dict[str, dict[str, Any] | str]:
    """Returns each layer's settings, or why it stays dense."""
    by_name = {}
    for name, text in _weights.overrides(options.layers, chosen.names).items():
        try:
            by_name[name] = float(text)
        except ValueError:
            by_name[name] = -1.0
        _share(f"option layers: the sparsity of {name}", by_name[name])
    end, frequency = _last_change(options, steps)
    plan: dict[str, dict[str, Any] | str] = {}
    for name in chosen.names:
        why = _why_dense(chosen, name, options)
        final = by_name.get(name, options.final_sparsity)
        plan[name] = why or {
            "schedule": options.schedule,
            "initial_sparsity": min(options.initial_sparsity, final),
            "final_sparsity": final,
            "begin_step": options.begin_step,
            "end_step": end,
            "frequency": frequency,
            "power": options.power,
            "block_size": _pair("block_size", options.block_size),
            "m_by_n": _pair("m_by_n", options.m_by_n) if options.m_by_n else None,
        }
    return plan


def _last_change(options: PruneOptions, steps: int) -> tuple[int, int]:
    """Returns the step at which the masks change last, and the steps between two changes.

    TFMOT changes masks at `begin_step` and every `frequency` steps from there: an `end_step`
    between two of them would leave fewer zeros than wanted, without a word.
    """
    begin, every = options.begin_step, options.frequency
    if options.end_step is not None:
        off = (options.end_step - begin) % every
        require(
            off == 0,
            f"option end_step {options.end_step} is no step at which the masks change, which is "
            f"every {every} from {begin} on: take {options.end_step - off + every}",
        )
        return options.end_step, every
    last = max(begin + 1, round(_LAST_CHANGE * steps))
    every = min(every, last - begin)
    return last - (last - begin) % every, every


def _why_dense(chosen: _weights.Chosen, name: str, options: PruneOptions) -> str | None:
    from tfcompress.bridge.wrappers import kernels

    block = _pair("block_size", options.block_size)
    for kernel in kernels(chosen.model, name) if block != (1, 1) else ():
        shape = "x".join(map(str, kernel.shape))
        matrix = [n for n in kernel.shape if n > 1]
        if len(matrix) != 2:
            return f"kernel {shape}: TFMOT has blocks for matrices only"
        if any(n <= side for n, side in zip(matrix, block, strict=True)):
            return f"kernel {shape}: no larger than a block of {options.block_size}"
    if options.m_by_n and chosen.kinds[name] not in ("Conv2D", "Dense"):
        return f"{chosen.kinds[name]}: m by n sparsity is for Conv2D and Dense"
    return None


def _fit(
    candidate: Candidate,
    options: PruneOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains with masks and says how many weights of each kernel are zero."""
    from tfcompress.bridge import prune
    from tfcompress.training.loop import steps_per_epoch
    from tfcompress.training.pruning import train_pruned

    require(training.epochs > 0, "prune makes zeros while it trains: give it 1 epoch or more")
    chosen = _weights.choose(candidate.model, options.leave, "pruned", engine=options.engine)
    steps = steps_per_epoch(data, training) * training.epochs
    plan = _layer_prunings(_plan(chosen, options, steps))
    last = min(layer.end_step for layer in plan.values())
    require(
        last <= steps,
        f"option end_step {last} comes after the last of {steps} steps: fewer zeros than wanted "
        "would be there; train longer or end earlier",
    )
    model, rows = train(
        candidate,
        options.engine,
        data,
        training,
        context,
        convert=lambda: prune.wrapped_for_pruning(chosen.model, plan),
        by_tfmot=lambda wrapped: prune.train_wrapped(
            wrapped, chosen.model, data, training, context
        ),
        in_keras=lambda: train_pruned(
            chosen.model, _weights.kernels(chosen.model, plan), plan, data, training, context
        ),
        suits_tfmot=chosen.by_tfmot,
    )
    reached = {
        name: f"{share:.1%} of the weights are zero"
        for name, share in prune.zeros(model, plan).items()
    }
    return _weights.with_trained_model(candidate, model, "pruned", reached), rows


def _layer_prunings(plan: dict[str, dict[str, Any] | str]) -> dict[str, LayerPruning]:
    """Returns the settings of the layers that are pruned."""
    from tfcompress.training.pruning import LayerPruning

    return {n: LayerPruning(**each) for n, each in plan.items() if not isinstance(each, str)}


def _prepare(candidate: Candidate, options: PruneOptions) -> keras.Model:
    """Returns a copy whose kernels are pruned by whatever optimizer trains them."""
    from tfcompress.training import pruning

    check_prepares(options.engine)
    constant = options.schedule == "constant" or options.m_by_n
    require(
        bool(options.end_step is not None or constant),
        "prune raises the share of zeros until end_step, and how long you will train nobody knows: "
        "give end_step, such as 60% of the steps, or schedule='constant'",
    )
    chosen = _weights.choose(candidate.model, options.leave, "pruned", engine="keras")
    plan = _layer_prunings(_plan(chosen, options, steps=1))
    if options.end_step is None:
        plan = {
            name: dataclasses.replace(each, end_step=-1, frequency=options.frequency)
            for name, each in plan.items()
        }
    pruning.attach(_weights.kernels(chosen.model, plan), plan)
    return chosen.model


TECHNIQUE = Technique(
    name="prune",
    summary="the smallest weights become zero (TFMOT's magnitude pruning)",
    reference="Zhu and Gupta 2017, arXiv:1710.01878; Han, Pool, Tran, Dally 2015, arXiv:1506.02626",
    options=PruneOptions,
    transform=_transform,
    check=_transform,
    training=distilled(epochs=10, learning_rate=1e-3),
    storages=("float32",),
    fit=_fit,
    prepare=_prepare,
    produces=frozenset({Property.SPARSITY}),
    preserves=frozenset(),
    acts_in="training",
)
