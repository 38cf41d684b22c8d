"""What a storage is: one way to write the weights of a Keras model into a `.tflite` file.

Nothing here imports Keras or TensorFlow, so that storages are listed at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfcompress.config import RANGES, ROUNDINGS
from tfcompress.errors import InputError
from tfcompress.export.smoke_run import smoke_run
from tfcompress.runtime.process import Cost

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tfcompress.export.exported import LayerBits
    from tfcompress.export.noise_budget import NoiseBudget
    from tfcompress.export.validation import Validation
    from tfcompress.runtime.rows import Rows
    from tfcompress.tflite.content import FileContent


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelTraits:
    """What a storage must know of a model; `export.traits.traits_of` reads it once.

    Attributes:
        binary_inputs: the name of the first layer with binary inputs; None if there is none.
        input_levels: whether such layers have inputs of 2 bits.
        hashed: whether there are layers with element-wise hashed kernels.
        trained_ranges: whether `FakeQuantize` layers round to 8 bits throughout, with ranges from a
            training; of a network with binary inputs they round those of its first layer alone.
        few_bits: whether layers have weights that were trained for a few bits.
        simulated: whether `MinMaxQuantize` layers simulate 8 bits in floats.
    """

    binary_inputs: str | None = None
    input_levels: bool = False
    hashed: bool = False
    trained_ranges: bool = False
    few_bits: bool = False
    simulated: bool = False


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far a file's outputs may lie from Keras's.

    Attributes:
        max_abs: the largest difference of an output, as a share of the largest output.
        min_agreement: the share of images whose label must be Keras's.
        max_relative_rms: the largest `Parity.relative_rms`.
    """

    max_abs: float
    min_agreement: float
    max_relative_rms: float = float("inf")


# The file computes what Keras computes, but for the order of additions.
EXACT = Tolerance(max_abs=1e-5, min_agreement=1.0)


@dataclasses.dataclass(frozen=True)
class BuildJob:
    """What a storage builds a file of.

    Attributes:
        model: the Keras model, with our layers.
        traits: of the model.
        storage: the storage's name, for errors.
        folder: an empty folder to write into.
        ranging: images, or rows of whatever the model takes, from which integer activations take
            their ranges. None unless the method asks for them.
        validation: labelled images that decide which layers keep more bits, or None.
        noise_budget: what allots bits by layer without images, or None.
        usual: the shape of a batch of 1 of each input, where some sizes aren't fixed; else None.
        ranges: one of `RANGES`.
        rounding: one of `ROUNDINGS`.
        short_names: whether tensors are named by one layer instead of all that were merged.
    """

    model: keras.Model
    traits: ModelTraits
    storage: str
    folder: Path
    ranging: Rows | None = None
    validation: Validation | None = None
    noise_budget: NoiseBudget | None = None
    usual: Sequence[tuple[int, ...]] | None = None
    ranges: str = RANGES[0]
    rounding: str = ROUNDINGS[0]
    short_names: bool = False


@dataclasses.dataclass(frozen=True)
class Rebuild:
    """How a file is written again, with more bits for some of its layers.

    Attributes:
        write: writes the file anew in its place, with more bits for the ops that have these output
            names.
        more: what each weighted op's weights become then, such as `floats`, by the op's output
            name, in the file's order.
        layers: the layer of each of these ops, by the op's output name.
        behind: output names of the ops without weights that follow it and may get more bits, too.
    """

    write: Callable[[Collection[str]], None]
    more: Mapping[str, str]
    layers: Mapping[str, str]
    behind: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class BuiltFile:
    """A file in its temporary folder, and what it was built from.

    Attributes:
        path: the file.
        float_path: the float file that it was built from.
        lowered: the model in built-in layers, as it was converted.
        kept: layers that kept more bits than the storage gives, and why.
        signatures: of a file with two signatures: each of them, the default one first.
        rebuild: how it is written again with more bits for some layers; None if it can't be.
        higher: output names of the ops that got more bits by that, which the audit lets be floats.
        notes: what the file's user should know, a sentence each.
        bits: of each layer, where they were chosen.
    """

    path: Path
    float_path: Path
    lowered: keras.Model
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    signatures: tuple[BuiltSignature, ...] = ()
    rebuild: Rebuild | None = None
    higher: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    bits: Mapping[str, LayerBits] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class BuiltSignature:
    """One signature of a file with two.

    Attributes:
        name: by which programs call it; None for the only graph of a file with one signature.
        method: how it was built.
        built: the file that it was before the two were joined.
    """

    name: str | None
    method: Method
    built: BuiltFile


def _run_in_litert(path: Path, signature: str | None, images: Rows | None) -> FirstRun:
    """Loads and runs a file once, by LiteRT in a process of its own."""
    return FirstRun(smoke_run(path, signature))


