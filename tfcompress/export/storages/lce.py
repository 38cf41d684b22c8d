"""Binary convolutions as larq-compute-engine's ops: for its runtime, on ARM phones.

Its libraries need NumPy below 2, so that they can't be imported here: they work in a process of
another Python, which an environment variable names.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.errors import ExportError, InputError, require
from tfcompress.export import audit
from tfcompress.export.storage import (
    BuildJob,
    BuiltFile,
    FirstRun,
    Method,
    Runtime,
    Storage,
    Tolerance,
)
from tfcompress.export.storages import _lce_child
from tfcompress.runtime import child
from tfcompress.runtime.process import Cost, ProcessError, ask
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.compatibility import LCE_OPS
from tfcompress.tflite.content import read
from tfcompress.tflite.weighted_ops import one_magnitude, with_constant_weights

if TYPE_CHECKING:
    import keras

PYTHON = "TFCOMPRESS_LCE_PYTHON"
RUNTIME = "larq-compute-engine 0.16's own runtime"
HOW = (
    "make an environment for it with Python 3.11 or 3.12, on x86-64 or a Mac (python3.11 -m venv "
    "lce; lce/bin/pip install 'larq-compute-engine==0.16.*' 'numpy<2'), and set "
    f"{PYTHON}=lce/bin/python"
)
_TIMEOUT_S = 600.0


def python() -> str:
    """Returns the Python that has larq-compute-engine.

    Raises:
        InputError: none is named, or it can't run it.
    """
    named = os.environ.get(PYTHON)
    if not named:
        raise InputError(f"storage lce needs larq-compute-engine's converter: {HOW}")
    try:
        _ask(named, task="check")
    except ProcessError as error:
        raise InputError(
            f"{PYTHON}={named} can't run larq-compute-engine ({error.cause}): {HOW}"
        ) from error
    return named


def _build(job: BuildJob) -> BuiltFile:
    """Writes a model with its binary convolutions as custom ops.

    Raises:
        InputError: larq-compute-engine isn't there, or the model has nothing for it.
        ExportError: it can't convert the model.
    """
    from tfcompress.export import convert
    from tfcompress.graph import lower

    lowered = lower(job.model, activations="signed")
    require(
        len(lowered.inputs) == len(lowered.outputs) == 1,
        f"storage lce writes models with 1 input and 1 output; '{lowered.name}' has "
        f"{len(lowered.inputs)} and {len(lowered.outputs)}: use xnor",
    )
    path = job.folder / "float.tflite"
    worker = python()
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:
        convert.export_saved(lowered, folder, "tf_saved_model")
        try:
            _ask(worker, task="convert", folder=folder, path=str(path.absolute()))
        except ProcessError as error:
            raise ExportError(f"larq-compute-engine can't convert it: {error.cause}") from error
    return BuiltFile(path, path, lowered, _left_as_floats(lowered, path))


def _left_as_floats(lowered: keras.Model, path: Path) -> dict[str, str]:
    """Returns the layers whose binary weights stayed floats, and why.

    Raises:
        InputError: no convolution became a binary one.
    """
    from tfcompress.export import convert, layer_errors

    content = read(path)
    if "CUSTOM:LceBconv2d" not in content.op_counts():
        raise InputError(
            f"storage lce finds no convolution of model '{lowered.name}' with binary inputs and "
            "weights: use float32, or a technique that makes some, such as xnor"
        )
    ops = list(with_constant_weights(content))
    names, weights = layer_errors.layer_names(lowered, ops), convert.float_constants(path)
    return {
        names[op.outputs[0].name]: f"4 bytes a weight: it is a {op.name}, which has no binary op"
        for op in ops
        for tensor in op.inputs[1:2]
        if tensor and one_magnitude(weights[tensor.name])
    }


def run(path: Path, images: np.ndarray | Rows | None) -> FirstRun:
    """Runs a file in larq-compute-engine's own runtime.

    Args:
        path: of the file.
        images: float32, normalised, or None for a run on noise.

    Raises:
        ExportError: the file doesn't run.
    """
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        inputs, outputs = Path(folder) / "images.npy", Path(folder) / "outputs.npy"
        if images is not None:
            np.save(inputs, Rows.of(images).arrays[0])
        try:
            cost = _ask(
                python(),
                task="run",
                path=str(path.absolute()),
                images=None if images is None else str(inputs),
                outputs=str(outputs),
                loads=3,
            )
        except ProcessError as error:
            raise ExportError(f"the file doesn't run: {error.cause}") from error
        values = None if images is None else [np.load(outputs, allow_pickle=False)]
        return FirstRun(Cost(**cost), values)


def latencies_ms(paths: list[Path], rounds: int) -> list[list[float]]:
    """Times files that take the same images, in turns in larq-compute-engine's runtime.

    Raises:
        ProcessError: one of them doesn't run.
    """
    named = [str(path.absolute()) for path in paths]
    latencies = _ask(python(), task="time", paths=named, rounds=rounds)["latency_ms"]
    return [[float(latency) for latency in of_file] for of_file in latencies]


def _ask(worker: str, **request: Any) -> dict[str, Any]:
    # -I: neither our packages nor the user's folder are that Python's.
    words = [worker, "-I", str(_lce_child.__file__), str(child.__file__)]
    return ask(request, timeout_s=_TIMEOUT_S, arguments=words, title="larq-compute-engine process")


_METHOD = Method(
    build=_build,
    audit=audit.float_constants,
    # Equal to 1e-6 but where rounding turns a sign, which can't be seen inside that runtime: one
    # turned sign moved an image's outputs by 1% of their rms.
    tolerance=Tolerance(0.1, 0.98, max_relative_rms=0.01),
    runtime=Runtime(
        custom_ops=LCE_OPS,
        needs="larq-compute-engine",
        opaque=True,
        in_litert=False,
        first_run=lambda path, signature, images: run(path, images),
        oldest=lambda content: RUNTIME,
    ),
)

STORAGE = Storage(
    name="lce",
    summary=(
        "1 bit a weight of binary convolutions with binary inputs, for ARM phones that run "
        "larq-compute-engine instead of LiteRT. From Python only (tfcompress.export), and with "
        "larq-compute-engine 0.16 in an environment of its own"
    ),
    method=lambda traits: _METHOD,
)
