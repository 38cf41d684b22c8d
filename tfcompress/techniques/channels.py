"""Structured pruning: whole channels are cut out, and the network is a smaller plain one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques import _channel_budget as budgets
from tfcompress.techniques import _channel_counts as channel_counts
from tfcompress.techniques import _channel_lines as report_lines
from tfcompress.techniques import _channel_scores as channel_scores
from tfcompress.techniques import _channel_sparse as sparse
from tfcompress.techniques import _channel_widths as channel_widths
from tfcompress.techniques._new_weights import with_new_weights
from tfcompress.techniques.base import Candidate, Control, Technique, distilled

if TYPE_CHECKING:
    import keras

    from tfcompress.graph.channels import ChannelGraph

_ByWeights = Literal["l1", "l2", "fpgm", "bn_scale", "random"]
_ByExamples = Literal["taylor", "obd", "apoz", "hrank", "thinet"]
Criterion = Literal["auto", _ByWeights, _ByExamples]
LayerNorms = Literal["auto", "cut", "keep"]
Scope = Literal["global", "layer"]
Repair = Literal["auto", "least_squares", "mean", "none"]
IterationSchedule = Literal["linear", "cubic"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChannelOptions:
    """Which channels go, and what is done about it before the network is trained.

    Attributes:
        macs_ratio: the share of the multiply-accumulates that stays, above 0 and at most 1; 0.5
            where none of the three ratios is given.
        size_ratio: in its place, the share of the bytes of the model's float32 `.tflite` file:
            narrower networks are written, before any training, until the file is within 2% below.
        latency_ratio: likewise, the share of the time that the float32 file takes by LiteRT on one
            CPU thread of this machine, measured in turns with the whole model's, within 5% below.
        widths: in place of all ratios, how many channels layers keep: `{"conv3": 64}`, or
            `conv3:64,conv4:96` as text; layers that aren't named keep theirs. Of layers whose
            channels live and die together the first is named. A search by `--engine=greedy` ends
            in such widths.
        criterion: what a channel is scored by: `l1` or `l2`, the size of its filters' weights (Li
            et al. 2017, arXiv:1608.08710); `fpgm`, their distance to the layer's other filters (He
            et al. 2019, arXiv:1811.00250); `bn_scale`, the scale of the batch normalisation behind
            (Liu et al. 2017, arXiv:1708.06519); or `random`, the control. By training examples:
            `taylor`, the gradient of the loss by a factor of the channel (Molchanov et al. 2019,
            arXiv:1906.10771); `obd`, its weights' squares by those of their gradients (LeCun et
            al. 1989, NIPS); `apoz`, the share of its values behind ReLU that aren't 0 (Hu et al.
            2016, arXiv:1607.03250); `hrank`, the mean rank of its maps (Lin et al. 2020,
            arXiv:2002.10179); `thinet`, how long the layers that take it can't do without it (Luo
            et al. 2017, arXiv:1707.06342). What a criterion can't score, `l2` does. `auto` is
            `taylor` where there are examples, and else `l2`.
        scope: `layer` takes the same share of every layer; `global` ranks all channels together,
            after division by their layer's mean.
        min_channels: that every layer keeps, beside a tenth of its own.
        round_to: layers keep a multiple of so many channels where they have as many, twice that
            above 64: what processors compute at once; 8 is enough without AVX-512.
        layer_norms: whether channels can go that a `LayerNormalization`, an `RMSNormalization` or a
            `UnitNormalization` takes, whose statistics are then those of fewer channels: `cut` or
            `keep`; `auto` cuts them where a training behind it makes up for that.
        repair: `least_squares` refits each layer that takes fewer channels to what it gave on 256
            training examples (He, Zhang, Sun 2017, arXiv:1707.06168, section 3.1); `mean` only
            puts the means of the channels in their place; `none` does nothing; `auto` is least
            squares where there are examples.
        criterion_seed: of the criterion `random`.
        iterations: rounds of cutting and training, each with scores of its own; they share the
            epochs of the training. `tfcompress.transform`, which doesn't train, takes one.
        iteration_schedule: `linear` cuts as much in each round; `cubic` most in the first ones (Zhu
            and Gupta 2017, arXiv:1710.01878).
        sparse_epochs: epochs before the first cut that train all channels with a penalty on them;
            `tfcompress.transform`, which doesn't train, takes 0.
        sparse_penalty: `gamma`, the absolute scales of the batch normalisations that the channels
            pass (Liu et al. 2017, arXiv:1708.06519); `filters`, the norms of the filters that make
            them (Wen et al. 2016, arXiv:1608.03665); `groups`, the norms of all weights that go
            with a channel, in whatever layers (Fang et al. 2023, arXiv:2301.12900); or `growing`,
            a decay of the channels that the criterion would cut out before the training, which
            grows from step to step until nothing is left of them (Wang et al. 2021,
            arXiv:2012.09243).
        sparse_strength: its factor in the loss, of `growing` the decay's growth a step; 1e-4 is
            what Liu et al. take for VGG on CIFAR-10, and empties channels in about 350 steps.
        control: whether the command also trains the same widths from scratch, as it trained the
            baseline, for as many epochs as the baseline and the technique took (Liu et al. 2019,
            arXiv:1810.05270): the report says what that file is worth.
    """

    macs_ratio: float | None = searched(None, low=0.15, high=0.75, step=0.05, grows=1)
    size_ratio: float | None = None
    latency_ratio: float | None = None
    widths: Mapping[str, int] | tuple[str, ...] = ()
    criterion: Criterion = "auto"
    scope: Scope = "layer"
    min_channels: int = 4
    round_to: int = channel_widths.ROUND_TO
    layer_norms: LayerNorms = "auto"
    repair: Repair = "auto"
    criterion_seed: int = 0
    iterations: int = 1
    iteration_schedule: IterationSchedule = "linear"
    sparse_epochs: int = 0
    sparse_penalty: sparse.Penalty = "gamma"
    sparse_strength: float = 1e-4
    control: bool = False

    def __post_init__(self) -> None:
        """Refuses unknown words, and numbers that no network can have."""
        budgets.check_ratios(macs_ratio=self.macs_ratio, **self._file_ratios())
        object.__setattr__(self, "widths", channel_counts.parsed(self.widths))
        if self.widths:
            ratios = {"macs_ratio": self.macs_ratio, **self._file_ratios()}
            given = [name for name, value in ratios.items() if value is not None]
            require(not given, f"widths say how much stays: leave {', '.join(given)} out")
            require(
                self.iterations == 1,
                f"iterations={self.iterations} takes a ratio, of which each round has a part; "
                "with widths all is cut at once",
            )
        one_of("option criterion", self.criterion, get_args(Criterion))
        one_of("option scope", self.scope, get_args(Scope))
        one_of("option layer_norms", self.layer_norms, get_args(LayerNorms))
        one_of("option repair", self.repair, get_args(Repair))
        one_of("option iteration_schedule", self.iteration_schedule, get_args(IterationSchedule))
        one_of("option sparse_penalty", self.sparse_penalty, get_args(sparse.Penalty))
        leasts = {"min_channels": 1, "round_to": 1, "criterion_seed": 0, "iterations": 1}
        for name, least in {**leasts, "sparse_epochs": 0, "sparse_strength": 0}.items():
            value = getattr(self, name)
            require(value >= least, f"option {name} must be {least} or more; got {value}")

    def rules(self) -> channel_widths.Rules:
        """Returns what the choice of channels goes by."""
        share = 0.5 if self.macs_ratio is None else self.macs_ratio
        return channel_widths.Rules(share, self.scope, self.min_channels, self.round_to)

    def ratio(self) -> tuple[str, float]:
        """Returns the option that says how much stays, and its value."""
        given = [(name, value) for name, value in self._file_ratios().items() if value is not None]
        return given[0] if given else ("macs_ratio", self.rules().macs_ratio)

    def budget(self) -> budgets.Budget | None:
        """Returns what the file may keep; None where the multiply-accumulates are asked for."""
        name, value = self.ratio()
        if name == "macs_ratio":
            return None
        return budgets.Budget("size" if name == "size_ratio" else "latency", value)

    def graph(self, model: keras.Model, *, trained: bool) -> ChannelGraph:
        """Returns a model's channels, and which of them can go.

        Args:
            model: a functional or Sequential model.
            trained: whether a training follows.
        """
        from tfcompress.graph.channels import ChannelGraph

        keeps = self.layer_norms == "keep" or (self.layer_norms == "auto" and not trained)
        return ChannelGraph(model, exact=keeps)

    def choose(
        self, graph: ChannelGraph, candidate: Candidate
    ) -> tuple[channel_widths.Widths, Mapping[str, str]]:
        """Returns which channels of which groups stay, and by which criterion each was scored.

        Raises:
            InputError: so many can't go, or the criterion needs examples and there are none.
        """
        criterion = channel_scores.chosen(self.criterion, candidate)
        scores, criteria = channel_scores.scored(graph, criterion, self.criterion_seed, candidate)
        if self.widths:
            return channel_counts.choose(graph, scores, self._counts()), criteria
        budget = self.budget()
        if budget is None:
            return channel_widths.choose(graph, scores, self.rules()), criteria
        return budgets.choose(graph, scores, self.rules(), budget, candidate), criteria

    def relative(self, candidate: Candidate) -> ChannelOptions:
        """Returns the options with the ratio to the candidate's model as it is."""
        return self

    @property
    def title(self) -> str:
        """What stands before the name of a milestone: which round it is, of several."""
        return ""

    def start(self, candidate: Candidate) -> Candidate:
        """Returns the candidate before the technique's first round, which this one is."""
        return candidate

    def _counts(self) -> channel_counts.Counts:
        assert isinstance(self.widths, Mapping)  # They were parsed.
        return self.widths

    def check(self, candidate: Candidate) -> None:
        """Raises what `choose` would, whatever the weights.

        Raises:
            InputError: as `choose`, but for the criterion's examples.
        """
        graph, budget = self.graph(candidate.model, trained=True), self.budget()
        if self.widths:
            channel_counts.check(graph, self._counts())
        elif budget is None:
            channel_widths.check(graph, self.rules())
        else:
            budgets.check(graph, self.rules(), budget, candidate)
        if self.sparse_epochs:
            sparse.penalised(graph, self.sparse_penalty)

    def _file_ratios(self) -> dict[str, float | None]:
        return {"size_ratio": self.size_ratio, "latency_ratio": self.latency_ratio}


