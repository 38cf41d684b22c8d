"""What a file's ops and types must be before it is run: checks that storages put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from tfcompress.errors import ExportError
from tfcompress.export.storage import Method
from tfcompress.tflite import compatibility
from tfcompress.tflite.content import FileContent, Op
from tfcompress.tflite.weighted_ops import FAST_WITH_FLOATS, weights_type

_INTEGERS = frozenset({"int8", "int4", "int2"})


def audit(
    content: FileContent,
    method: Method,
    io: str = "int8",
    higher: Collection[str] = frozenset(),
) -> None:
    """Refuses what a phone's runtime can't run or gets wrong.

    Args:
        content: of the file.
        method: how the file was written.
        io: what goes in and out of a file that computes in integers.
        higher: output names of the ops that may have more bits than the method gives.

    Raises:
        ExportError: an op that `compatibility.never` names, types that the method doesn't write,
            or a dynamic size.
    """
    custom = method.runtime.custom_ops
    known = tuple(op for op in content.ops if op.name not in custom)
    built_in = dataclasses.replace(content, ops=known)
    problems = [str(issue) for issue in compatibility.never(built_in)]
    typed = tuple(op for op in known if not any(out.name in higher for out in op.outputs))
    problems += method.audit(dataclasses.replace(content, ops=typed))
    if method.integer:
        problems += _other_io_types(content, io)
    problems += _other_batches(content)
    if problems:
        raise ExportError(f"the file failed its audit: {'; '.join(problems)}")


def _other_io_types(content: FileContent, io: str) -> Iterator[str]:
    for tensor in (*content.inputs, *content.outputs):
        real = tensor.dtype == "float32" or tensor.quantized  # Not indices or truth values.
        if real and tensor.dtype != io:
            yield f"'{tensor.name}' goes in or out as {tensor.dtype}, not {io}"


def _other_batches(content: FileContent) -> Iterator[str]:
    for tensor in content.inputs:
        if not tensor.shape or tensor.shape[0] != 1:
            yield f"input '{tensor.name}' has the shape {tensor.shape}, not a batch of 1"


def float_weights(content: FileContent) -> Iterator[str]:
    """Yields a problem where an op multiplies by other weights than floats."""
    yield from _not_floats(op for op in content.ops)


def float_constants(content: FileContent) -> Iterator[str]:
    """Yields a problem as `float_weights` does, but weights unpacked at load may be integers."""
    yield from _not_floats(op for op in content.ops if op.macs and weights_type(op) is not None)


def half_weights(content: FileContent) -> Iterator[str]:
    """Yields a problem where a file that should hold 16-bit floats doesn't."""
    yield from float_weights(content)
    if "float16" not in content.weight_bytes:
        yield "no 16-bit weights in the file"


def some_integer_weights(content: FileContent) -> Iterator[str]:
    """Yields a problem where a file has no integer weights."""
    if not _INTEGERS & set(content.weight_bytes):
        yield "no integer weights in the file"


def all_integer_weights(content: FileContent) -> Iterator[str]:
    """Yields a problem for each op that kept float weights without a reason.

    Depthwise convolutions are slower with integer weights and float activations.
    """
    for op in content.ops:
        if op.name in FAST_WITH_FLOATS and weights_type(op) == "float32":
            yield f"{op.name} '{op.outputs[0].name}' kept float32 weights"
    yield from some_integer_weights(content)


def _not_floats(ops: Iterator[Op]) -> Iterator[str]:
    types = {op.inputs[1].dtype for op in ops if op.macs and op.inputs[1:2] and op.inputs[1]}
    if types - {"float32"}:
        yield f"weights of types {sorted(types)} in a file of float weights"
