r"""Binary nets as files of larq-compute-engine, in its own interpreter.

Run:

    .venv/bin/python experiments/lce.py --output=build/lce --env=build/envs

About ten minutes on two cores. larq-compute-engine 0.16 needs NumPy below 2, so that it gets an
environment of its own in `--env`. A `vgg_small` is trained for a few epochs on the embedded data
and binarised by the technique `xnor`. Four 3x3 convolutions of one size behind one another have
random weights, which latency doesn't depend on, and random batch normalisations: without those,
sums of signs are often exactly 0, and any two runtimes round them to different sides. Each net is
written as float32 by the stock converter, as a float net and as a binary one, as `lce`, and with
the 1-bit ops of our own kernels, which run in LiteRT: its process and that of `lce` take turns.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

import keras
import numpy as np
from environments import environment
from measurements import Measurements, Row, conduct, made_here, parser, single
from page import Page

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


STACKS = {f"4 convs {size}x{size}x{channels}": (size, channels) for size, channels in CONVS}
TRAINED = "vgg_small, xnor"


def measured(name: str, images: int, epochs: int, rounds: int) -> Row:
    """Measures one net's files."""
    if name == TRAINED:
        return row(*trained(images, epochs), rounds)
    size, channels = STACKS[name]
    nets = [convolutions(layer, size, channels) for layer in (keras.layers.Conv2D, None)]
    random = np.random.default_rng(0).normal(size=(8, size, size, channels))
    return row(*nets, random.astype("float32"), rounds)


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


def trained(images: int, epochs: int) -> tuple[keras.Model, keras.Model, np.ndarray]:
    """A trained net, and what `xnor` makes of it."""
    dataset = data.load("fashion_mnist_small")
    keras.utils.set_random_seed(0)
    net = models.build("vgg_small", dataset.image_shape, dataset.num_classes)
    training.fit(net, dataset, Training(epochs=epochs))
    binary = tfcompress.compress(net, "xnor", dataset, epochs=epochs, verbose=False)
    pixels = dataset.test.images.batch(np.arange(min(images, len(dataset.test))))
    return net, binary, dataset.normalization(pixels)


def row(net: keras.Model, binary: keras.Model, images: np.ndarray, rounds: int) -> Row:
    """Returns what one line of the table shows."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{kind}.tflite" for kind in ("float", "signs", "lce", "xnor")]
        before = tfcompress.export(net, paths[0])
        tfcompress.export(binary, paths[1])
        labelled = len(binary.output_shape) == 2
        after: Exported = tfcompress.export(
            binary, paths[2], storage="lce", representative=images if labelled else None
        )
        got = lce.run(paths[2], images).outputs[0]
        editor = Editor(paths[1])
        xnor_ops.write_xnor(editor)
        editor.write(paths[3])
        times, ours = in_turns(paths, rounds)
    expected = training.logits(binary, images) if labelled else binary.predict(images, verbose=0)
    assert got is not None
    difference = got.reshape(expected.shape) - expected
    agreement = float((got.argmax(1) == expected.argmax(1)).mean()) if labelled else None
    return {
        "size_bytes": before.size_bytes,
        "smaller": before.size_bytes / after.size_bytes,
        "float_ms": statistics.median(times[0]),
        "lce_ms": statistics.median(times[2]),
        "lce_to_float": ratio(times[2], times[0]),
        "signs_to_float": ratio(times[1], times[0]),
        "ours_ms": statistics.median(ours[1]),
        "ours_to_float": ratio(ours[1], ours[0]),
        "ours_to_lce": ratio(
            ours[1], [statistics.median(turn) for turn in np.array_split(times[2], TURNS)]
        ),
        "relative_rms": float(np.sqrt(np.mean(difference**2) / np.mean(expected**2))),
        "largest": float(np.abs(difference).max() / np.abs(expected).max()),
        "agreement": agreement,
        "images": len(images),
        "kept": list(after.kept),
    }


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


def ratio(times: list[float], base: list[float]) -> list[float]:
    """Returns the median of a round's ratios, with the 10th and 90th percentile."""
    return [float(value) for value in np.percentile(np.divide(times, base), [50, 10, 90])]


def spread(values: list[float]) -> str:
    """Returns a median with its percentiles."""
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def cells(row: Row) -> list[str]:
    """Returns a row's part of the table that was measured."""
    agreement = row["agreement"]
    return [
        f"{row['size_bytes'] / 1024:,.1f}",
        f"{row['smaller']:.1f}",
        f"{row['float_ms']:.3f}",
        f"{row['lce_ms']:.3f}",
        spread(row["lce_to_float"]),
        spread(row["signs_to_float"]),
        f"{row['ours_ms']:.3f}",
        spread(row["ours_to_float"]),
        spread(row["ours_to_lce"]),
        f"{row['relative_rms']:.1e}",
        f"{row['largest']:.1e}",
        "-" if agreement is None else f"{agreement:.4f} of {row['images']}",
        ", ".join(row["kept"]) or "-",
    ]


def page_of(results: Measurements) -> Page:
    return Page(
        "Binary nets in larq-compute-engine",
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
        [([name, *cells(results[name])], [name]) for name in (*STACKS, TRAINED) if name in results],
    )  # fmt: skip


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--env", type=Path, default=Path("build/envs"), help="of environments")
    flags.add_argument("--images", type=int, default=500, help="test images to compare on")
    flags.add_argument("--epochs", type=int, default=3, help="of each training")
    flags.add_argument("--rounds", type=int, default=200, help="timed inferences of each file")
    flags = flags.parse_args()
    if not flags.render:
        os.environ[lce.PYTHON] = environment(flags.env, *PACKAGES)
    settings = {name: getattr(flags, name) for name in ("images", "epochs", "rounds")}
    conduct(
        flags,
        [single(name, measured, name, *settings.values()) for name in (*STACKS, TRAINED)],
        page_of,
        settings=settings,
        made=lambda: made_here(env="build/envs"),
    )


if __name__ == "__main__":
    main()
