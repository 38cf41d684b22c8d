"""HashedNets: dense layers, and if wanted convolutions, whose weights share fewer stored ones."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import InputError, one_of, require
from tfcompress.options import searched
from tfcompress.techniques import _blocks
from tfcompress.techniques._equivalents import taking_equivalents
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.graph import Graph

Hashing = Literal["permutation", "elementwise"]
Include = Literal["dense", "all"]
Init = Literal["projection", "scratch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HashedOptions:
    """Which layers are hashed, and how.

    Attributes:
        compression_ratio: stored by logical weights of the hashed layers; 1/8 as in Rassadin and
            Savchenko 2017 and in the first tables of Chen et al. 2015.
        hashing: `permutation` (files as small as the stored weights) or `elementwise` (the paper's;
            as small, and slower: its weights are expanded when the file first runs).
        hash_seed: of the first hashed layer; each further one has the next.
        hash_bias: whether biases are hashed, too, as Rassadin and Savchenko 2017 did. A file holds
            them expanded either way.
        include: `dense` for all dense layers, the last one included, as in both papers, or `all`
            for convolutions, too, but a first one of at most 4 input channels.
        init: `projection` starts from the stored weights nearest to the trained ones, `scratch`
            from new ones in the hashed layers. All other layers keep theirs.
    """

    compression_ratio: float = searched(1 / 8, 1 / 2, 1 / 4, 1 / 8, 1 / 16, grows=1)
    hashing: Hashing = "permutation"
    hash_seed: int = 0
    hash_bias: bool = False
    include: Include = "dense"
    init: Init = "projection"

    def __post_init__(self) -> None:
        """Refuses what no layer can have."""
        one_of("option hashing", self.hashing, get_args(Hashing))
        one_of("option include", self.include, get_args(Include))
        one_of("option init", self.init, get_args(Init))
        require(self.hash_seed >= 0, f"option hash_seed must be 0 or more; got {self.hash_seed}")
        from tfcompress.ops import hashing as hashes

        try:
            hashes.check_ratio(self.compression_ratio, self.hashing)
        except ValueError as error:
            raise InputError(f"option {error}") from error


def _transform(candidate: Candidate, options: HashedOptions) -> Candidate:
    """Replaces each layer that the options name, if its shared weights are fewer.

    Raises:
        InputError: the model can't be copied, or no layer of it gains.
    """
    from tfcompress.graph import Graph, clone, rewrite

    flat = clone(candidate.model)
    graph = Graph.of(flat)
    replace: dict[str, Any] = {}
    lines: list[LayerLine] = []
    for name, layer in graph.operations.items():
        if not _blocks.weighted(layer):
            continue
        why = _why_kept(graph, name, options)
        if why is None:
            new = _hashed(layer, options, options.hash_seed + len(replace))
            logical, stored = math.prod(layer.kernel.shape), math.prod(new.kernel.shape)
            if stored < logical:
                replace[name] = new
                text = f"{options.hashing}: {stored:,} of {logical:,} weights stored"
                lines.append(LayerLine(name, type(layer).__name__, "hashed", text))
                continue
            why = f"too small to gain: {stored:,} of {logical:,} weights would be stored"
        lines.append(LayerLine(name, type(layer).__name__, "kept", why))
    if not replace:
        raise _blocks.no_layer(flat, "hashed", lines)
    return candidate.then(rewrite(flat, replace), *lines)


def _why_kept(graph: Graph, name: str, options: HashedOptions) -> str | None:
    """Says why a weighted layer stays; None if it is to be hashed."""
    if options.include == "dense" and type(graph.operations[name]) is keras.layers.Conv2D:
        return "convolution: option include=all hashes it"
    return _blocks.not_shared(graph, name, "hashed")


def _hashed(layer: Any, options: HashedOptions, seed: int) -> Any:
    """Makes the hashed layer of the same shape, settings and name, built."""
    from tfcompress.layers import HashedConv2D, HashedDense

    kind = HashedDense if type(layer) is keras.layers.Dense else HashedConv2D
    new = kind.from_config(
        {
            **layer.get_config(),
            "compression_ratio": options.compression_ratio,
            "hashing": options.hashing,
            "hash_seed": seed,
            "hash_bias": options.hash_bias,
        }
    )
    new.build(tuple(layer.get_build_config()["input_shape"]))
    if options.init == "projection":
        bias = np.asarray(keras.ops.convert_to_numpy(layer.bias)) if layer.use_bias else None
        new.project(np.asarray(keras.ops.convert_to_numpy(layer.kernel)), bias)
    return new


def _sketch(candidate: Candidate, options: HashedOptions) -> Candidate:
    """Replaces the layers that `_transform` would, by new ones that know nothing of the old."""
    return _transform(candidate, dataclasses.replace(options, init="scratch"))


TECHNIQUE = taking_equivalents(
    Technique(
        name="hashed",
        summary="dense layers whose weights share 8 times fewer stored ones (HashedNets)",
        reference="Chen, Wilson, Tyree, Weinberger, Chen 2015, arXiv:1504.04788, section 4",
        options=HashedOptions,
        transform=_transform,
        check=_sketch,
        sketch=_sketch,
        training=distilled(epochs=10),
        storages=("float32",),
        produces=frozenset({Property.BUCKETS}),
    )
)
