"""Exported files in older runtimes: do they load, and do they compute the same?

Run:

    python experiments/runtimes.py m.tflite --output=experiments/results/runtimes --envs=build/envs

with any number of files. Each runtime gets an environment of its own in `--envs`, made once; each
file runs there in a process of its own, on test images of the embedded data (random numbers for a
file of another size), and its outputs are compared with those of the LiteRT that is installed here.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from environments import environment
from page import command, page
from PIL import Image

from tfcompress import data
from tfcompress.runtime.model import LiteModel, dequantize, quantize
from tfcompress.tflite import metadata, versions
from tfcompress.tflite.content import read

RUNTIMES = ("tensorflow-cpu==2.16.1", "tflite-runtime==2.14.0")
# Both were built for NumPy 1.
NUMPY = "numpy<2"
SECONDS = 300
# Runs in a runtime's environment.
RUN = """
import sys
import numpy as np
try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow
        Interpreter = tensorflow.lite.Interpreter
path, inputs, outputs = sys.argv[1:]
interpreter = Interpreter(path, num_threads=1)
interpreter.allocate_tensors()
into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
found = []
for image in np.load(inputs):
    interpreter.set_tensor(into["index"], image[None])
    interpreter.invoke()
    found.append(interpreter.get_tensor(out["index"])[0])
np.save(outputs, np.array(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help=".tflite files")
    parser.add_argument("--output", type=Path, required=True, help="folder for the table")
    parser.add_argument("--envs", type=Path, required=True, help="folder of environments")
    parser.add_argument("--images", type=int, default=100, help="test images")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES), help="pip's names, with commas")
    flags = parser.parse_args()
    runtimes = flags.runtimes.split(",")
    pythons = [environment(flags.envs, name, NUMPY) for name in runtimes]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in flags.files:
            model = LiteModel(path)
            real = _inputs(path, model, flags.images)
            right = model.predict(real)
            inputs = Path(folder) / "inputs.npy"
            np.save(inputs, quantize(real, model._input))
            cells = [_compared(python, path, inputs, model, right) for python in pythons]
            oldest = versions.oldest(read(path))
            # A run's file is known by its folder.
            name = path.parent.name if path.stem == "compressed" else path.stem
            rows.append([name, f"{path.stat().st_size / 1024:,.1f}", str(oldest), *cells])
            print(*rows[-1], sep=" | ", flush=True)
    page(
        flags.output,
        "Exported files in older runtimes",
        command(envs="build/envs"),
        f"Labels and outputs on {flags.images} test images, compared with the LiteRT named above, "
        "each with its own fast kernels, on x86-64: how many labels are equal, and the largest "
        "difference of an output as a share of the largest output. Or what the runtime said. "
        "The oldest runtime is what `tfcompress.inspect` says of the file.",
        ["file", "KiB", "oldest runtime, said", *runtimes],
        rows,
    )


def _inputs(path: Path, model: LiteModel, count: int) -> np.ndarray:
    """Test images as the file takes them: real numbers (images, height, width, channels)."""
    shape, said = model.input_shape[1:], metadata.read(path)
    if said is None or not said.mean or len(shape) != 3:
        return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    test = data.load("fashion_mnist_small", image_size=shape[0]).test
    pixels = test.images.batch(np.linspace(0, len(test) - 1, count, dtype=int))
    pixels = np.stack([np.asarray(Image.fromarray(i).resize(shape[1::-1])) for i in pixels])
    mean, std = (np.asarray(values, np.float32) for values in (said.mean, said.std))
    return (pixels - mean) / std


def _compared(python: str, path: Path, inputs: Path, model: LiteModel, right: np.ndarray) -> str:
    """What becomes of a file in a runtime."""
    outputs = inputs.with_name("outputs.npy")
    outputs.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [python, "-c", RUN, str(path.absolute()), str(inputs), str(outputs)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done after {SECONDS} s"
    if not outputs.exists():
        return _said(done)
    got = dequantize(np.load(outputs), model._output)
    if not np.isfinite(got).all():
        return "outputs that aren't finite"
    axes = tuple(range(1, right.ndim))
    same = (got.reshape(len(got), -1).argmax(1) == right.reshape(len(right), -1).argmax(1)).sum()
    largest = float(np.abs(got - right).max(axis=axes).max() / np.abs(right).max())
    return f"{same} of {len(right)}, {largest:.1e}"


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process has no outputs."""
    if done.returncode < 0:
        return f"crashes (signal {-done.returncode})"
    lines = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
    return f"refused: {lines[-1][:120]}" if lines else f"ended with status {done.returncode}"


if __name__ == "__main__":
    main()
