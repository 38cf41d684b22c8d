"""Five tasks that aren't classification of colour images: float and compressed files, judged.

Run:

    .venv/bin/python experiments/real_tasks.py --data_dir=DIR --output=build/real_tasks

with `DIR` where TFDS keeps MNIST; `--task=segmentation` runs one task, `--task=faces,words` two.
About 20 minutes on two cores. Each task is written as a user of the package would write it: a small
net is compiled and trained, compressed by `tfcompress.compress`, written by `tfcompress.export` and
judged by `tfcompress.load` on all held-out examples. Faces, portraits and words are drawn
(`task_data.py`). One seed: differences of a few standard errors say nothing.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import task_data
from keras import layers
from measurements import Measurements, Row, conduct, made_here, parser
from page import Page

import tfcompress

BATCH = 64
LEARNING_RATE = 2e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """One compressed form of a net.

    Attributes:
        storage: how its file is written.
        technique: of `compress`; none where the file alone is compressed.
        options: of the technique.
        epochs: of its training.
    """

    storage: str
    technique: str = ""
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    epochs: int = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned, and how it is judged.

    Attributes:
        what: the task in words, for the page.
        load: returns the examples, given the folder of TFDS.
        net: builds the float net.
        loss: as Keras names it.
        epochs: of the float training.
        metric: its name, with its unit.
        judge: returns the metric of outputs and targets.
        forms: by the name in the table.
    """

    what: str
    load: task_data.Load
    net: Callable[[], keras.Model]
    loss: str
    epochs: int
    metric: str
    judge: Callable[[np.ndarray, np.ndarray], float]
    forms: dict[str, Form]


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the share of right classes, in percent."""
    return 100 * float((outputs.argmax(-1) == targets).mean())


def decibels(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio of images in 0..1, the mean over images."""
    error = np.square(outputs.clip(0, 1) - targets).reshape(len(targets), -1).mean(1)
    return float(np.mean(-10 * np.log10(error)))


