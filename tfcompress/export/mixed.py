"""Chooses each layer's bits, so that a file is small or fast and keeps what it is worth."""

from __future__ import annotations

import dataclasses
import functools
import math
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tfcompress.errors import InputError
from tfcompress.export import calibrate, im2col, low_bits, noise_budget
from tfcompress.export.allotment import Choice, allotments
from tfcompress.export.exported import LayerBits
from tfcompress.export.latency import seconds_in_turns
from tfcompress.export.noise_budget import NoiseBudget
from tfcompress.export.storage import Rebuild
from tfcompress.export.validation import BITS, Bound, Validation, predicted, value_of
from tfcompress.files import quiet
from tfcompress.metric import ACCURACY
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import WEIGHTED

_Variant = TypeVar("_Variant")

# Images on which each layer's rounding is judged alone.
_IMAGES = 64
_FLOATS = 32


@dataclasses.dataclass(frozen=True)
class IntegerFile:
    """A file of integers in which each layer may have bits of its own.

    Attributes:
        float_path: the float file.
        path: of the file to write.
        weight_bits: of a weight unless told otherwise, 8 or 4.
        ranges: the tensors' ranges.
        layers: the layer of each weighted op, by its output.
        few_bits: as `calibrate.integer_file` takes it.
        inputs: likewise.
    """

    float_path: Path
    path: Path
    weight_bits: int
    ranges: calibrate.Ranges
    layers: Mapping[str, str]
    few_bits: bool = False
    inputs: Rows | None = None

    @functools.cached_property
    def floats(self) -> Editor:
        """The float file, open to be read; a large one takes a while to parse."""
        return Editor(self.float_path)

    def write(self, bits: Mapping[str, int]) -> None:
        """Writes the file.

        Args:
            bits: those of ops that have others than the file's own, by output name; 32 for floats.
        """
        calibrate.integer_file(
            self.float_path,
            self.path,
            self.ranges,
            weight_bits=self.weight_bits,
            bits=bits,
            few_bits=self.few_bits,
            inputs=self.inputs,
        )

    def rebuild(self, bits: Mapping[str, int] | None = None) -> Rebuild:
        """Returns how the file is written with a higher precision for some layers.

        Args:
            bits: as `write` takes them: what the file has without that.
        """
        known = bits or {}
        higher = _FLOATS if self.weight_bits == 8 else 8

        def write(names: Collection[str]) -> None:
            self.write({**known, **dict.fromkeys(names, higher)})

        more: dict[str, str] = {}
        behind: dict[str, list[str]] = {}
        last = None
        for op in self.floats.ops():
            if not len(op.outputs):
                continue
            output = self.floats.text(op.outputs[0])
            if output in self.layers:
                fewest = self.weight_bits if self.floats.name(op) in calibrate.FOUR_BITS else 8
                last = output if known.get(output, fewest) < higher else None
                if last is not None:
                    more[last], behind[last] = _named(higher), []
            elif last is not None and self.weight_bits == 8:
                behind[last].append(output)
        return Rebuild(write, more, self.layers, behind)

    def choices(self, bits: Iterable[int]) -> dict[str, tuple[int, ...]]:
        """Returns which of these bits each weighted op can have, by output name, the most first."""
        editor = self.floats
        ops = {editor.text(op.outputs[0]): op for op in editor.ops() if len(op.outputs)}
        # A loop's weights have 8 bits, whatever is asked for.
        return {
            name: tuple(sorted((b for b in bits if _fits(editor, ops[name], b)), reverse=True))
            for name in self.layers
            if name in ops
        }


