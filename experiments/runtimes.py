"""Exported files in older runtimes: do they load, and do they compute the same?

Run:

    .venv/bin/python experiments/runtimes.py m.tflite --output=build/runtimes --envs=build/envs

with any number of files. Each runtime gets an environment of its own in `--envs`, made once; each
file runs there in a process of its own, on test images of the embedded data (random numbers for a
file of another size), and its outputs are compared with those of the LiteRT that is installed here.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from environments import environment
from measurements import Measurements, Row, conduct, made_here, parser, single
from page import Page
from PIL import Image

from tfcompress import data
from tfcompress.runtime.model import LiteModel, dequantize, quantize
from tfcompress.tflite import metadata, versions
from tfcompress.tflite.content import read

RUNTIMES = (
    "tensorflow-cpu==2.16.1",
    "tflite-runtime==2.14.0",
    "ai-edge-litert==1.0.1",
    "ai-edge-litert==1.1.2",
    "ai-edge-litert==2.1.2",
)
# The first two were built for NumPy 1.
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


def name_of(path: Path) -> str:
    """Returns a file's name; a run's file is known by its folder."""
    return path.parent.name if path.stem == "compressed" else path.stem


def measured(path: Path, envs: Path, runtimes: list[str], count: int) -> Row:
    """Runs one file here and in each runtime."""
    with tempfile.TemporaryDirectory() as folder:
        model = LiteModel(path)
        real = _inputs(path, model, count)
        right = model.predict(real)
        inputs = Path(folder) / "inputs.npy"
        np.save(inputs, quantize(real, model.inputs[0].details))
        fates = {
            name: _compared(environment(envs, name, NUMPY), path, inputs, model, right)
            for name in runtimes
        }
    return {
        "size_bytes": path.stat().st_size,
        "oldest": str(versions.oldest(read(path))),
        "runtimes": fates,
    }


def fate(row: Row, images: int) -> str:
    """Returns what became of a file in a runtime, in words."""
    return row.get("said") or f"{row['same']} of {images}, {row['largest']:.1e}"


def page_of(results: Measurements) -> Page:
    runtimes, images = results.settings["runtimes"], results.settings["images"]
    rows = []
    for name, row in results.rows.items():
        fates = [fate(row["runtimes"][runtime], images) for runtime in runtimes]
        rows.append(([name, f"{row['size_bytes'] / 1024:,.1f}", row["oldest"], *fates], [name]))
    return Page(
        "Exported files in older runtimes",
        f"Labels and outputs on {images} test images, compared with the LiteRT named above, "
        "each with its own fast kernels, on x86-64: how many labels are equal, and the largest "
        "difference of an output as a share of the largest output. Or what the runtime said. "
        "The oldest runtime is what `tfcompress.inspect` says of the file.",
        ["file", "KiB", "oldest runtime, said", *runtimes],
        rows,
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("files", nargs="*", type=Path, help=".tflite files")
    flags.add_argument("--envs", type=Path, default=Path("build/envs"), help="of environments")
    flags.add_argument("--images", type=int, default=100, help="test images")
    flags.add_argument("--runtimes", default=",".join(RUNTIMES), help="pip's names, with commas")
    flags = flags.parse_args()
    runtimes = flags.runtimes.split(",")
    conduct(
        flags,
        [
            single(name_of(path), measured, path, flags.envs, runtimes, flags.images)
            for path in flags.files
        ],
        page_of,
        settings={"runtimes": runtimes, "images": flags.images},
        made=lambda: made_here(envs="build/envs"),
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


def _compared(python: str, path: Path, inputs: Path, model: LiteModel, right: np.ndarray) -> Row:
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
        return {"said": f"not done after {SECONDS} s"}
    if not outputs.exists():
        return {"said": _said(done)}
    got = dequantize(np.load(outputs), model.outputs[0].details)
    if not np.isfinite(got).all():
        return {"said": "outputs that aren't finite"}
    axes = tuple(range(1, right.ndim))
    same = (got.reshape(len(got), -1).argmax(1) == right.reshape(len(right), -1).argmax(1)).sum()
    largest = float(np.abs(got - right).max(axis=axes).max() / np.abs(right).max())
    return {"same": int(same), "largest": largest}


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process has no outputs."""
    if done.returncode < 0:
        return f"crashes (signal {-done.returncode})"
    lines = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
    return f"refused: {lines[-1][:120]}" if lines else f"ended with status {done.returncode}"


if __name__ == "__main__":
    main()
