"""Gives ops weights of 4 or 2 bits, where the file isn't slower for them than with floats.

The runtime's fast kernels take them in FULLY_CONNECTED alone: convolutions become slices and
matrix products (`export.im2col`), which may cost more than the narrow weights save. Each layer is
therefore timed in both ways by turns, in files of that layer alone, on the machine that exports.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfcompress.export import convert, exact_grids, im2col
from tfcompress.export.latency import seconds_in_turns
from tfcompress.files import quiet
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor


def choose(
    path: Path, outputs: list[str], bits: int, *, trained: bool = False
) -> tuple[dict[str, int], dict[str, str]]:
    """Chooses how many bits the weights of each op get.

    Args:
        path: of the float file.
        outputs: output names of the ops that get integer weights.
        bits: 4 or 2: the fewest.
        trained: whether some layers were trained for few bits: the others keep 8 then, and those
            get them as long as all of them together aren't slower for it.

    Returns:
        Bits by output name; and for the ops that get 8, why.
    """
    why: dict[str, str] = {}
    seconds: dict[str, tuple[float, float]] = {}
    timed: dict[tuple[Any, ...], tuple[float, float]] = {}
    editor = Editor(path)
    inside = names_in_loops(path)
    for name in outputs:
        if name in inside:
            why[name] = "8 bits: it runs in a loop, where no layer is timed"
            continue
        op = editor.writer(name)
        reason = open_size(editor, op) or _cannot(editor, op, bits, trained)
        if reason:
            why[name] = f"8 bits: {reason}"
            continue
        key = timed_shape(editor, op)
        if key not in timed:
            timed[key] = _latencies(editor, name, bits)
        seconds[name] = timed[key]
    for name in _too_slow(seconds, together=trained):
        ratio = seconds[name][1] / max(seconds[name][0], 1e-9)
        why[name] = f"8 bits: with {bits} bits it took {ratio:.2f} times the floats' time here"
    ordered = {name: why[name] for name in outputs if name in why}
    return {name: 8 if name in why else bits for name in outputs}, ordered


def _too_slow(seconds: Mapping[str, tuple[float, float]], *, together: bool) -> list[str]:
    """Returns the ops that few bits make too slow.

    Args:
        seconds: with floats and with few bits, by output name.
        together: whether an op may take longer, where others make up for it.
    """
    more = {name: few - floats for name, (floats, few) in seconds.items()}
    saved = -sum(each for each in more.values() if each < 0) if together else 0.0
    slow = []
    for name in sorted(more, key=lambda name: more[name]):
        if more[name] <= 0:
            continue
        if more[name] <= saved:
            saved -= more[name]
        else:
            slow.append(name)
    return slow


def names_in_loops(path: Path) -> set[str]:
    """Returns the output names of the ops in graphs that a loop calls."""
    return {out.name for op in read(path).ops if op.subgraph for out in op.outputs}


def write_low_bits(float_path: Path, path: Path, bits: dict[str, int]) -> None:
    """Gives ops so many bits a weight; their activations are quantised as the file runs.

    Args:
        float_path: of the float file.
        path: of the new file.
        bits: 8, 4 or 2 by output name.

    Raises:
        InputError: no op is named.
    """
    editor = Editor(float_path)
    by_name: dict[str, int] = {}
    for name, count in bits.items():
        op = editor.writer(name) if count < 8 else None
        narrow = op is not None and editor.name(op) == "CONV_2D"
        by_name |= dict.fromkeys(_as_dense(editor, op, name) if narrow else [name], count)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        dense = Path(folder) / "dense.tflite"
        editor.write(dense)
        convert.quantized_file(dense, path, by_name)
        exact_grids.write_exact_grids(editor, path, by_name)


def _as_dense(editor: Editor, op: Any, name: str) -> list[str]:
    """Replaces a convolution by slices and FULLY_CONNECTED; returns these ops' output names."""
    kernel = editor.values(op.inputs[1])
    assert kernel is not None
    bias = int(op.inputs[2]) if len(op.inputs) > 2 else -1
    ops: list[Any] = []
    names = []
    taken = {editor.text(tensor) for tensor in range(len(editor.graph.tensors))}

    def product(strip: int, row: int) -> int:
        label = f"{name}/{row}"
        names.append(label)
        matrix = kernel[:, row].reshape(len(kernel), -1)
        # The converter's names list all layers that it merged; the last one is enough here.
        short = f"{name.rpartition(';')[2]}/{row}/weights"
        weights = editor.constant(matrix, short if short not in taken else f"{label}/weights")
        shape = (editor.shape(strip)[0], len(matrix))
        inputs = [strip, weights, bias if row == 0 else -1]
        return editor.then("FULLY_CONNECTED", inputs, shape, "float32", ops, label=label)

    im2col.convolution(editor, op, ops, product)
    editor.replace(op, ops)
    return names


def open_size(editor: Editor, op: Any) -> str | None:
    """Returns why an op can't be timed alone; None if it can."""
    for index in (op.inputs[0], op.outputs[0]):
        signature = editor.graph.tensors[int(index)].shapeSignature
        if signature is not None and any(int(size) < 0 for size in signature[1:]):
            return "its input's size isn't fixed, so that it can't be timed"
    return None


def _cannot(editor: Editor, op: Any, bits: int, trained: bool) -> str | None:
    """Returns why an op's weights can't have so few bits; None if they can."""
    kernel = editor.values(op.inputs[1])
    assert kernel is not None
    # Other weights may be rounded to 4 bits, but not to 2.
    only_exact = trained or bits == 2
    if only_exact and exact_grids.grid_steps(kernel.reshape(len(kernel), -1), bits) is None:
        if trained:
            return f"its weights weren't trained for {bits} bits"
        return "its filters have more than the values -2s, -s, 0 and s"
    return im2col.why_not(editor, op)


def timed_shape(editor: Editor, op: Any) -> tuple[Any, ...]:
    """Returns what an op's latency depends on."""
    tensors = (op.inputs[0], op.inputs[1], op.outputs[0])
    options = vars(op.builtinOptions)
    return (*map(editor.shape, tensors), *(str(options[key]) for key in sorted(options)))


def _latencies(editor: Editor, name: str, bits: int) -> tuple[float, float]:
    """Returns a layer's least seconds in floats and with few bits, on one thread, in turns."""
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder, quiet():
        floats, few = Path(folder) / "floats.tflite", Path(folder) / "few.tflite"
        editor.alone(name).write(floats)
        write_low_bits(floats, few, {name: bits})
        floats_s, few_s = seconds_in_turns([floats, few])
    return floats_s, few_s
