"""The surgery that the decompositions share: layers replaced by factorised ones, one at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from tfcompress.config import InputError, Training, require, unknown_name
from tfcompress.graph import Graph, clone, rewrite
from tfcompress.graph.rewrite import nodes
from tfcompress.ops import ranks
from tfcompress.techniques import _blocks
from tfcompress.techniques.base import Candidate, LayerLine

Shape = tuple[int | None, ...]
Rank = int | tuple[int, int]

# A quarter of the MACs is where the exported layer is really 2.7 to 4 times faster and a few epochs
# of tuning bring the accuracy back to within about a point.
MACS_RATIO = 0.25
# Ranks chosen by cost are multiples of this from twice of it on, so that vector lanes are full.
_LANES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactoriseOptions:
    """How ranks are chosen: at most one of `rank` and `macs_ratio`, and `ranks` for some layers.

    Attributes:
        rank: the same for all layers that gain by it.
        ranks: of layers by name: `{"conv3": 64}`, or `conv3:64,conv4:96` as text. Alone it says
            which layers are replaced; with another option it takes precedence over that.
        macs_ratio: each layer's rank is the largest that needs no more than this share of its
            multiply-accumulates, rounded down to a multiple of 8 from 16 on; 0.25 if nothing else
            is given.
    """

    rank: int | None = None
    ranks: Mapping[str, Rank] | tuple[str, ...] = ()
    macs_ratio: float | None = None

    def __post_init__(self) -> None:
        """Refuses ranks that no layer can have, and several rules at once."""
        object.__setattr__(self, "ranks", _parsed(self.ranks))
        given = [name for name in self._rules() if getattr(self, name)]
        require(
            len(given) <= 1,
            f"give one of the options {', '.join(self._rules())}; got {' and '.join(given)}",
        )
        require(
            self.rank is None or self.rank >= 1, f"option rank must be positive; got {self.rank}"
        )
        require(
            self.macs_ratio is None or 0 < self.macs_ratio < 1,
            f"option macs_ratio must be in (0, 1); got {self.macs_ratio}",
        )
        if not given and not self.ranks:
            object.__setattr__(self, "macs_ratio", MACS_RATIO)

    def _rules(self) -> tuple[str, ...]:
        return "rank", "macs_ratio"

    def covers(self, name: str) -> bool:
        """Whether these options say a rank for a layer."""
        return name in self.ranks or any(getattr(self, rule) for rule in self._rules())


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectrumOptions(FactoriseOptions):
    """The same with two more rules, for ranks that are a matrix's.

    Attributes:
        energy: each layer's rank is the smallest that keeps this share of its squared singular
            values, in (0, 1].
        vbmf: each layer's rank is chosen by variational Bayesian matrix factorisation (Nakajima et
            al. 2013; for convolutions Kim et al. 2016).
    """

    energy: float | None = None
    vbmf: bool = False

    def __post_init__(self) -> None:
        """Refuses what isn't a share."""
        super().__post_init__()
        require(
            self.energy is None or 0 < self.energy <= 1,
            f"option energy must be in (0, 1]; got {self.energy}",
        )

    def _rules(self) -> tuple[str, ...]:
        return "rank", "macs_ratio", "energy", "vbmf"


def _parsed(given: Mapping[str, Rank] | Sequence[str]) -> dict[str, Rank]:
    """Ranks by layer name from either form.

    >>> _parsed(("conv3:64", "conv4:32x48"))
    {'conv3': 64, 'conv4': (32, 48)}
    """
    found: dict[str, Rank] = {}
    pairs: Any = given.items() if isinstance(given, Mapping) else (p.rsplit(":", 1) for p in given)
    for pair in pairs:
        try:
            name, rank = pair
            parts = rank.split("x") if isinstance(rank, str) else np.atleast_1d(rank).tolist()
            sizes = tuple(int(part) for part in parts)
            found[name] = sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])
            good = len(sizes) <= 2 and min(sizes) >= 1
        except (TypeError, ValueError):
            good = False
        require(good, f"option ranks takes name:rank, as in ranks=conv3:64; got {given!r}")
    return found


def training() -> Training:
    """Fine-tuning: the rate that the decomposed nets took well, the original as the teacher."""
    return Training(
        epochs=5,
        learning_rate=5e-4,
        distillation_weight=0.7,
        distillation_temperature=4.0,
    )


