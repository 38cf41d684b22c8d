"""What the decompositions share: each layer that gains is replaced by a factorised one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.config import Training
from tfcompress.deferred import keras
from tfcompress.errors import InputError, grouped, require, unknown_name
from tfcompress.ops import ranks
from tfcompress.techniques import _blocks
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques._factorise_options import FactoriseOptions, training
from tfcompress.techniques._responses import Approximate, Responses
from tfcompress.techniques.base import Candidate, LayerLine, Technique

if TYPE_CHECKING:
    from tfcompress.graph import Graph

Shape = tuple[int | None, ...]

# Ranks chosen by cost are multiples of this from twice of it on, so that vector lanes are full.
_LANES = 8


@dataclasses.dataclass(frozen=True)
class Round:
    """Holds the options of one layer's turn where layers are replaced one after another.

    Attributes:
        options: that name this layer alone.
        kept: the report's lines of the layers that no turn replaces; in the first turn only.
    """

    options: FactoriseOptions
    kept: tuple[LayerLine, ...]


def technique(
    *,
    name: str,
    summary: str,
    reference: str,
    options: type[FactoriseOptions],
    forms: tuple[str, ...],
    spatial_only: bool = False,
    first_only: bool = False,
    approximate: Approximate | None = None,
    storages: tuple[str, ...] = ("float32",),
) -> Technique:
    """Makes the technique that replaces layers by one kind of factors.

    Args:
        name: of the technique, and of the lines that it says.
        summary: for `--list`.
        reference: authors, year, arXiv id.
        options: the hyper-parameters' class.
        forms: as of `Factorisation`.
        spatial_only: as of `Factorisation`.
        first_only: as of `Factorisation`.
        approximate: as of `Factorisation`.
        storages: how the export writes it by default, as `Technique` has them.
    """
    factorisation = Factorisation(name, forms, spatial_only, approximate, first_only)
    return taking_equivalents(
        Technique(
            name=name,
            summary=summary,
            reference=reference,
            options=options,
            transform=factorisation.transform,
            check=factorisation.check,
            sketch=factorisation.sketch,
            rounds=factorisation.rounds,
            training=training,
            storages=storages,
        )
    )


@dataclasses.dataclass(frozen=True)
class Factorisation:
    """Replaces every inner convolution (or dense layer) that gains by a factorised layer.

    The first weighted layer stays if its few input channels (at most 4) leave little to gain, and
    so do the last ones, which give the scores; options that name them replace them all the same.

    Attributes:
        title: the first word of the lines that are said.
        forms: names of the classes in `tfcompress.layers`, that of convolutions first; the first
            that takes a layer is used.
        spatial_only: whether 1x1 convolutions are left alone.
        approximate: for `reconstruction=activations`, one of `ops.reconstruct`.
        first_only: whether, the other way round, a first weighted layer of few input channels is
            replaced and all others stay.
    """

    title: str
    forms: tuple[str, ...]
    spatial_only: bool
    approximate: Approximate | None = None
    first_only: bool = False

    def transform(self, candidate: Candidate, options: FactoriseOptions | Round) -> Candidate:
        """Replaces the layers that the options choose.

        Args:
            candidate: any functional or Sequential model; nested models are flattened.
            options: whose rules choose the ranks.

        Raises:
            InputError: the model can't be copied, no layer of it gains, an option names a layer
                that isn't there or can't be replaced, or there are no images to fit to.
        """
        from tfcompress.graph import rewrite

        turn = options if isinstance(options, Round) else None
        chosen = options.options if isinstance(options, Round) else options
        flat, plans = self._plans(candidate.model, chosen)
        replace: dict[str, Any] = {}
        lines = [*turn.kept] if turn else []
        arguments = {**chosen.structure(), **chosen.decomposition()}
        responses = None
        if chosen.by_responses():
            names = [name for name, plan in plans.items() if isinstance(plan, _Plan)]
            responses = Responses.of(flat, names, candidate.samples, self.title)
        for name, plan in plans.items():
            layer = flat.get_layer(name)
            if isinstance(plan, str):
                if turn is None:
                    lines.append(LayerLine(name, type(layer).__name__, "kept", plan))
                continue
            if responses is None:
                new = plan.form.from_layer(layer, plan.rank, **arguments)
                error = f"error {new.decomposition_error:.3f}"
            else:
                assert self.approximate is not None  # These options come with it.
                new, missed = responses.factorised(
                    name, plan.form, plan.rank, self.approximate, replace
                )
                error = f"error of the responses {missed:.3f}"
            replace[name] = new
            text = f"rank {_shown(new.rank)}, {error}, {plan.gain()}"
            candidate.say(self.title, f"{name}: {text}")
            lines.append(LayerLine(name, type(layer).__name__, "factorised", text))
        return candidate.then(rewrite(flat, replace), *lines)

    def check(self, candidate: Candidate, options: FactoriseOptions) -> None:
        """Raises what `transform` would, unless ranks depend on the trained weights."""
        if not options.by_spectrum():
            self._plans(candidate.model, options)

    def sketch(self, candidate: Candidate, options: FactoriseOptions) -> Candidate | None:
        """Replaces the layers that `transform` would, by factors that approximate nothing."""
        from tfcompress.graph import rewrite

        if options.by_spectrum():
            return None
        flat, plans = self._plans(candidate.model, options)
        replace = {
            name: plan.form.like(flat.get_layer(name), plan.rank, **options.structure())
            for name, plan in plans.items()
            if isinstance(plan, _Plan)
        }
        return candidate.then(rewrite(flat, replace))

    def rounds(
        self, candidate: Candidate, options: FactoriseOptions, settings: Training
    ) -> Sequence[tuple[Any, Training]]:
        """Returns one round, or with the iterative schedule one for each layer, with its rank.

        A training of no epochs trains nothing in between either.

        Reference:
            Astrid and Lee 2017, "CP-decomposition with Tensor Power Method for Convolutional
            Neural Networks Compression", arXiv:1701.07148.
        """
        if options.schedule == "once":
            return [(options, settings)]
        flat, plans = self._plans(candidate.model, options)
        kept = tuple(
            LayerLine(name, type(flat.get_layer(name)).__name__, "kept", plan)
            for name, plan in plans.items()
            if isinstance(plan, str)
        )
        between = dataclasses.replace(settings, epochs=options.layer_epochs)
        turns = [
            (Round(options.alone(name, plan.rank), ()), between if settings.epochs else settings)
            for name, plan in plans.items()
            if isinstance(plan, _Plan)
        ]
        turns[0] = dataclasses.replace(turns[0][0], kept=kept), turns[0][1]
        turns[-1] = turns[-1][0], settings
        return turns

    def _plans(
        self, model: keras.Model, options: FactoriseOptions
    ) -> tuple[keras.Model, dict[str, _Plan | str]]:
        """Returns a flat copy, and for each weighted layer its cost to be, or why it is kept."""
        from tfcompress import layers
        from tfcompress.graph import Graph, clone

        flat = clone(model)
        forms = [getattr(layers, name) for name in self.forms]
        graph = Graph.of(flat)
        shapes = _shapes(flat)
        for name in options.ranks:
            if name not in graph.operations:
                raise unknown_name(f"layer of model '{flat.name}'", name, shapes)
        plans: dict[str, _Plan | str] = {}
        for name, layer in graph.operations.items():
            if not _blocks.weighted(layer):
                continue
            form, why = self._form(graph, name, options, forms)
            plan = _Plan.make(layer, form, options, shapes[name]) if form else why
            if isinstance(plan, str):
                require(name not in options.ranks, f"layer '{name}' can't be replaced: {plan}")
            plans[name] = plan
        if not any(isinstance(plan, _Plan) for plan in plans.values()):
            reasons = grouped({name: str(why) for name, why in plans.items()})
            raise InputError(
                f"no layer of model '{flat.name}' gains by {self.title} "
                f"({reasons or 'it has no weights'})"
            )
        return flat, plans

    def _form(self, graph: Graph, name: str, options: Any, forms: Sequence[Any]) -> tuple[Any, str]:
        """Returns the class that replaces a layer, or None and why there is none."""
        layer = graph.operations[name]
        refusals = [form.refusal(layer) for form in forms]
        if all(refusals):
            if type(layer) in [form.replaces for form in forms]:
                return None, refusals[0]
            if len(forms) == 1:
                return None, _blocks.no_form(
                    layer, forms[0].__name__, "only Conv1D and Conv2D have"
                )
            taken = "only Conv1D, Conv2D, Dense and EinsumDense have"
            return None, _blocks.no_form(layer, "factorised", taken)
        if name not in options.ranks:
            if not options.covers(name):
                return None, "not named in ranks"
            few = _blocks.first_of_few_channels(graph, name)
            if self.first_only and not few:
                why = "not a first layer that sees an image's few channels"
                return None, f"{why}; option ranks={name}:RANK replaces it all the same"
            if few and not self.first_only:
                return None, f"{few}; option ranks={name}:RANK replaces it all the same"
            if _blocks.last(graph, name):
                return None, "last weighted layer: it gives the classes' scores"
        if self.spatial_only and getattr(layer, "kernel_size", None) == (1, 1):
            return None, "1x1: it has no spatial taps to separate; technique svd takes it"
        return forms[refusals.index(None)], ""


@dataclasses.dataclass(frozen=True)
class _Plan:
    """Says what a layer will cost at the rank that was chosen for it."""

    form: Any
    rank: Any
    macs: tuple[int, int]
    weights: tuple[int, int]
    macs_without_zeros: int | None

    @classmethod
    def make(cls, layer: Any, form: Any, options: Any, shapes: tuple[Shape, Shape]) -> _Plan | str:
        """Makes the plan for a layer, or says why there is none."""
        kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel))
        positions = math.prod(n or 1 for n in shapes[1][1:-1])
        before = positions * kernel.size

        def cost(rank: Any) -> int:
            return form.like(layer, rank, **options.structure()).macs(*shapes)

        if layer.name in options.ranks:
            rank = options.ranks[layer.name]
        else:
            limit = before * (options.macs_ratio or 0)
            chosen = _rank(form, kernel, options, limit, cost)
            if chosen is None:
                needs = f"rank 1 needs {_millions(cost(form.rank_at(1, kernel.shape)))} of"
                return f"too small to gain: {needs} {_millions(before)} MACs"
            rank = chosen
        unbuilt = form.like(layer, rank, **options.structure())
        plan = cls(
            form,
            unbuilt.rank,
            (before, unbuilt.macs(*shapes)),
            (kernel.size, unbuilt.kernel_parameters(kernel.shape)),
            unbuilt.macs_without_zeros(*shapes),
        )
        worse = plan.macs[1] >= before or plan.weights[1] >= kernel.size
        if worse and layer.name not in options.ranks:
            return f"too small to gain: at rank {_shown(plan.rank)} {plan.gain()}"
        return plan

    def gain(self) -> str:
        """Says the costs before and after."""
        macs = " -> ".join(f"{_millions(n)}" for n in self.macs)
        if self.macs_without_zeros is not None:
            macs += f" ({_millions(self.macs_without_zeros)} without those with 0)"
        weights = " -> ".join(f"{n:,}" for n in self.weights)
        return f"MACs {macs}, weights {weights}"


def _rank(form: Any, kernel: np.ndarray, options: Any, limit: float, cost: Any) -> Any:
    """Chooses the rank by the rule that is given; None if no rank is cheap enough."""
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
        chosen = [ranks.by_energy(matrix, options.energy) for matrix in form.matrices(kernel)]
    else:
        chosen = [ranks.by_variational_bayes(matrix) for matrix in form.matrices(kernel)]
    return chosen[0] if len(chosen) == 1 else tuple(chosen)


def _shapes(model: keras.Model) -> dict[str, tuple[Shape, Shape]]:
    """Returns the input and output shape of each operation's first call."""
    from tfcompress.graph.nodes import nodes

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
