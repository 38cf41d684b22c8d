"""Perforation: convolutions compute some of their outputs, and copy these to their neighbours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from tfcompress.deferred import keras
from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques import _blocks, _weights
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques.base import Candidate, LayerLine, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.graph import Graph
    from tfcompress.layers import PerforatedConv2D

Mask = Literal["grid", "rows", "columns", "uniform", "pooling", "impact"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerforateOptions:
    """How many outputs of which convolutions aren't computed.

    Attributes:
        rate: the share of an image's positions that aren't computed, from 0 to below 1; 0.75
            computes every other row and column.
        mask: `grid`, the crossings of evenly spaced rows and columns; `rows` or `columns`, some of
            these as a whole, which is faster at a rate of 0.5; `uniform`, random positions, which
            the paper found to be worse than a grid; `pooling`, those that most windows of an
            overlapping max pooling behind hold, a grid where none is; or `impact`, those that the
            loss depends on most, by 64 training examples.
        mask_seed: of the random positions, and of those that are as good as others.
        layers: rate by layer name or pattern, as in `conv1:0.5,conv*:0.75`.
        leave: names or patterns of layers that compute all their outputs.
    """

    rate: float = searched(0.75, low=0.25, high=0.75, step=0.25)
    mask: Mask = "grid"
    mask_seed: int = 0
    layers: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses rates that leave nothing, and unknown words."""
        _check_rate("option rate", self.rate)
        one_of("option mask", self.mask, get_args(Mask))
        require(self.mask_seed >= 0, f"option mask_seed must be 0 or more; got {self.mask_seed}")


def _check_rate(what: str, rate: float) -> None:
    require(0 <= rate < 1, f"{what} must be a share of positions in [0, 1); got {rate}")


def _transform(candidate: Candidate, options: PerforateOptions) -> Candidate:
    """Replaces convolutions; normalisation and activation behind them see what is computed.

    Both treat every position alike, so that the copies can be made behind them: the file then
    normalises and activates fewer values, and mostly within the convolution itself.

    Raises:
        InputError: the model can't be copied, a pattern fits no layer, or no layer gains.
    """
    from tfcompress.graph import Graph, clone, rewrite

    flat = clone(candidate.model)
    graph = Graph.of(flat)
    rates = _rates(graph, options)
    impacts = _impacts(graph, flat, rates, candidate, options)
    replace: dict[str, Callable[..., Any]] = {}
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if not _blocks.weighted(layer):
            continue
        kind = type(layer).__name__
        why = _why_kept(graph, name)
        if why is None and name not in rates:
            why = _weights.NAMED
        if why is None:
            positions, mask = _positions(graph, name, rates[name], options, impacts)
            new = _perforated(layer, rates[name], options, positions)
            shape = tuple(layer.input.shape)
            every, computed = map(math.prod, (new.output_size(shape), new.computed_size(shape)))
            if computed < every:
                functions, pooling = _block(graph, name, new)
                replace.update(functions)
                text = f"computes {computed:,} of {every:,} positions{mask}{pooling}"
                lines.append(LayerLine(name, kind, "perforated", text))
                continue
            why = f"too small: all of its {every} positions would be computed"
        lines.append(LayerLine(name, kind, "kept", why))
    if not replace:
        raise _blocks.no_layer(flat, "perforated", lines)
    return candidate.then(rewrite(flat, replace), *lines)


def _rates(graph: Graph, options: PerforateOptions) -> dict[str, float]:
    """Returns the rate of each convolution that isn't left."""
    names = [name for name in graph.operations if _why_kept(graph, name) is None]
    left = {
        name for pattern in options.leave for name in _weights.matches(pattern, graph.operations)
    }
    rates = {name: options.rate for name in names if name not in left}
    for name, text in _weights.overrides(options.layers, list(rates)).items():
        try:
            rates[name] = float(text)
        except ValueError:
            rates[name] = math.nan
        _check_rate(f"option layers: the rate of {name}", rates[name])
    return rates