def _transform(candidate: Candidate, options: ChannelOptions | sparse.SparsePhase) -> Candidate:
    """Cuts the channels with the lowest scores out, and repairs what is left.

    Raises:
        InputError: the model has no channels that can go, or not so many; or there are no examples
            for the criterion or the repair that is asked for.
    """
    if isinstance(options, sparse.SparsePhase):
        return options.apply(candidate)
    require(
        options.sparse_epochs == 0,
        f"channels with sparse_epochs={options.sparse_epochs} trains the network before it is cut: "
        "use tfcompress.compress or the command, not transform",
    )
    options, start = options.relative(candidate), options.start(candidate)
    repair = options.repair
    if repair == "auto":
        repair = "none" if candidate.samples is None else "least_squares"
    require(
        repair == "none" or candidate.samples is not None,
        f"channels with repair={repair} needs training examples: use tfcompress.compress or the "
        "command, not transform, or repair=none",
    )
    trained = candidate.data is not None
    graph = options.graph(candidate.model, trained=trained)
    kept, criteria = options.choose(graph, candidate)
    small = graph.keep(kept)
    candidate = candidate.judged(f"{options.title}channels cut out, not repaired", small)
    errors = _repair(graph, small, kept, candidate.samples, repair)
    if repair != "none":
        candidate = candidate.judged(f"{options.title}repaired, not trained", small)
    whole = graph if start is candidate else options.graph(start.model, trained=trained)
    lines = report_lines.lines(whole, graph, kept, errors, criteria)
    for line in lines:
        if line.action == "narrowed":
            candidate.say("channels", f"{line.name}: {line.reason}")
    made = report_lines.layer_widths(whole, graph, kept)
    candidate = dataclasses.replace(
        candidate,
        layers=start.layers,
        widths=(*start.widths, *made),
        control=Control(with_new_weights(small), "the same widths from scratch")
        if options.control
        else candidate.control,
    )
    return candidate.then(small, *lines)


