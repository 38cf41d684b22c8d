"""What storages build files with: the float file, and what turns it into another."""

from __future__ import annotations

import dataclasses
import functools
import operator
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import keras

from tfcompress.errors import ExportError, InputError, grouped, require
from tfcompress.export import (
    activation_grids,
    buckets,
    calibrate,
    convert,
    layer_errors,
    low_bits,
    mixed,
)
from tfcompress.export.depthwise_parts import in_parts
from tfcompress.export.model_io import write_model_names
from tfcompress.export.rounding_ops import with_rounding_ops
from tfcompress.export.short_names import write_short_names
from tfcompress.export.storage import BuildJob, BuiltFile, Rebuild
from tfcompress.export.usual_size import write_usual_sizes
from tfcompress.graph import lower
from tfcompress.graph.rewrite import operations
from tfcompress.tflite.content import FileContent, read
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import (
    FAST_WITH_FLOATS,
    WEIGHTED,
    weights_type,
    with_constant_weights,
)

# Layers that a note names.
_NAMED = 4
_INTEGERS = ("int8", "int4", "int2")
_BINARY_ALONE = (
    "of a network with binary inputs it writes the layers with binary weights; use float32"
)


@dataclasses.dataclass(frozen=True)
class FloatFile:
    """A model as the converter writes it.

    Attributes:
        path: the float file.
        lowered: the model in built-in layers, as it was converted.
        hashed: how many weighted ops hold buckets of hashed weights instead of their own.
    """

    path: Path
    lowered: keras.Model
    hashed: int = 0

    @functools.cached_property
    def content(self) -> FileContent:
        """What the file holds; a large one takes a while to parse, and is parsed once."""
        return read(self.path)

    @functools.cached_property
    def layer_names(self) -> dict[str, str]:
        """The layer of each weighted op, by the op's output."""
        return layer_errors.layer_names(self.lowered, with_constant_weights(self.content))

    def as_built(self) -> BuiltFile:
        """Returns the float file as what a storage builds."""
        return BuiltFile(self.path, self.path, self.lowered)


def float_file(job: BuildJob, *, activations: str, bucket_type: str | None = None) -> FloatFile:
    """Lowers and converts a model, its weights as floats.

    Args:
        job: what is built.
        activations: how binary inputs are written: `signed` (-1, +1) or `unit` (0, 1).
        bucket_type: of the buckets of element-wise hashed weights, as `write_buckets` takes it;
            None expands these weights.
    """
    lowered = in_parts(lower(with_rounding_ops(job.model), activations=activations))
    path = job.folder / "float.tflite"
    convert.float_file(lowered, path)
    write_model_names(job.model, path)
    if job.short_names:
        write_short_names(path, {operation.name for operation in operations(lowered)})
    if job.usual is not None:
        write_usual_sizes(path, job.usual)
    hashed = 0
    if bucket_type is not None and job.traits.hashed:
        layers = buckets.of(job.model)
        editor = Editor(path)
        hashed = buckets.write_buckets(editor, layers, bucket_type)
        editor.write(path)
    return FloatFile(path, lowered, hashed)


def half_floats(job: BuildJob) -> BuiltFile:
    """Writes weights as 16-bit floats."""
    source = float_file(job, activations="unit", bucket_type="float16")
    path = job.folder / "quantized.tflite"

    def write(higher: Collection[str]) -> None:
        calibrate.half_file(source.path, path, higher=higher)

    write(())
    # Ops that only fill a variable give nothing.
    ops = [op for op in source.content.ops if op.outputs and not op.subgraph]
    outputs = [op.outputs[0].name for op in ops]
    more = {name: "32-bit floats" for name in outputs if name in source.layer_names}
    return BuiltFile(
        path, source.path, source.lowered, rebuild=Rebuild(write, more, source.layer_names)
    )


