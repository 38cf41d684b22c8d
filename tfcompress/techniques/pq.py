"""Product quantisation: kernels that are put together of the blocks of a codebook."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques import _blocks, _layer_inputs
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques._weights import NAMED, matches
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.graph import Graph
    from tfcompress.layers import CodebookConv2D, CodebookDense

Weighting = Literal["activations", "none"]
Include = Literal["all", "dense"]

# What the ops that look a layer's weights up take in the file: 1,200 bytes of a dense layer, 4,100
# of a 3x3 convolution.
_OPS_BYTES = 4096
# Up to so many centroids two codes fit in 16 bits.
_ONE_BYTE = 181


@dataclasses.dataclass(frozen=True, kw_only=True)
class PqOptions:
    """Which layers get codebooks, and of what size.

    Attributes:
        centroids: blocks in a codebook, at most a quarter of the kernel's blocks. 181, where Stock
            et al. have 256, is the most of which a file holds two codes in 16 bits; it holds three
            of up to 32.
        conv_block: input channels in a block of a convolution, each with the whole window: 1 is 9
            weights of a 3x3 kernel, the paper's small blocks; 2 its large ones.
        dense_block: weights in a block of a dense layer or a 1x1 convolution; 4 are the paper's
            small blocks, 8 its large ones.
        weighting: `activations` chooses blocks by the error of the layer's outputs on training
            examples, as Stock et al. do; `none` by that of the weights, as Gong et al. do.
        include: `all`, or `dense` for dense layers alone, as Gong et al. have it.
        leave: names or patterns of layers that stay as they are.
    """

    centroids: int = searched(181, 32, 181)
    conv_block: int = searched(1, 1, 2)
    dense_block: int = 4
    weighting: Weighting = "activations"
    include: Include = "all"
    leave: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what no layer can have."""
        one_of("option weighting", self.weighting, get_args(Weighting))
        one_of("option include", self.include, get_args(Include))
        require(
            2 <= self.centroids <= 2048,
            f"option centroids must be from 2 to 2048; got {self.centroids}",
        )
        for name in ("conv_block", "dense_block"):
            value = getattr(self, name)
            require(value >= 1, f"option {name} must be 1 or more; got {value}")


def _transform(candidate: Candidate, options: PqOptions) -> Candidate:
    """Replaces layers by those with codebooks, from the first on: each sees those before it.

    Raises:
        InputError: the model can't be copied, no layer gains, or a pattern fits no layer.
    """
    from tfcompress.graph import Graph

    sketch = _sketch(candidate, options)
    old = Graph.of(candidate.model).operations
    graph = Graph.of(sketch.model)
    for name, layer in graph.operations.items():
        if not hasattr(layer, "codes") or name not in old:
            continue
        kernel, *bias = (np.asarray(w) for w in old[name].get_weights())
        moments = None
        weighs = options.weighting == "activations" and graph.calls[name] == 1
        if weighs and candidate.samples is not None:
            moments = _moments(sketch.model, layer, candidate.samples)
        layer.project(kernel, *bias, moments=moments)
    return sketch


def _moments(model: keras.Model, layer: Any, samples: Any) -> np.ndarray:
    """Returns the layer's `moments_of` what it sees of some examples."""
    inputs = math.prod(layer.logical_shape()[:-1])
    seen = _layer_inputs.rows(model, {layer.name}, samples, inputs)
    return np.asarray(layer.moments_of(np.concatenate([rows for _, rows in seen])))


def _sketch(candidate: Candidate, options: PqOptions) -> Candidate:
    """Replaces layers by those with codebooks, whose codes and blocks are still arbitrary."""
    from tfcompress.graph import Graph, clone, rewrite

    flat = clone(candidate.model)
    graph = Graph.of(flat)
    for pattern in options.leave:
        matches(pattern, graph.operations)
    replace: dict[str, Any] = {}
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if not _blocks.weighted(layer):
            continue
        kind = type(layer).__name__
        why = _why_kept(graph, name, options)
        if why is None:
            new = _with_codebook(layer, options)
            why = _too_small(new)
            if why is None:
                replace[name] = new
                count, size = new.codebook.shape
                codes = math.prod(new.codes.shape)
                text = f"{codes:,} blocks of {size} weights from a codebook of {count}"
                lines.append(LayerLine(name, kind, "quantised", text))
                continue
        lines.append(LayerLine(name, kind, "kept", why))
    if not replace:
        raise _blocks.no_layer(flat, "quantised", lines)
    return candidate.then(rewrite(flat, replace), *lines)


def _why_kept(graph: Graph, name: str, options: PqOptions) -> str | None:
    """Says why a weighted layer stays; None if it is to get a codebook."""
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in options.leave):
        return NAMED
    if options.include == "dense" and type(graph.operations[name]) is keras.layers.Conv2D:
        return "convolution: option include=all gives it a codebook"
    return _blocks.not_shared(graph, name, "codebook")


def _with_codebook(layer: Any, options: PqOptions) -> CodebookConv2D | CodebookDense:
    """Makes the layer with a codebook of the same shape, settings and name, built."""
    from tfcompress.layers import CodebookConv2D, CodebookDense

    dense = type(layer) is keras.layers.Dense
    one = dense or math.prod(layer.kernel_size) == 1
    own: Mapping[str, Any] = {
        "centroids": options.centroids,
        "block_channels": options.dense_block if one else options.conv_block,
    }
    new = (CodebookDense if dense else CodebookConv2D).from_config({**layer.get_config(), **own})
    new.build(tuple(layer.get_build_config()["input_shape"]))
    return new


def _too_small(layer: CodebookConv2D | CodebookDense) -> str | None:
    """Says why a layer wouldn't make the file smaller; None if it does."""
    count, size = layer.codebook.shape
    codes = math.prod(layer.codes.shape) * (1 if count <= _ONE_BYTE else 2)
    stored, floats = codes + 2 * count * size, 4 * math.prod(layer.logical_shape())
    if stored + _OPS_BYTES < floats:
        return None
    return (
        f"too small to gain: codes and codebook take {stored:,} bytes and the ops that look them "
        f"up about {_OPS_BYTES:,}, the weights {floats:,}"
    )


TECHNIQUE = taking_equivalents(
    Technique(
        name="pq",
        summary="kernels of blocks from a codebook that is trained (product quantisation)",
        reference=(
            "Gong, Liu, Yang, Bourdev 2014, arXiv:1412.6115; Stock, Joulin, Gribonval, Graham, "
            "Jégou 2020, arXiv:1907.05686"
        ),
        options=PqOptions,
        transform=_transform,
        check=_sketch,
        sketch=_sketch,
        training=distilled(epochs=10, learning_rate=1e-3),
        storages=("pq",),
        produces=frozenset({Property.QUANTISED}),
    )
)