def _why_kept(graph: Graph, name: str) -> str | None:
    """Says why a layer can't be perforated; None if it can."""
    layer = graph.operations[name]
    if type(layer) is not keras.layers.Conv2D:
        return _blocks.no_form(layer, "perforated", "only Conv1D and Conv2D have")
    if graph.calls[name] != 1:
        return f"shared: called {graph.calls[name]} times"
    if layer.groups != 1:
        return f"{layer.groups} groups; perforated convolutions have none"
    if layer.data_format != "channels_last":
        return "data_format is channels_first; PerforatedConv2D takes channels_last"
    if None in tuple(layer.input.shape)[1:]:
        return "its input's height or width isn't known"
    return None


def _impacts(
    graph: Graph,
    model: keras.Model,
    rates: Mapping[str, float],
    candidate: Candidate,
    options: PerforateOptions,
) -> dict[str, Any]:
    """Returns what the positions of each convolution matter, where the mask goes by that.

    Raises:
        InputError: there are no examples.
    """
    names = [name for name in rates if _why_kept(graph, name) is None]
    if options.mask != "impact" or not names:
        return {}
    require(
        candidate.samples is not None or candidate.data is not None,
        "perforate with mask=impact needs training examples: use tfcompress.compress or the "
        "command, not transform, or mask=grid",
    )
    from tfcompress.techniques._impacts import impacts

    return impacts(model, names, candidate)


def _positions(
    graph: Graph,
    name: str,
    rate: float,
    options: PerforateOptions,
    impacts: Mapping[str, Any],
) -> tuple[list[int] | None, str]:
    """Returns the positions that are computed, and words about them; None if the mask says it."""
    from tfcompress.ops import perforation as masks

    if name in impacts:
        return masks.highest(impacts[name], rate, options.mask_seed), " by their impact"
    if options.mask != "pooling":
        return None, ""
    block = _blocks.find(graph, name)
    if block.pool:
        pool, size = graph.operations[block.pool], graph.operations[name].output.shape[1:3]
        counts = masks.window_counts(size, pool.pool_size, pool.strides, pool.padding)
        if counts.min() != counts.max() and pool.data_format == "channels_last":
            return masks.highest(
                counts, rate, options.mask_seed
            ), f" by the windows of {block.pool}"
    return None, " of a grid: no max pooling with overlapping windows is behind"


def _perforated(
    layer: Any, rate: float, options: PerforateOptions, positions: list[int] | None
) -> PerforatedConv2D:
    """Makes the perforated layer of a convolution, with its weights."""
    from tfcompress.layers import PerforatedConv2D

    mask = options.mask if options.mask not in ("pooling", "impact") else "grid"
    return PerforatedConv2D.from_conv(
        layer,
        tuple(layer.input.shape),
        rate=rate,
        mask=mask,
        mask_seed=options.mask_seed,
        positions=positions,
    )


def _block(
    graph: Graph, name: str, new: PerforatedConv2D
) -> tuple[dict[str, Callable[..., Any]], str]:
    """Returns what stands for which layers of a convolution's block, and words about a pooling.

    Args:
        graph: of the model.
        name: of the convolution.
        new: in its place; whether it interpolates is set here.
    """
    block = _blocks.find(graph, name)
    bn, activation, pool = block.bn, block.activation, block.pool
    if activation and isinstance(graph.operations[activation], keras.layers.PReLU):
        activation = pool = None  # It may have a slope for every position.
    shape = tuple(graph.operations[name].input.shape)
    indices, computed = new.fill_indices(shape), new.computed_size(shape)
    grid = new.positions is None and new.mask != "uniform"
    if pool and grid:
        pooled = _behind_pool(name, graph.operations[pool], indices, computed)
        if pooled is not None:
            new.interpolate = False
            return {name: new, pool: pooled[0]}, f"; {pool} {pooled[1]}"
    last = activation or bn
    if last is None:
        return {name: new}, ""
    new.interpolate = False
    fill = _fill(name, indices, computed, None if grid else new.output_size(shape))
    before = graph.operations[last]
    return {name: new, last: lambda *args, **kwargs: fill(before(*args, **kwargs))}, ""


