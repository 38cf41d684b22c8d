"""Binary convolutions as larq-compute-engine's ops: for its runtime, on ARM phones.

Its libraries need NumPy below 2, so that they can't be imported here: they work in a process of
another Python, which an environment variable names.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.errors import ExportError, InputError
from tfcompress.export import convert, layer_errors, lce_child
from tfcompress.export.bits import one_magnitude
from tfcompress.runtime.process import Cost, ProcessError, ask
from tfcompress.tflite.content import read

PYTHON = "TFCOMPRESS_LCE_PYTHON"
RUNTIME = "larq-compute-engine 0.16's own runtime"
HOW = (
    "make an environment for it with Python 3.11 or 3.12, on x86-64 or a Mac (python3.11 -m venv "
    "lce; lce/bin/pip install 'larq-compute-engine==0.16.*' 'numpy<2'), and set "
    f"{PYTHON}=lce/bin/python"
)
_TIMEOUT_S = 600.0


def python() -> str:
    """The Python that has larq-compute-engine.

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


def write(lowered: keras.Model, path: Path) -> dict[str, str]:
    """Writes a lowered model with its binary convolutions as custom ops.

    Args:
        lowered: in stock layers, the binary inputs as -1 and +1.
        path: of the new file.

    Returns:
        Layers whose binary weights stayed floats, and why.

    Raises:
        InputError: larq-compute-engine isn't there, or the model has nothing for it.
        ExportError: it can't convert the model.
    """
    worker = python()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        convert.saved(lowered, folder, "tf_saved_model")
        try:
            _ask(worker, task="convert", folder=folder, path=str(path.absolute()))
        except ProcessError as error:
            raise ExportError(f"larq-compute-engine can't convert it: {error.cause}") from error
    content = read(path)
    if "CUSTOM:LceBconv2d" not in content.op_counts():
        raise InputError(
            f"storage lce finds no convolution of model '{lowered.name}' with binary inputs and "
            "weights: use float32, or a technique that makes some, such as xnor"
        )
    ops = list(layer_errors.products(content))
    names, weights = layer_errors.layer_names(lowered, ops), convert.product_weights(path)
    return {
        names[op.outputs[0].name]: f"4 bytes a weight: it is a {op.name}, which has no binary op"
        for op in ops
        for tensor in op.inputs[1:2]
        if tensor and one_magnitude(weights[tensor.name])
    }


def run(path: Path, images: np.ndarray | None) -> tuple[np.ndarray | None, Cost]:
    """The outputs of a file for images, and what it costs, in its own runtime.

    Raises:
        ExportError: it doesn't run.
    """
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        given, made = Path(folder) / "images.npy", Path(folder) / "outputs.npy"
        if images is not None:
            np.save(given, images)
        try:
            cost = _ask(
                python(),
                task="run",
                path=str(path.absolute()),
                images=None if images is None else str(given),
                outputs=str(made),
                loads=3,
            )
        except ProcessError as error:
            raise ExportError(f"the file doesn't run: {error.cause}") from error
        outputs = None if images is None else np.load(made, allow_pickle=False)
        return outputs, Cost(**cost)


def latencies_ms(paths: list[Path], rounds: int) -> list[list[float]]:
    """The times of files that take the same images, in turns in larq-compute-engine's runtime.

    Raises:
        ProcessError: one of them doesn't run.
    """
    named = [str(path.absolute()) for path in paths]
    found = _ask(python(), task="time", paths=named, rounds=rounds)["latency_ms"]
    return [[float(one) for one in times] for times in found]


def _ask(worker: str, **request: Any) -> dict[str, Any]:
    # -I: neither our packages nor the user's folder are that Python's.
    words = [worker, "-I", lce_child.__file__]
    return ask(request, timeout_s=_TIMEOUT_S, arguments=words, title="larq-compute-engine process")