def static_integers(job: BuildJob, *, weight_bits: int) -> BuiltFile:
    """Writes integer weights and activations, with ranges taken from images.

    Args:
        job: what is built; with validation images some layers keep more bits.
        weight_bits: 8 or 4.
    """
    source = float_file(job, activations="signed")
    path = job.folder / "quantized.tflite"
    assert job.ranging is not None
    ranges = calibrate.ranges(source.path, job.ranging)
    if job.ranges == "mse":
        ranges = calibrate.of_least_error(source.path, job.ranging, ranges)
    plain = job.folder / "without_roundings.tflite"
    grids = activation_grids.without_roundings(source.path, plain)
    ranges |= calibrate.fixed_ranges(grids)
    floats = plain if grids else source.path
    file = mixed.IntegerFile(
        floats,
        path,
        weight_bits,
        ranges,
        source.layer_names,
        few_bits=job.traits.few_bits,
        inputs=job.ranging if job.rounding == "gptq" else None,
    )
    notes = _loop_notes(source)
    if job.validation is None and job.noise_budget is None:
        file.write({})
        rebuild = file.rebuild()
        return BuiltFile(path, source.path, source.lowered, rebuild=rebuild, notes=notes)
    if job.noise_budget is not None:
        require(weight_bits == 4, "a noise budget allots 8, 4 or 2 bits: use storage int8_int4")
        chosen = mixed.within_budget(file, job.noise_budget)
    else:
        assert job.validation is not None
        chosen = mixed.search(file, job.ranging, job.validation)
    return BuiltFile(
        path,
        source.path,
        source.lowered,
        chosen.kept,
        rebuild=file.rebuild(chosen.bits) if job.validation is None else None,
        bits=chosen.layers,
        notes=(*notes, chosen.note),
    )


def _loop_notes(source: FloatFile) -> tuple[str, ...]:
    """Says which layers' loops don't compute in integers throughout."""
    inside = low_bits.names_in_loops(source.path)
    layers = dict.fromkeys(
        name.split(" #")[0] for out, name in source.layer_names.items() if out in inside
    )
    if not layers:
        return ()
    return (
        f"{', '.join(layers)}: a loop over time steps, which computes in floats with weights of 8 "
        "bits; the layers around it compute in integers",
    )


def binary_integers(job: BuildJob, *, weight_bits: int) -> BuiltFile:
    """Writes integer weights for the layers of bits, whose inputs are 0 and 1: without error.

    Args:
        job: what is built; a network with binary inputs.
        weight_bits: 8, 4 or 2: the fewest.
    """
    source = float_file(job, activations="unit", bucket_type="float32")
    outputs = convert.ops_with_bits(source.content, convert.float_constants(source.path))
    if not outputs:
        raise _nothing(job, source, _BINARY_ALONE)
    built = _integer_weights(job, source, outputs, weight_bits, instead="int8")
    floats = [name for output, name in source.layer_names.items() if output not in outputs]
    if not floats:
        return built
    shown = ", ".join(floats[:_NAMED]) + (", ..." if len(floats) > _NAMED else "")
    note = (
        f"{len(outputs)} of {len(source.layer_names)} layers have integer weights, those with "
        f"binary inputs; 4 bytes a weight keep {shown}: rounded, they would turn signs behind them"
    )
    return dataclasses.replace(built, notes=(note,))


def dynamic_integers(job: BuildJob, *, weight_bits: int) -> BuiltFile:
    """Writes integer weights for all ops, whose float inputs are quantised as the file runs.

    Args:
        job: what is built.
        weight_bits: 8, 4 or 2: the fewest.
    """
    source = float_file(job, activations="unit", bucket_type="int8")
    outputs = convert.ops_fast_with_floats(source.content)
    if not outputs and source.hashed:
        if weight_bits < 8:
            raise _nothing(job, source, "the buckets of its hashed layers have 8 bits; use dynamic")
        path = job.folder / "quantized.tflite"
        shutil.copyfile(source.path, path)
        return BuiltFile(path, source.path, source.lowered)
    if not outputs:
        raise _nothing(job, source, "it has no convolution or dense layer; use float32")
    built = _integer_weights(job, source, outputs, weight_bits, instead="dynamic")
    slow = [
        op.outputs[0].name
        for op in source.content.ops
        if op.name in WEIGHTED and op.name not in FAST_WITH_FLOATS
    ]
    reason = "4 bytes a weight: the runtime has no fast kernel for it with 8-bit weights"
    floats = {source.layer_names[name]: reason for name in slow if name not in outputs}
    return dataclasses.replace(built, kept=built.kept | floats)