def _oldest_runtime(content: FileContent) -> str:
    from tfcompress.tflite.versions import oldest

    return str(oldest(content.of()))


@dataclasses.dataclass(frozen=True)
class FirstRun:
    """A file's first run.

    Attributes:
        cost: the time of a load and the peak memory.
        outputs: for the images, each of the file's, where another runtime than LiteRT ran it; else
            None.
    """

    cost: Cost
    outputs: Sequence[np.ndarray] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """Who runs a file.

    Attributes:
        custom_ops: ops of the file that LiteRT itself doesn't have.
        needs: what runs them, in two or three words, such as `1-bit kernels`; empty if none.
        opaque: whether these ops keep their values to themselves, so that layers and signs are
            looked into in the float file that the file was built from.
        in_litert: whether LiteRT loads the file, alone or with a delegate of ours.
        first_run: loads and runs a file, one signature of it, before it may harm this process:
            from the path, the signature and the images to compare on.
        oldest: names the oldest runtime that can run a file.
    """

    custom_ops: tuple[str, ...] = ()
    needs: str = ""
    opaque: bool = False
    in_litert: bool = True
    first_run: Callable[[Path, str | None, Rows | None], FirstRun] = _run_in_litert
    oldest: Callable[[FileContent], str] = _oldest_runtime


LITERT = Runtime()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """How a storage writes the models of one kind.

    Attributes:
        build: writes the file.
        audit: yields what is wrong with the types in a file, whose custom ops are left out.
        tolerance: how far the file's outputs may lie from Keras's.
        rounds: whether values before the last layer differ from Keras's by more than the order of
            additions makes. Signs behind such values would turn.
        integer: whether all ops are meant to compute in integers.
        takes_bytes: whether a file of a network whose first layer is in 8 bits can take its inputs
            as integers.
        needs_ranges: whether `build` takes images for the ranges of integer activations, and
            validation images to choose layers that keep more bits.
        roundings: how it can round weights, of `ROUNDINGS`.
        runtime: who runs the file.
        hint: what to do where a file differs too much from Keras, if it isn't the same for all.
    """

    build: Callable[[BuildJob], BuiltFile]
    audit: Callable[[FileContent], Iterable[str]]
    tolerance: Tolerance = EXACT
    rounds: bool = False
    integer: bool = False
    takes_bytes: bool = False
    needs_ranges: bool = False
    roundings: tuple[str, ...] = ROUNDINGS[:1]
    runtime: Runtime = LITERT
    hint: str = ""

    @property
    def exact(self) -> bool:
        """Whether the file computes what Keras computes."""
        return self.tolerance == EXACT


def refuse_rounding_layers(traits: ModelTraits) -> str | None:
    """Returns why a storage can't hold a model whose layers round; None if they don't."""
    if traits.trained_ranges:
        return (
            "can't hold a model with FakeQuantize layers, which round to 8 bits at every layer: "
            "use int8"
        )
    if traits.simulated:
        return (
            "can't hold a model with MinMaxQuantize layers, which simulate 8 bits in floats: use "
            "float32"
        )
    return None


def refuse_signs(traits: ModelTraits) -> str | None:
    """Returns why a storage that rounds every weight can't hold a model; None if it can."""
    reason = refuse_rounding_layers(traits)
    if reason is None and traits.binary_inputs is not None:
        return (
            f"rounds the weights before the signs of layer '{traits.binary_inputs}', which turns "
            "many of them: use int8 or float32"
        )
    return reason


def _anywhere() -> None:
    """Says nothing: files of this storage can be made and compared on every machine."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Storage:
    """One way to write weights: a value, one a file of `export/storages/`.

    Attributes:
        name: the value of `--storage`.
        summary: one line for `--list`, with what it costs.
        method: chooses how a model of these traits is written.
        accepts: returns why the storage can't hold a model of these traits, as a text that follows
            the storage's name; None if it can.
        check_machine: raises InputError where this machine can't make such a file or compare it
            with Keras.
        by_values: whether the weights' values, and not only their number, decide the file's bytes.
    """

    name: str
    summary: str
    method: Callable[[ModelTraits], Method]
    accepts: Callable[[ModelTraits], str | None] = refuse_rounding_layers
    check_machine: Callable[[], None] = _anywhere
    by_values: bool = False

    def method_for(self, traits: ModelTraits) -> Method:
        """Returns how a model is written.

        Raises:
            InputError: the storage can't hold the model.
        """
        reason = self.accepts(traits)
        if reason is not None:
            raise InputError(f"storage {self.name} {reason}")
        return self.method(traits)

    @property
    def usual(self) -> Method:
        """How a model without layers that need another way is written."""
        return self.method(ModelTraits())