def _behind_pool(
    name: str, pool: Any, indices: Sequence[list[int]], computed: tuple[int, int]
) -> tuple[Callable[..., Any], str] | None:
    """Returns what pools the values that are computed, and words about it.

    Along an axis each of whose windows holds copies of one row (or column) nothing is compared.

    Args:
        name: of the convolution.
        pool: the max pooling behind it.
        indices: rows and columns that fill the output in.
        computed: height and width of what is computed.

    Returns:
        A function that gives what the pooling did; None if no axis is so, or another has copies.
    """
    left = [_one_a_window(each, pool, axis) for axis, each in enumerate(indices)]
    compared = [axis for axis in (0, 1) if left[axis] is None]
    if len(compared) == 2:
        return None
    if not compared:
        fill = _fill(name, [each or [] for each in left], computed)
        return fill, "is gone: it would compare copies"
    (axis,) = compared
    if indices[axis] != list(range(computed[axis])):
        return None
    sizes, strides = [1, 1], [1, 1]
    sizes[axis], strides[axis] = pool.pool_size[axis], pool.strides[axis]
    settings = {"pool_size": sizes, "strides": strides}
    narrow = type(pool).from_config({**pool.get_config(), **settings})
    size = tuple(pool.output.shape)[1 + axis]
    kept = [list(range(size)) if each is None else each for each in left]
    counts = [size if at == axis else computed[at] for at in (0, 1)]
    fill = _fill(name, kept, (counts[0], counts[1]))
    return lambda x: fill(
        narrow(x)
    ), "pools one axis alone: along the other it would compare copies"


def _one_a_window(indices: Sequence[int], pool: Any, axis: int) -> list[int] | None:
    """Returns which computed row (or column) each window of a pooling holds copies of.

    Args:
        indices: the computed row that each row is a copy of.
        pool: a max pooling.
        axis: 0 for rows, 1 for columns.

    Returns:
        One for each window; None if a window has several.
    """
    length, stride = pool.pool_size[axis], pool.strides[axis]
    if pool.data_format != "channels_last" or (
        pool.padding == "same" and (length != stride or len(indices) % stride)
    ):
        return None
    windows = [
        set(indices[start : start + length])
        for start in range(0, len(indices) - length + 1, stride)
    ]
    return [window.pop() for window in windows] if {*map(len, windows)} == {1} else None


def _fill(
    name: str,
    indices: Sequence[list[int]],
    computed: tuple[int, int],
    plane: tuple[int, int] | None = None,
) -> Callable[..., Any]:
    """Returns what makes the copies of what a layer computes; a function that passes it if none.

    Args:
        name: of the convolution.
        indices: rows and columns, as `NearestFill2D` takes them.
        computed: height and width of what is computed.
        plane: height and width of the whole, where `indices` make one row of it.
    """
    from tfcompress.layers import NearestFill2D

    if [list(each) for each in indices] == [list(range(n)) for n in computed]:
        return _blocks.pass_through
    fill = NearestFill2D(*indices, name=f"{name}_fill")
    if plane is None:
        return fill
    return lambda x: keras.layers.Reshape((*plane, x.shape[-1]), name=f"{name}_plane")(fill(x))


def _sketch(candidate: Candidate, options: PerforateOptions) -> Candidate:
    """Leaves out as many positions as `transform` would; which ones may depend on the weights."""
    if options.mask == "impact":
        options = dataclasses.replace(options, mask="uniform")
    return _transform(candidate, options)


TECHNIQUE = taking_equivalents(
    Technique(
        name="perforate",
        summary="convolutions compute every other row and column, and copy these to the rest",
        reference="Figurnov, Ibraimova, Vetrov, Kohli 2016, arXiv:1504.08362, section 3",
        options=PerforateOptions,
        transform=_transform,
        check=_sketch,
        sketch=_sketch,
        training=distilled(epochs=10),
        storages=("float32",),
    )
)