def _fits(editor: Editor, op: Any, bits: int) -> bool:
    """Says whether an op can have weights of so many bits, and 8-bit inputs."""
    if bits >= 8:
        return True
    if editor.name(op) not in calibrate.FOUR_BITS:
        return False
    return bits == 4 or not (low_bits.open_size(editor, op) or im2col.why_not(editor, op))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What was chosen for a file, which is written.

    Attributes:
        layers: of every layer.
        kept: layers that have more bits than the fewest, and why.
        note: what the file is worth, a sentence.
        bits: by the output names of the ops.
    """

    layers: dict[str, LayerBits]
    kept: dict[str, str]
    note: str
    bits: Mapping[str, int]


def search(file: IntegerFile, calibration: np.ndarray | Rows, validation: Validation) -> Chosen:
    """Writes the cheapest file that is good enough, and returns what each layer has in it.

    Every layer is rounded alone first, and the mean square of what that does to the outputs is its
    damage, which adds up as long as it is small. Of the allotments with the least damage for their
    price, the cheapest is written whose file is good enough on the validation examples.

    Args:
        file: which to write.
        calibration: images; the first of them judge the single layers.
        validation: examples and the bound, as `checked` returns them.

    Raises:
        InputError: the bound is exceeded even with the most bits for all layers (but for one, if
            these are floats).
    """
    options = file.choices((_FLOATS, 8) if file.weight_bits == 8 else validation.bits)
    nearest = dataclasses.replace(file, inputs=None)  # The order of the layers needs no more.
    judged = _judged(nearest, options, calibration[:_IMAGES], timed=validation.price == "time")
    choices = {
        name: [Choice(b, row.price, (row.error or 0.0) ** 2) for b, row in of_op.items()]
        for name, of_op in judged.items()
    }
    series = [
        {name: choice.bits for name, choice in chosen.items()} for chosen in allotments(choices)
    ]
    if all(b == _FLOATS for b in series[-1].values()):
        # One layer of integers makes it an integer file: the least harmful one.
        rounded = {name: of_op[8].error or 0.0 for name, of_op in judged.items() if 8 in of_op}
        series[-1] = series[-1] | dict.fromkeys(sorted(rounded, key=rounded.__getitem__)[:1], 8)
    free = [name for name, of_op in judged.items() if len(of_op) > 1]
    chosen, note = _cheapest(file, series, validation, free)
    kept = {
        file.layers[name]: _why(bits, judged[name])
        for name, bits in chosen.items()
        if bits > min(judged[name])
    }
    layers = {file.layers[name]: judged[name][bits] for name, bits in chosen.items()}
    return Chosen(layers, kept, note, chosen)


def within_budget(file: IntegerFile, budget: NoiseBudget) -> Chosen:
    """Writes a file whose layers' rounding together makes no more noise than a budget allows.

    Args:
        file: which to write.
        budget: of the noise.
    """
    options = file.choices(BITS)
    editor = file.floats
    weights = {name: math.prod(editor.shape(editor.writer(name).inputs[1])) for name in options}
    noise = budget.noise(len(options))
    chosen = noise_budget.allot(weights, options, noise)
    file.write(chosen)
    best = noise_budget.closed_form(weights, noise)
    layers = {
        file.layers[name]: LayerBits(bits, weights[name] * bits // 8)
        for name, bits in chosen.items()
    }
    kept = {
        file.layers[name]: f"kept {_named(bits)} for its share of the weights: {best[name]:.1f} by "
        "the closed form"
        for name, bits in chosen.items()
        if bits > min(options[name])
    }
    total = sum(weights.values())
    means = [sum(weights[name] * of[name] for name in weights) / total for of in (chosen, best)]
    note = (
        f"{means[0]:.2f} bits a weight on average for the noise of {budget.bits} bits in every "
        f"layer; {means[1]:.2f} by the closed form, whose bits needn't be 8, 4 or 2"
    )
    return Chosen(layers, kept, note, chosen)


def _judged(
    file: IntegerFile,
    options: Mapping[str, Sequence[int]],
    images: np.ndarray | Rows,
    *,
    timed: bool,
) -> dict[str, dict[int, LayerBits]]:
    """Returns what each op costs with each number of bits, and does to the outputs.

    Args:
        file: which is written again and again.
        options: bits that each op can have, by output name, the most first.
        images: to look at.
        timed: whether ops are timed.
    """
    exact = {name: of_op[0] for name, of_op in options.items()}
    variants = [(name, b) for name, of_op in options.items() for b in of_op[1:]]
    errors, sizes = output_errors(
        file.path, images, file.write, exact, [exact | {name: b} for name, b in variants]
    )
    measured = dict(zip(variants, zip(errors, sizes[1:], strict=True), strict=True))
    times = _microseconds(file, options) if timed else {}
    editor = file.floats
    judged: dict[str, dict[int, LayerBits]] = {}
    for name, of_op in options.items():
        weights = math.prod(editor.shape(editor.writer(name).inputs[1]))
        judged[name] = {}
        for b in of_op:
            error, size = measured.get((name, b), (0.0, sizes[0]))
            # What doesn't run, and what can't be timed and has 8 bits therefore.
            if math.isinf(error) or (timed and b != 8 and (name, b) not in times):
                continue
            size_bytes = weights * of_op[0] // 8 + size - sizes[0]
            if _FLOATS in of_op:  # Conversions around a lone layer of integers aren't its own.
                size_bytes = weights * b // 8
            judged[name][b] = LayerBits(b, size_bytes, times.get((name, b)), error)
    return judged


def output_errors(
    path: Path,
    images: np.ndarray | Rows,
    write: Callable[[_Variant], object],
    exact: _Variant,
    variants: Iterable[_Variant],
) -> tuple[list[float], list[int]]:
    """Returns by how much each way of writing a file changes its outputs, and the file's bytes.

    Args:
        path: of the file.
        images: to look at.
        write: writes the file one way.
        exact: the way to compare with.
        variants: the others.

    Returns:
        The relative rms of each variant, of the output that it changes most, infinite if it doesn't
        run; and the bytes of the exact file, then of each variant.
    """
    write(exact)
    expected, sizes = predicted(path, images), [path.stat().st_size]
    errors = []
    for variant in variants:
        write(variant)
        try:
            pairs = zip(expected, predicted(path, images), strict=True)
            errors.append(max(relative_rms(*pair) for pair in pairs))
        except InputError:  # The runtime doesn't take scales that are far apart.
            errors.append(math.inf)
        sizes.append(path.stat().st_size)
    return errors, sizes


def _microseconds(
    file: IntegerFile, options: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], float]:
    """Returns how long each op takes with each number of bits, in files of that op alone."""
    editor = file.floats
    timed: dict[tuple[Any, ...], list[float]] = {}
    times: dict[tuple[str, int], float] = {}
    for name, of_op in options.items():
        op = editor.writer(name)
        if editor.name(op) not in WEIGHTED or low_bits.open_size(editor, op):
            continue  # Others have inputs before that of the values.
        if len(of_op) < 2:
            continue
        key = (low_bits.timed_shape(editor, op), tuple(of_op))
        if key not in timed:
            with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder, quiet():
                floats = Path(folder) / "floats.tflite"
                editor.alone(name).write(floats)
                paths = [floats if b == _FLOATS else Path(folder) / f"{b}.tflite" for b in of_op]
                for b, path in zip(of_op, paths, strict=True):
                    if b != _FLOATS:
                        calibrate.integer_file(floats, path, file.ranges, bits={name: b})
                timed[key] = seconds_in_turns(paths)
        times |= {(name, b): 1e6 * s for b, s in zip(of_op, timed[key], strict=True)}
    return times


def _cheapest(
    file: IntegerFile,
    series: Sequence[Mapping[str, int]],
    validation: Validation,
    free: Collection[str],
) -> tuple[Mapping[str, int], str]:
    """Writes the cheapest file of a series that is good enough; finds it by halving.

    Args:
        file: which to write.
        series: bits by output name, from the cheapest to the least harmful.
        validation: examples and the bound.
        free: output names of the ops that can have several numbers of bits.

    Returns:
        Its bits, and a sentence on what it is worth.
    """
    bound = Bound.of(validation, value_of(file.float_path, validation))
    noun = "images" if bound.metric == ACCURACY else "examples"
    on = f"{bound.metric.name} on {len(validation.images):,} validation {noun}"
    values: dict[int, float] = {}

    def holds(place: int) -> bool:
        """Writes one file of the series and says whether it is good enough."""
        file.write(series[place])
        values[place] = value_of(file.path, validation)
        return bound.holds(values[place])

    low, high = -1, len(series) - 1
    if not holds(high):
        most = max(series[high].values())
        instead = "float16" if most == _FLOATS else "int8"
        count = sum(series[high][name] == most for name in free)
        raise InputError(
            f"with {_named(most)} for {count} of {len(free)} layers the file's "
            f"{bound.metric.name} on the validation {noun} is {bound.text(values[high])}, "
            f"{bound.missed()} that "
            f"max_drop={validation.max_drop:g} asks for: allow more, or use {instead}"
        )
    if high and holds(0):
        high = 0
    else:
        low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    file.write(series[high])
    note = f"with these bits the {on} is {bound.text(values[high])}, {bound.text(bound.value)} by "
    note += "the float file"
    if high:
        note += f"; with the next fewer bits it was {bound.text(values[high - 1])}"
    return series[high], note


def _why(bits: int, of_op: Mapping[int, LayerBits]) -> str:
    """Says why a layer has more than the fewest bits."""
    fewer = of_op[max(b for b in of_op if b < bits)]
    if fewer.price >= of_op[bits].price:
        return f"kept {_named(bits)}: {of_op[bits].costs}; with {_named(fewer.bits)} {fewer.costs}"
    return (
        f"kept {_named(bits)}: alone in {_named(fewer.bits)} it changes the outputs by "
        f"{fewer.error:.1%} of their rms"
    )


def _named(bits: int) -> str:
    """Says how a weight is held."""
    return "floats" if bits == _FLOATS else f"{bits} bits"