def _nothing(job: BuildJob, source: FloatFile, reason: str) -> InputError:
    return InputError(
        f"storage {job.storage} finds nothing to quantise in model '{source.lowered.name}': "
        f"{reason}"
    )


def _integer_weights(
    job: BuildJob, source: FloatFile, outputs: list[str], weight_bits: int, *, instead: str
) -> BuiltFile:
    """Writes integer weights for the ops with these output tensors.

    Args:
        job: what is built.
        source: the float file.
        outputs: names of the output tensors.
        weight_bits: the fewest bits of a weight.
        instead: the storage to name where no op can have as few.

    Raises:
        InputError: no op can have so few bits.
        ExportError: the quantizer left an op out.
    """
    path = job.folder / "quantized.tflite"
    chosen, kept = dict.fromkeys(outputs, 8), dict[str, str]()
    if weight_bits < 8:
        chosen, reasons = low_bits.choose(
            source.path, outputs, weight_bits, trained=job.traits.few_bits
        )
        kept = {source.layer_names[name]: reason for name, reason in reasons.items()}
        if weight_bits not in chosen.values():
            raise InputError(
                f"storage {job.storage} finds no layer of model '{source.lowered.name}' for "
                f"{weight_bits} bits ({grouped(kept)}): use {instead}"
            )
    more = {name: "8 bits" if bits == 4 else "floats" for name, bits in chosen.items()}

    def write(higher: Collection[str]) -> None:
        bits = {
            name: 8 if name in higher else own
            for name, own in chosen.items()
            if name not in higher or more[name] == "8 bits"
        }
        _write_integer_weights(source.path, path, bits)

    write(())
    rebuild = Rebuild(write, more, source.layer_names)
    return BuiltFile(path, source.path, source.lowered, kept, rebuild=rebuild)


def _write_integer_weights(float_path: Path, path: Path, bits: dict[str, int]) -> None:
    """Gives ops so many bits a weight; without any, the file is the float file.

    Raises:
        ExportError: the quantizer left an op out.
    """
    if not bits:
        shutil.copyfile(float_path, path)
        return
    low_bits.write_low_bits(float_path, path, bits)
    integers = [op for op in read(path).ops if op.macs and weights_type(op) in _INTEGERS]
    if len(integers) < len(bits):
        raise ExportError(f"{len(integers)} layers of {len(bits)} got integer weights")


def edited(
    job: BuildJob,
    change: Callable[[Editor], dict[str, str]],
    *,
    nothing: str,
    empty: str = "it has no weights",
    prefix: str = "",
) -> BuiltFile:
    """Writes a float file whose ops and constants were changed.

    Args:
        job: what is built.
        change: changes the open file; returns the output name of each weighted op that it left as
            it was, and why.
        nothing: the error where it changes nothing, with the fields `model` and `why`.
        empty: the `why` where it left no op either.
        prefix: what stands before the reason of a layer that was left.

    Raises:
        InputError: the change finds nothing to do.
    """
    source = float_file(job, activations="signed", bucket_type="float32")
    path = job.folder / "rewritten.tflite"
    names = source.layer_names
    editor = Editor(source.path)
    before = editor.ops()
    left = {names.get(output, output): reason for output, reason in change(editor).items()}
    after = editor.ops()
    if len(after) == len(before) and all(map(operator.is_, before, after)):
        why = grouped(left) or empty
        raise InputError(nothing.format(model=source.lowered.name, why=why))
    editor.write(path)
    kept = {layer: f"{prefix}{reason}" for layer, reason in left.items()}
    return BuiltFile(path, source.path, source.lowered, kept)