def mean_iou(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the mean over classes of intersection by union, in percent."""
    found = outputs.argmax(-1)
    shares = []
    for kind in range(outputs.shape[-1]):
        both, either = (found == kind) & (targets == kind), (found == kind) | (targets == kind)
        shares.append(both.sum() / either.sum())
    return 100 * float(np.mean(shares))


def years(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the mean absolute error."""
    return float(np.abs(outputs - targets).mean())


def sequence_net() -> keras.Model:
    inputs = keras.Input((28, 28))
    x = layers.LSTM(64)(inputs)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def convolution(x: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
    """Returns a 3x3 convolution with batch normalisation and ReLU."""
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def autoencoder() -> keras.Model:
    inputs = keras.Input((28, 28, 1))
    x = convolution(convolution(inputs, 16), 32, strides=2)
    x = convolution(convolution(x, 64, strides=2), 64)
    x = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def u_net() -> keras.Model:
    inputs = keras.Input((task_data.CANVAS, task_data.CANVAS, 1))
    skips, x = [], inputs
    for filters in (8, 16, 32):
        x = convolution(x, filters)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = convolution(convolution(x, 64), 64)
    for filters, skip in zip((32, 16, 8), reversed(skips), strict=True):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = convolution(x, filters)
    classes = layers.Conv2D(task_data.SEGMENTED + 1, 1, activation="softmax")(x)
    return keras.Model(inputs, classes)


def age_net() -> keras.Model:
    x = inputs = keras.Input((48, 48, 1))
    for filters in (16, 32, 64, 64):
        x = layers.MaxPooling2D()(convolution(x, filters))
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    # Years by a fixed scale: the net itself learns values around 0.
    x = layers.Dense(1)(x)
    return keras.Model(inputs, layers.Rescaling(15.0, offset=50.0)(x))


def word_net() -> keras.Model:
    x = inputs = keras.Input((61, 40))
    for filters, strides in ((32, 1), (64, 2), (64, 2), (128, 2)):
        x = layers.Conv1D(filters, 5, strides=strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(8, activation="softmax")(x))


INT8 = Form(storage="int8")
PRUNED_INT8 = Form(storage="int8", technique="prune", options={"final_sparsity": 0.75})

TASKS: dict[str, Task] = {
    "sequences": Task(
        what="MNIST as sequences of 28 rows; LSTM of 64 units",
        load=task_data.rows_of_digits,
        net=sequence_net,
        loss="sparse_categorical_crossentropy",
        epochs=8,
        metric="accuracy, %",
        judge=accuracy,
        forms={
            "dynamic": Form(storage="dynamic"),
            "prune, dynamic": Form(
                storage="dynamic", technique="prune", options={"final_sparsity": 0.75}
            ),
            "cluster, dynamic": Form(storage="dynamic", technique="cluster"),
        },
    ),
    "denoising": Task(
        what="clothes without their noise; convolutional autoencoder",
        load=task_data.noisy_clothes,
        net=autoencoder,
        loss="mse",
        epochs=8,
        metric="PSNR, dB",
        judge=decibels,
        forms={
            "int8": INT8,
            "prune, int8": PRUNED_INT8,
            "svd": Form(storage="float32", technique="svd", options={"macs_ratio": 0.5}, epochs=3),
        },
    ),
    "segmentation": Task(
        what="digits on noisy canvases of 64x64, 6 classes a pixel; U-Net",
        load=task_data.digits_on_canvases,
        net=u_net,
        loss="sparse_categorical_crossentropy",
        epochs=10,
        metric="mean IoU, %",
        judge=mean_iou,
        forms={
            "int8": INT8,
            "prune, int8": PRUNED_INT8,
            "cp, int8": Form(storage="int8", technique="cp", options={"macs_ratio": 0.5}, epochs=3),
        },
    ),
    "ages": Task(
        what="the age of drawn portraits, 20 to 80 years; convolutions and dense layers",
        load=task_data.portraits,
        net=age_net,
        loss="mse",
        epochs=10,
        metric="MAE, years",
        judge=years,
        forms={
            "int8": INT8,
            "svd, int8": Form(
                storage="int8", technique="svd", options={"macs_ratio": 0.5}, epochs=3
            ),
            "xnor": Form(storage="int8", technique="xnor", epochs=8),
        },
    ),
    "words": Task(
        what="eight synthetic words as log-mel spectrograms; 1D convolutions",
        load=task_data.spoken_words,
        net=word_net,
        loss="sparse_categorical_crossentropy",
        epochs=6,
        metric="accuracy, %",
        judge=accuracy,
        forms={
            "int8": INT8,
            "prune, int8": PRUNED_INT8,
            "cluster, dynamic": Form(storage="dynamic", technique="cluster"),
        },
    ),
}


def trained(task: Task, examples: task_data.Arrays) -> keras.Model:
    """Returns the task's float net, compiled and trained."""
    x, y = examples[:2]
    keras.utils.set_random_seed(0)
    net = task.net()
    steps = task.epochs * -(-len(x) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    net.compile(keras.optimizers.Adam(rate), task.loss)
    net.fit(x, y, batch_size=BATCH, epochs=task.epochs, verbose=0)
    return net


def measured(name: str, data_dir: str | None, runs: int) -> dict[str, Row]:
    """Trains and compresses the net of one task; returns a row for each file."""
    task = TASKS[name]
    examples = task.load(data_dir)
    x, y, x_test, y_test = examples
    net = trained(task, examples)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (form_name, form) in enumerate(
            {"float32": Form(storage="float32"), **task.forms}.items()
        ):
            small = net
            if form.technique:
                small = tfcompress.compress(
                    net,
                    form.technique,
                    (x, y),
                    validation_data=(x_test, y_test),
                    epochs=form.epochs,
                    batch_size=BATCH,
                    learning_rate=LEARNING_RATE / 4,
                    learning_rate_schedule="constant",
                    **form.options,
                )
            path = Path(folder) / f"{number}.tflite"
            written = tfcompress.export(
                small, path, storage=form.storage, representative=x[:1000], io="float32"
            )
            outputs = tfcompress.load(path, arrays=True).predict(x_test)
            rows[form_name] = {
                "metric": task.judge(outputs, y_test),
                "keras_metric": task.judge(small.predict(x_test, verbose=0), y_test),
                "parameters": small.count_params(),
                "notes": list(written.notes),
            }
            paths.append(path)
        for row, file in zip(rows.values(), tfcompress.benchmark(paths, runs=runs), strict=True):
            row |= {
                "size_bytes": file.size_bytes,
                "gzip_bytes": file.gzip_bytes,
                "macs": file.macs,
                "latency_ms_p50": file.latency_ms_p50,
                "ratio": file.ratio,
                "ratio_p10": file.ratio_p10,
                "ratio_p90": file.ratio_p90,
            }
    return {f"{name}, {form_name}": row for form_name, row in rows.items()}


def keys_of(name: str) -> tuple[str, ...]:
    """Returns the keys of a task's rows."""
    return tuple(f"{name}, {form}" for form in ("float32", *TASKS[name].forms))


def cells(row: Row, first: Row) -> list[str]:
    """Returns what was measured of a file."""
    ratio = "1"
    if row is not first:
        ratio = f"{row['ratio']:.2f} ({row['ratio_p10']:.2f} to {row['ratio_p90']:.2f})"
    return [
        f"{row['metric']:.2f}",
        f"{row['keras_metric']:.2f}",
        *(f"{row[name] / 1024:,.1f}" for name in ("size_bytes", "gzip_bytes")),
        f"{row['size_bytes'] / first['size_bytes']:.3f}",
        ratio,
    ]


def page_of(results: Measurements) -> Page:
    rows = []
    for name, task in TASKS.items():
        for key in keys_of(name):
            if key in results:
                first = results[f"{name}, float32"]
                start = [task.what, task.metric] if results[key] is first else ["", ""]
                form = key.removeprefix(f"{name}, ")
                rows.append(([*start, form, *cells(results[key], first)], [key]))
    return Page(
        "Real tasks",
        "The metric is that of the `.tflite` file on all held-out examples, by `tfcompress.load`; "
        "beside it that of the Keras model which was written. PSNR and accuracy and IoU rise as a "
        "file gets better, MAE falls. One seed, Adam, batch "
        f"{BATCH}. Latency on one thread, all files of a task in turns in one run, divided by the "
        "float32 file's: median, 10th and 90th percentile over the rounds. Batch size, momentum of "
        "the batch normalisations, epochs of `prune` and `cluster` and the numbers of digits and "
        "canvases were chosen after a first run with which words and ages went badly.",
        [
            "task",
            "metric",
            "file",
            "of the file",
            "in Keras",
            "KiB",
            "gzip",
            "bytes, of float's",
            "latency, of float's",
        ],
        rows,
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--data_dir", help="where TFDS keeps MNIST")
    flags.add_argument("--task", default=",".join(TASKS), help="names with commas")
    flags.add_argument("--runs", type=int, default=200, help="timed inferences of each file")
    flags = flags.parse_args()
    names = flags.task.split(",")
    for name in names:
        if name not in TASKS:
            flags.error(f"--task takes {', '.join(TASKS)}; got '{name}'")
    conduct(
        flags,
        [
            (keys_of(name), lambda name=name: measured(name, flags.data_dir, flags.runs))
            for name in names
        ],
        page_of,
        settings={"runs": flags.runs},
        made=lambda: made_here(data_dir="DIR"),
    )


if __name__ == "__main__":
    main()
