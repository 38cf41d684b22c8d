r"""MLPerf Tiny's image classification: our files of its reference model, beside its own int8 file.

Run:

    .venv/bin/python experiments/mlperf_tiny.py --files=DIR --data_dir=DIR --output=build/tiny
    .venv/bin/python experiments/mlperf_tiny.py --files=DIR --data_dir=DIR --output=build/tiny \
        --rules=open

`--files` holds what lies in `benchmark/training/image_classification` of github.com/mlcommons/tiny:
the files of `trained_models`, and `calibration_samples_idxs.npy`, which may be called
`ic_calibration_samples_idxs.npy`. `--data_dir` is where TFDS keeps CIFAR-10. About ten minutes for
the closed rules, without training; the open ones train, about half a minute an epoch on two quiet
cores. Each finished row is kept in `runs.json` of the output folder, a trained network in `--work`.

Closed rules: the reference's weights and its 500 calibration images without their labels, no
training. Where a choice of bits needs labels, they are the float model's own answers. The
calibration images are test images, by the benchmark's own list; TFDS has the test images in another
order, so that they are put back into the official one first. Open rules: anything; here the weights
are trained on from the reference's, and nothing is chosen by the test images.

Accuracy is the file's on all 10,000 test images, pixels from 0 to 255 as the reference takes them.
Latency is the ratio to the reference's int8 file (`resnet8_large`'s to its own), timed in turns.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from float_nets import kept
from measurements import Measurements, Row, Step, conduct, made_here, parser, single
from mlperf_tiny_table import CELLS, cells_of, verdicts
from page import Page

import tfcompress
from tfcompress import data, models
from tfcompress.data import Normalization
from tfcompress.errors import require
from tfcompress.export import NoiseBudget, Validation
from tfcompress.graph.nodes import producer
from tfcompress.runtime import LiteModel

# The benchmark's files: float, int8, and the network's weights as Keras has them.
FILES = {
    "resnet8": ("pretrainedResnet.tflite", "pretrainedResnet_quant.tflite", "pretrainedResnet.h5"),
    "resnet8_large": (
        "pretrainedResnet_large_float.tflite",
        "pretrainedResnet_large_int8.tflite",
        None,
    ),
}
INDICES = ("ic_calibration_samples_idxs.npy", "calibration_samples_idxs.npy")
# Images that go through a file at once.
BATCH = 500
SEED = 0
# Of a filter whose weights are drawn with the variance 2 / inputs.
NEW_NORM = 2**0.5


@functools.cache
def test_images(data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns CIFAR-10's test images, uint8, and their labels, in the official order."""
    import tensorflow_datasets as tfds

    found = tfds.as_numpy(
        tfds.load("cifar10", split="test", data_dir=data_dir, download=False, batch_size=-1)
    )
    order = np.argsort([int(name.decode().rsplit("_", 1)[1]) for name in found["id"]])
    return found["image"][order], found["label"][order]


def calibration(flags: argparse.Namespace) -> np.ndarray:
    """Returns the images that the benchmark calibrates on, pixels from 0 to 255, float32."""
    path = next((flags.files / name for name in INDICES if (flags.files / name).exists()), None)
    require(path is not None, f"{flags.files} holds none of {', '.join(INDICES)}")
    return test_images(flags.data_dir)[0][np.load(path)].astype("float32")


def network(flags: argparse.Namespace, name: str) -> keras.Model:
    """Returns a reference network, with the weights of its Keras file or else its float file."""
    floats, _, weights = FILES[name]
    if weights:
        return models.load(flags.files / weights)
    net = models.build(name, (32, 32, 3), 10)
    return with_weights_of(net, flags.files / floats, calibration(flags))


def with_weights_of(model: keras.Model, path: Path, images: np.ndarray) -> keras.Model:
    """Gives a network the weights of a float file, which has batch normalisation folded into them.

    Both have their convolutions in the order in which they run, a block's shortcut between its two
    convolutions and the sum. The normalisations get the statistics of the images, and give back
    what they take away: so they change nothing, in training neither. Filters get the norm that
    new ones have, and the normalisations make up for it: else the weights' penalty would be most of
    the loss.
    """
    from tfcompress.tflite.editor import Editor
    from tfcompress.tflite.weighted_ops import weighted

    editor = Editor(path)
    layers = [each for each in model.layers if hasattr(each, "kernel")]
    unused = [tuple(editor.values(number) for number in op.inputs[1:3]) for op in weighted(editor)]
    for layer in layers:
        # Filters come first in the file. A block has no two kernels of one shape but in its order.
        shape = (layer.kernel.shape[-1], *layer.kernel.shape[:-1])
        kernel, bias = next(pair for pair in unused if pair[0].shape == shape)
        unused = [pair for pair in unused if pair[0] is not kernel]
        layer.set_weights([np.moveaxis(kernel, 0, -1), bias])
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    factors = []
    for layer in norms:
        before = producer(layer.input)
        size = np.sqrt((before.kernel.numpy() ** 2).sum((0, 1, 2)))
        factors.append(np.where(size > 0, NEW_NORM / np.maximum(size, 1e-12), 1))
        before.set_weights([weights * factors[-1] for weights in before.get_weights()])
        layer.gamma.assign(np.sqrt(layer.moving_variance + layer.epsilon) / factors[-1])
    values = keras.Model(model.inputs, [layer.input for layer in norms]).predict(images, verbose=0)
    for layer, value, factor in zip(norms, values, factors, strict=True):
        mean, variance = value.mean((0, 1, 2)), value.var((0, 1, 2))
        gamma = np.sqrt(variance + layer.epsilon)
        layer.set_weights([gamma / factor, mean / factor, mean, variance])
    last = model.outputs[0]
    return keras.Model(model.inputs, keras.layers.Softmax(name="probabilities")(last))


