"""Compares the values inside two files of one network: signal to quantization noise, by op.

```
SQNR = 10 * log10(sum(reference^2) / sum((file - reference)^2))    in dB
```

over all values of a tensor and all examples; 6 dB less is twice the rms error. An op's noise
includes that of the ops before it.

Reference: Lin, Talathi, Annapureddy 2016, "Fixed Point Quantization of Deep Convolutional
Networks", arXiv:1511.06393, section 3, which allots bits by it.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import itertools
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from tfcompress.errors import require
from tfcompress.runtime.model import LiteModel
from tfcompress.runtime.rows import Rows
from tfcompress.tflite import metadata
from tfcompress.tflite.content import FileContent, Op, Tensor, read

if TYPE_CHECKING:
    import numpy as np

# What only changes a value's type.
_CASTS = ("QUANTIZE", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True)
class Match:
    """An op's output that two files have.

    Attributes:
        op: its kind in the reference, such as `CONV_2D`.
        reference: the tensor in the reference.
        tensor: the tensor in the other file.
        by: `name`, or `order`: the same kind of op and shape between others that match.
    """

    op: str
    reference: Tensor
    tensor: Tensor
    by: Literal["name", "order"]


@dataclasses.dataclass(frozen=True)
class ActivationError:
    """How far an op's output in a file is from the reference's.

    Attributes:
        name: of the tensor in the reference.
        op: its kind there.
        shape: of one inference, batch first.
        matched_by: see `Match`.
        sqnr_db: None if nothing differs.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    matched_by: str
    sqnr_db: float | None


@dataclasses.dataclass(frozen=True)
class ActivationErrors:
    """The ops of a file by their outputs' errors.

    Attributes:
        errors: the worst first.
        unmatched: the outputs of the reference's ops that the other file doesn't hold, or that are
            zero throughout.
        examples: how many inputs were compared.
    """

    errors: tuple[ActivationError, ...]
    unmatched: tuple[str, ...]
    examples: int


def activation_errors(
    reference: str | os.PathLike[str], path: str | os.PathLike[str], x: Any
) -> ActivationErrors:
    """Runs two files on the same inputs and compares the outputs of their ops.

    Of files with several signatures the main graph is compared. Both run in this process.

    Args:
        reference: the file that is right, such as the float one.
        path: the other file, with the same inputs.
        x: real numbers as `LiteModel.predict` takes them, (n, ...) of each input.

    Raises:
        InputError: a file can't be run, the inputs aren't its, its batch isn't 1, or the two have
            no op in common.
    """
    contents = [read(file).of() for file in (reference, path)]
    matches, unmatched = matched(*contents)
    require(len(matches) > 0, f"no op's output of {reference} was found in {path}")
    models = [
        LiteModel(file, keep_all=True, signature=_main(content))
        for file, content in zip((reference, path), contents, strict=True)
    ]
    rows = models[0].rows(x)
    names = [[match.reference.name for match in matches], [match.tensor.name for match in matches]]
    signal, noise = squares(models, names, rows)
    errors = []
    for match, *sums in zip(matches, signal.tolist(), noise.tolist(), strict=True):
        tensor = match.reference
        if sums[0]:
            error = ActivationError(tensor.name, match.op, tensor.shape, match.by, sqnr_db(*sums))
            errors.append(error)
        else:
            unmatched.append(tensor.name)
    errors.sort(key=lambda error: math.inf if error.sqnr_db is None else error.sqnr_db)
    return ActivationErrors(tuple(errors), tuple(unmatched), len(rows))


def sqnr_db(signal: float, noise: float) -> float | None:
    """Returns the ratio of two sums of squares, the first above 0, in dB; None without noise.

    >>> sqnr_db(100.0, 1.0)
    20.0
    """
    return 10 * math.log10(signal / noise) if noise else None


