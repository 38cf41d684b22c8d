r"""Binary nets as files of larq-compute-engine, in its own interpreter.

Run:

    python experiments/lce.py --output=experiments/results/lce --env=build/envs

About ten minutes on two cores. larq-compute-engine 0.16 needs NumPy below 2, so that it gets an
environment of its own in `--env`. A `vgg_small` is trained for a few epochs on the embedded data
and binarised by the technique `xnor`. Four 3x3 convolutions of one size behind one another have
random weights, which latency doesn't depend on, and random batch normalisations: without those,
sums of signs are often exactly 0, and any two runtimes round them to different sides. Each net is
written as float32 by the stock converter, as a float net and as a binary one, as `lce`, and with
the 1-bit ops of our own kernels, which run in LiteRT: its process and that of `lce` take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import keras
import numpy as np
from environments import environment
from page import command, page

import tfcompress
from tfcompress import data, kernels, models, training
from tfcompress.benchmark.latency import latency
from tfcompress.config import Training
from tfcompress.export import Exported, xnor_ops
from tfcompress.export.storages import lce
from tfcompress.layers import BinaryConv2D
from tfcompress.tflite.editor import Editor

PACKAGES = ("larq-compute-engine==0.16.*", "numpy<2")
TURNS = 20
CONVS = ((56, 64), (28, 128), (14, 256), (7, 512))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the table")
    parser.add_argument("--env", type=Path, required=True, help="folder of environments")
    parser.add_argument("--images", type=int, default=500, help="test images to compare on")
    parser.add_argument("--epochs", type=int, default=3, help="of each training")
    parser.add_argument("--rounds", type=int, default=200, help="timed inferences of each file")
    flags = parser.parse_args()
    os.environ[lce.PYTHON] = environment(flags.env, *PACKAGES)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size, channels in CONVS:
            nets = [convolutions(layer, size, channels) for layer in (keras.layers.Conv2D, None)]
            images = np.random.default_rng(0).normal(size=(8, size, size, channels))
            case = (f"4 convs {size}x{size}x{channels}", *nets, images.astype("float32"))
            rows.append(row(Path(folder), *case, flags.rounds))
        rows.append(row(Path(folder), *trained(flags.images, flags.epochs), flags.rounds))
    page(
        flags.output,
        "Binary nets in larq-compute-engine",
        command(env="build/envs"),
        f"{PACKAGES[0]}, its interpreter with one thread, indirect products and XNNPACK for what "
        "isn't binary; on x86-64 its binary kernels are portable code, which its authors call "
        "correct and not optimised. Latencies are medians, ratios medians over rounds with the "
        "10th and 90th percentile; all files of a net run in turns in one process, and those in "
        "LiteRT (its own float kernels, our 1-bit kernels) in one beside it, by turns. Sizes "
        "and ratios are to the float net's float32 file. The last figures compare the lce "
        "file with Keras, signs that rounding turned included; random nets have no labels.",
        ["net", "float, KiB", "times smaller", "float, ms", "lce, ms", "lce to float",
         "binary as float32 to float", "ours, ms", "ours to float, both in LiteRT", "ours to lce",
         "off by, of the outputs' rms", "largest, of the largest",
         "equal labels", "binary layers left float"],
        rows,
    )  # fmt: skip


def convolutions(layer: type | None, size: int, channels: int) -> keras.Model:
    """Four convolutions, binary ones if no layer is given."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = inputs = keras.Input((size, size, channels))
    for _ in range(4):
        x = (layer or BinaryConv2D)(channels, 3, padding="same")(x)
        norm = keras.layers.BatchNormalization()
        x = norm(x)
        gamma, variance = random.uniform(0.5, 1.5, (2, channels))
        norm.set_weights([gamma, *random.normal(0, 0.2, (2, channels)), variance])
    return keras.Model(inputs, x)


def trained(images: int, epochs: int) -> tuple[str, keras.Model, keras.Model, np.ndarray]:
    """A trained net, and what `xnor` makes of it."""
    dataset = data.load("fashion_mnist_small")
    keras.utils.set_random_seed(0)
    net = models.build("vgg_small", dataset.image_shape, dataset.num_classes)
    training.fit(net, dataset, Training(epochs=epochs))
    binary = tfcompress.compress(net, "xnor", dataset, epochs=epochs, verbose=False)
    pixels = dataset.test.images.batch(np.arange(min(images, len(dataset.test))))
    return "vgg_small, xnor", net, binary, dataset.normalization(pixels)


def row(
    folder: Path, name: str, net: keras.Model, binary: keras.Model, images: np.ndarray, rounds: int
) -> list[str]:
    """One line of the table."""
    paths = [folder / f"{kind}.tflite" for kind in ("float", "signs", "lce")]
    before = tfcompress.export(net, paths[0])
    tfcompress.export(binary, paths[1])
    labelled = len(binary.output_shape) == 2
    after: Exported = tfcompress.export(
        binary, paths[2], storage="lce", representative=images if labelled else None
    )
    expected = training.logits(binary, images) if labelled else binary.predict(images, verbose=0)
    got = lce.run(paths[2], images).outputs
    assert got is not None
    difference = got.reshape(expected.shape) - expected
    rms = np.sqrt(np.mean(difference**2) / np.mean(expected**2))
    editor = Editor(paths[1])
    xnor_ops.write_xnor(editor)
    paths.append(folder / "xnor.tflite")
    editor.write(paths[3])
    times, ours = in_turns(paths, rounds)
    line = [
        name,
        f"{before.size_bytes / 1024:,.1f}",
        f"{before.size_bytes / after.size_bytes:.1f}",
        f"{statistics.median(times[0]):.3f}",
        f"{statistics.median(times[2]):.3f}",
        ratio(times[2], times[0]),
        ratio(times[1], times[0]),
        f"{statistics.median(ours[1]):.3f}",
        ratio(ours[1], ours[0]),
        ratio(ours[1], [statistics.median(turn) for turn in np.array_split(times[2], TURNS)]),
        f"{rms:.1e}",
        f"{np.abs(difference).max() / np.abs(expected).max():.1e}",
        f"{(got.argmax(1) == expected.argmax(1)).mean():.4f} of {len(images)}" if labelled else "-",
        ", ".join(after.kept) or "-",
    ]
    print(*line, flush=True)
    return line


def in_turns(paths: list[Path], rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Milliseconds of the float, the sign and the lce file there, of the float and ours here.

    There each inference is timed, here the medians of `TURNS` turns.
    """
    there: list[list[float]] = [[], [], []]
    here: list[list[float]] = [[], []]
    backend = f"delegate:{kernels.library()}"
    for _ in range(TURNS):
        for kept, new in zip(there, lce.latencies_ms(paths[:3], rounds // TURNS), strict=True):
            kept += new
        pair = [paths[0], paths[3]]
        found = latency(pair, backend=backend, runs=rounds // TURNS, min_seconds=0.2)
        for taken, file in zip(here, found, strict=True):
            taken.append(file.latency_ms_p50)
    return there, here


def ratio(times: list[float], base: list[float]) -> str:
    """The median of a round's ratios, with the 10th and 90th percentile."""
    low, mid, high = np.percentile(np.divide(times, base), [10, 50, 90])
    return f"{mid:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