def _repair(
    graph: ChannelGraph, small: keras.Model, kept: channel_widths.Widths, samples: Any, method: str
) -> Mapping[str, float]:
    """Repairs the smaller model; returns the relative error of the layers that were refitted."""
    from tfcompress.techniques._channel_repair import Repair as Repairer

    if method == "none":
        return {}
    repairer = Repairer(graph, small, kept, samples)
    if method == "least_squares":
        return repairer.by_least_squares()
    repairer.by_means()
    return {}


def _rounds(
    candidate: Candidate, options: ChannelOptions, settings: Training
) -> Sequence[tuple[ChannelOptions | sparse.SparsePhase, Training]]:
    """Returns the rounds of cutting and training, and before them the one with a penalty."""
    from tfcompress.techniques._channel_rounds import rounds

    epochs = options.sparse_epochs
    turns = rounds(candidate, dataclasses.replace(options, sparse_epochs=0), settings)
    if not epochs:
        return turns
    phase = sparse.SparsePhase(options)
    return [(phase, dataclasses.replace(settings, epochs=epochs)), *turns]


def _check(candidate: Candidate, options: ChannelOptions) -> None:
    """Raises what `transform` would, whatever the weights."""
    options.check(candidate)


def _sketch(candidate: Candidate, options: ChannelOptions) -> Candidate:
    """Cuts channels out of the same layers that `transform` would; how many is by these weights.

    Of a file's bytes or time the same share of the multiply-accumulates is taken.
    """
    if options.layer_norms == "auto":
        options = dataclasses.replace(options, layer_norms="cut")
    budget = options.budget()
    if budget is not None:
        graph = options.graph(candidate.model, trained=True)
        least, _ = channel_widths.least_macs(graph, options.rules())
        share = max(budget.ratio, least)
        options = dataclasses.replace(
            options, macs_ratio=share, size_ratio=None, latency_ratio=None
        )
    plain = dataclasses.replace(
        options, repair="none", criterion="l2", sparse_epochs=0, control=False
    )
    return _transform(candidate, plain)


TECHNIQUE = Technique(
    name="channels",
    summary="structured pruning: whole channels cut out, through sums, joins and splits",
    reference=(
        "Molchanov et al. 2019, arXiv:1906.10771 (scores); He, Zhang, Sun 2017, arXiv:1707.06168, "
        "section 3.1 (least squares); Fang et al. 2023, arXiv:2301.12900 (groups)"
    ),
    options=ChannelOptions,
    transform=_transform,
    rounds=_rounds,
    check=_check,
    sketch=_sketch,
    training=distilled(epochs=10),
    storages=("float32",),
)