def factorise(
    candidate: Candidate,
    options: Any,
    forms: Sequence[Any],
    *,
    title: str,
    spatial_only: bool,
    **decomposition: Any,
) -> Candidate:
    """Replaces every inner convolution (or dense layer) that gains by a factorised one.

    The first weighted layer stays, since its few input channels leave nothing to gain, and so do
    the last ones, which give the scores; options that name them replace them all the same.

    Args:
        candidate: any functional or Sequential model; nested models are flattened.
        options: whose rules choose the ranks.
        forms: the layer classes, that of convolutions first; the first that takes a layer is
            used.
        title: of the lines that are printed.
        spatial_only: whether 1x1 convolutions are left alone.
        decomposition: further arguments of the forms' `from_conv`.

    Raises:
        InputError: the model can't be copied, no layer of it gains, or an option names a layer
            that isn't there or can't be replaced.
    """
    flat = clone(candidate.model)
    graph = Graph.of(flat)
    shapes = _shapes(flat)
    for name in options.ranks:
        if name not in graph.operations:
            raise unknown_name(f"layer of model '{flat.name}'", name, shapes)
    replace: dict[str, Any] = {}
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if not _blocks.weighted(layer):
            continue
        form, why = _form(graph, name, options, forms, spatial_only)
        plan = _Plan.make(layer, form, options, shapes[name]) if form else why
        if isinstance(plan, str):
            require(name not in options.ranks, f"layer '{name}' can't be replaced: {plan}")
            lines.append(LayerLine(name, type(layer).__name__, "kept", plan))
            continue
        new = form.from_layer(layer, plan.rank, **decomposition)
        replace[name] = new
        text = f"rank {_shown(new.rank)}, error {new.decomposition_error:.3f}, {plan.gain()}"
        print(f"{title:<10} {name}: {text}", flush=True)
        lines.append(LayerLine(name, type(layer).__name__, "factorised", text))
    if not replace:
        reasons = "; ".join(f"{line.name}: {line.reason}" for line in lines) or "it has no weights"
        raise InputError(f"no layer of model '{flat.name}' gains by {title} ({reasons})")
    return candidate.then(rewrite(flat, replace), *lines)


def _form(
    graph: Graph, name: str, options: Any, forms: Sequence[Any], spatial_only: bool
) -> tuple[Any, str]:
    """The class that replaces a layer, or None and why there is none."""
    layer = graph.operations[name]
    refusals = [form.refusal(layer) for form in forms]
    if all(refusals):
        if len(forms) == 1 or isinstance(layer, layers.Conv2D):
            return None, refusals[0]
        return None, f"{type(layer).__name__} has no factorised form: only Conv2D and Dense have"
    if name not in options.ranks:
        if not options.covers(name):
            return None, "not named in ranks"
        if _blocks.first(graph, name):
            return None, "first weighted layer: its few input channels leave nothing to gain"
        if _blocks.last(graph, name):
            return None, "last weighted layer: it gives the classes' scores"
    if spatial_only and getattr(layer, "kernel_size", None) == (1, 1):
        return None, "1x1: it has no spatial taps to separate; technique svd takes it"
    return forms[refusals.index(None)], ""


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a layer will cost at the rank that was chosen for it."""

    rank: Any
    macs: tuple[int, int]
    weights: tuple[int, int]

    @classmethod
    def make(cls, layer: Any, form: Any, options: Any, shapes: tuple[Shape, Shape]) -> _Plan | str:
        """The plan, or why there is none."""
        kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel))
        positions = math.prod(n or 1 for n in shapes[1][1:-1])
        before = positions * kernel.size

        def cost(rank: Any) -> int:
            return form.like(layer, rank).macs(*shapes)

        if layer.name in options.ranks:
            rank = options.ranks[layer.name]
        else:
            limit = before * (options.macs_ratio or 0)
            chosen = _rank(form, kernel, options, limit, cost)
            if chosen is None:
                needs = f"rank 1 needs {_millions(cost(form.rank_at(1, kernel.shape)))} of"
                return f"too small to gain: {needs} {_millions(before)} MACs"
            rank = chosen
        unbuilt = form.like(layer, rank)
        plan = cls(
            unbuilt.rank,
            (before, unbuilt.macs(*shapes)),
            (kernel.size, unbuilt.kernel_parameters(kernel.shape)),
        )
        worse = plan.macs[1] >= before or plan.weights[1] >= kernel.size
        if worse and layer.name not in options.ranks:
            return f"too small to gain: at rank {_shown(plan.rank)} {plan.gain()}"
        return plan

    def gain(self) -> str:
        """Costs before and after."""
        macs = " -> ".join(f"{_millions(n)}" for n in self.macs)
        weights = " -> ".join(f"{n:,}" for n in self.weights)
        return f"MACs {macs}, weights {weights}"


def _rank(form: Any, kernel: np.ndarray, options: Any, limit: float, cost: Any) -> Any:
    """The rank by the rule that is given, or None if no rank is cheap enough."""
    if options.rank:
        return options.rank
    if options.macs_ratio:
        steps = max(kernel.shape) * math.prod(kernel.shape[:-2])
        step = ranks.by_cost(lambda n: cost(form.rank_at(n, kernel.shape)), limit, steps)
        if step == 0:
            return None
        if step >= 2 * _LANES:
            step -= step % _LANES
        return form.rank_at(step, kernel.shape)
    if options.energy:
        found = [ranks.by_energy(matrix, options.energy) for matrix in form.matrices(kernel)]
    else:
        found = [ranks.by_variational_bayes(matrix) for matrix in form.matrices(kernel)]
    return found[0] if len(found) == 1 else tuple(found)


def _shapes(model: keras.Model) -> dict[str, tuple[Shape, Shape]]:
    """Input and output shape of each operation's first call."""
    shapes: dict[str, tuple[Shape, Shape]] = {}
    for node in nodes(model):
        if node.input_tensors:
            pair = tuple(node.input_tensors[0].shape), tuple(node.outputs[0].shape)
            shapes.setdefault(node.operation.name, pair)
    return shapes


def _shown(rank: Any) -> str:
    return "x".join(map(str, rank)) if isinstance(rank, tuple) else str(rank)


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.2f} M"