def squares(
    models: Sequence[LiteModel], names: Sequence[Sequence[str]], rows: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """Adds up squares over the values of tensors that two files have.

    Args:
        models: the reference and the other file, made with `keep_all`.
        names: of the same tensors in the one and in the other.
        rows: as both take them.

    Returns:
        For each tensor the sum of the squares in the reference, and of the differences from it.
    """
    import numpy as np

    sums = np.zeros((2, len(names[0])))
    for i in range(len(rows)):  # One at a time: of a large network all values would be too many.
        pairs = [
            model.tensors(rows[i : i + 1], wanted)
            for model, wanted in zip(models, names, strict=True)
        ]
        for number, (right, got) in enumerate(zip(*pairs, strict=True)):
            difference = got.reshape(right.shape) - right
            sums[0, number] += np.square(right, dtype="float64").sum()
            sums[1, number] += np.square(difference, dtype="float64").sum()
    return sums[0], sums[1]


def matched(reference: FileContent, file: FileContent) -> tuple[list[Match], list[str]]:
    """Finds the outputs of a file's ops in another file, by name or else by order.

    Args:
        reference: the main graph of the float file.
        file: that of the other one.

    Returns:
        The outputs that both have, in the reference's order; and the names of its other ones.
    """
    left, right = _outputs(reference), _outputs(file)
    by_name = {tensor.name: number for number, (_, tensor) in enumerate(right)}
    pairs: dict[int, tuple[int, Literal["name", "order"]]] = {}
    for number, (_, tensor) in enumerate(left):
        other = by_name.get(tensor.name)
        if other is not None and math.prod(right[other][1].shape) == math.prod(tensor.shape):
            pairs[number] = (other, "name")
    # By order only what lies between two that match by name, so that nothing crosses.
    fixed = [(-1, -1), *sorted((n, other) for n, (other, _) in pairs.items())]
    fixed.append((len(left), len(right)))
    for (start, other_start), (end, other_end) in itertools.pairwise(fixed):
        rest = [n for n in range(start + 1, end) if left[n][0].name not in _CASTS]
        others = [n for n in range(other_start + 1, other_end) if right[n][0].name not in _CASTS]
        same = difflib.SequenceMatcher(
            None, [_kind(*left[n]) for n in rest], [_kind(*right[n]) for n in others], False
        )
        for block in same.get_matching_blocks():
            for step in range(block.size):
                pairs[rest[block.a + step]] = (others[block.b + step], "order")
    matches = [
        Match(left[n][0].name, left[n][1], right[pairs[n][0]][1], pairs[n][1])
        for n in sorted(pairs)
    ]
    missing = [tensor.name for n, (_, tensor) in enumerate(left) if n not in pairs]
    return matches, missing


def _kind(op: Op, tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return op.name, tensor.shape


def _outputs(content: FileContent) -> list[tuple[Op, Tensor]]:
    """Returns the outputs of the main graph's ops that hold real numbers and that a name tells."""
    outputs = [
        (op, tensor)
        for op in content.ops
        if op.subgraph == 0 and not op.folded
        for tensor in op.outputs
    ]
    names = collections.Counter(tensor.name for _, tensor in outputs)
    return [
        (op, tensor)
        for op, tensor in outputs
        if names[tensor.name] == 1 and (tensor.quantized or tensor.dtype.startswith("float"))
    ]


def _main(content: FileContent) -> str | None:
    """Returns the signature of the main graph, for a file that has one."""
    return content.signatures[0].name if content.signatures else None


def drawn_inputs(path: str | os.PathLike[str], count: int, seed: int = 0) -> list[np.ndarray]:
    """Draws inputs for a file: of values that it can take, where it says which.

    Args:
        path: of the file.
        count: how many.
        seed: of the random numbers.

    Returns:
        For each input float32 (count, ...): uniform over what its integers stand for; normalised
        pixels of 0..255 if the metadata say how; else standard normal numbers. Zeros for integers
        without a scale, which are mostly indices.
    """
    import numpy as np

    random, said = np.random.default_rng(seed), metadata.read(path)
    arrays = []
    for end in LiteModel(path).inputs:
        shape, dtype = (count, *end.shape[1:]), np.dtype(end.dtype)
        scale, zero_point = end.details["quantization"]
        if dtype.kind in "iu" and scale:
            limits = np.iinfo(dtype)
            least, most = (scale * (limit - zero_point) for limit in (limits.min, limits.max))
            values = random.uniform(least, most, shape)
        elif dtype.kind != "f":
            values = np.zeros(shape)
        elif said and said.mean and len(said.mean) in (1, shape[-1]):
            values = (random.uniform(0, 255, shape) - said.mean) / np.asarray(said.std)
        else:
            values = random.standard_normal(shape)
        arrays.append(values.astype("float32" if dtype.kind == "f" or scale else dtype))
    return arrays