def trained(flags: argparse.Namespace, key: str) -> keras.Model:
    """Returns a cell's network, trained if the cell says so; from `--work` if it lies there.

    The same reference network teaches in all trainings.
    """
    cell = CELLS[key]
    model = network(flags, cell.model)
    if not cell.trainings:
        return model
    teacher = network(flags, cell.teacher) if cell.teacher else model
    name = "_".join(filter(None, [cell.model, cell.teacher]))

    def made(technique: str, options: Mapping[str, Any]) -> keras.Model:
        cifar10 = data.load("cifar10", data_dir=flags.data_dir)
        images = cifar10.with_normalization(Normalization.identity())
        given = {} if model is teacher else {"teacher": teacher}
        return tfcompress.compress(model, technique, images, seed=SEED, **given, **options)

    for technique, options in cell.trainings:
        name = "_".join([name, technique, *map(str, options.values())])
        model = kept(flags.work / f"{name}.keras", functools.partial(made, technique, options))
    return model


def written(flags: argparse.Namespace, key: str, folder: Path) -> Path:
    """Returns the path of a cell's file: one of the benchmark's, or a new one."""
    cell = CELLS[key]
    if not cell.storage:
        return Path(flags.files / FILES[cell.model][key.endswith("int8")])
    model, images = trained(flags, key), calibration(flags)
    settings = dict(cell.export)
    if "validation" in settings:
        answers = model.predict(images, verbose=0).argmax(-1)
        settings["validation"] = Validation(images, answers, **settings["validation"])
    if "noise_budget" in settings:
        settings["noise_budget"] = NoiseBudget(bits=settings["noise_budget"])
    path = folder / "file.tflite"
    integers = cell.storage in ("int8", "int8_int4")
    tfcompress.export(
        model,
        path,
        storage=cell.storage,
        representative=images,
        calibration=images if integers else None,
        strict=False,
        **({"io": "float32"} if integers else {}) | settings,
    )
    return path


def accuracy(path: Path, data_dir: str | None) -> float:
    """Returns the share of the test images that a file classifies rightly."""
    model, (images, labels) = LiteModel(path), test_images(data_dir)
    right = 0
    for start in range(0, len(images), BATCH):
        outputs = model.predict(images[start : start + BATCH].astype("float32"))
        right += int((outputs.argmax(-1) == labels[start : start + BATCH]).sum())
    return right / len(images)


def measured(flags: argparse.Namespace, key: str) -> Row:
    """Writes one file and measures it beside the reference's int8 file."""
    reference = flags.files / FILES[CELLS[key].model][1]
    with tempfile.TemporaryDirectory() as folder:
        path = written(flags, key, Path(folder))
        _, file = tfcompress.benchmark([reference, path], runs=flags.runs)
        return {
            "size_bytes": path.stat().st_size,
            "accuracy": accuracy(path, flags.data_dir),
            "ms": file.latency_ms_p50,
            "ratio": file.ratio,
            "ratio_p10": file.ratio_p10,
            "ratio_p90": file.ratio_p90,
        }


HEADERS = ["file", "rules", "bytes", "accuracy, %", "latency ratio"]


def page_of(results: Measurements) -> Page:
    rows = [
        (cells_of(name, results.rows.get(name)), [name] if name in results else [])
        for name in CELLS
    ]
    return Page(
        "MLPerf Tiny: image classification",
        "ResNet-8 of MLPerf Tiny on CIFAR-10: accuracy on all 10,000 test images; the latency "
        "ratio is to the reference's int8 file of the same network, one thread, median over "
        "rounds in turns with the 10th and 90th percentile. Closed rules train nothing and "
        "calibrate on the benchmark's own 500 images; open ones train on from the reference's "
        "weights.\n\n" + "\n".join(verdicts(results)),
        HEADERS,
        rows,
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--files", type=Path, help="folder of the benchmark's files")
    flags.add_argument("--data_dir", help="where TFDS keeps CIFAR-10")
    flags.add_argument("--rules", default="closed", choices=("closed", "open"))
    flags.add_argument("--only", choices=CELLS, metavar="ROW", help="the row of this name alone")
    flags.add_argument(
        "--work", type=Path, default=Path("build/mlperf_tiny"), help="folder of the trainings"
    )
    flags.add_argument("--runs", type=int, default=200, help="timed inferences of each file")
    flags = flags.parse_args()
    steps: list[Step] = [
        single(name, measured, flags, name)
        for name, cell in CELLS.items()
        if (cell.rules in ("reference", flags.rules) and flags.only in (None, name))
    ]
    made = functools.partial(made_here, files="DIR", data_dir="DIR", output="DIR", work="DIR")
    conduct(flags, steps, page_of, made=made)


if __name__ == "__main__":
    main()
