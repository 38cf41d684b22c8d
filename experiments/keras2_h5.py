"""A Keras 2 `.h5` file of the wild: mini-Xception, loaded, compressed and compared with itself.

Run:

    .venv/bin/python experiments/keras2_h5.py --output=build/keras2_h5

About ten minutes on two cores; the `.h5` file is kept in `--work`. The net is that of Arriaga,
Valdenegro-Toro and Plöger 2017 (arXiv:1710.07557): separable convolutions, residual branches of 1x1
convolutions with strides, grey images of 64x64, seven classes. tf_keras trains it on drawn faces
(`task_data.py`) and saves it whole as `.h5`. `tfcompress.bridge.load_h5` reads that file, as the
command does for `--model`, and each `.tflite` file's labels on faces that no training saw are
compared with those that tf_keras predicts from the `.h5`.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import task_data
from measurements import Measurements, Row, conduct, parser, single
from page import Page

import tfcompress
from tfcompress.bridge import load_h5
from tfcompress.bridge.legacy import tf_keras
from tfcompress.config import Training
from tfcompress.training.unit_strides import unit_strides

FACES, HELD_OUT, EPOCHS = 1400, 700, 4
# Name: technique and its options, storage.
FORMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "float32": ("", {}, "float32"),
    "int8": ("", {}, "int8"),
    "prune, int8": ("prune", {"final_sparsity": 0.5, "epochs": 6}, "int8"),
    "svd, int8": ("svd", {"macs_ratio": 0.5, "epochs": 4}, "int8"),
    "xnor": ("xnor", {"epochs": 10}, "int8"),
}


def mini_xception() -> Any:
    """Returns the net in Keras 2."""
    old = tf_keras()
    layers = old.layers

    def normalised(x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.9)(x)

    decay = old.regularizers.l2(0.0001)
    x = inputs = layers.Input((64, 64, 1))
    for _ in range(2):
        x = layers.Conv2D(8, 3, use_bias=False, kernel_regularizer=decay)(x)
        x = layers.Activation("relu")(normalised(x))
    separable = functools.partial(
        layers.SeparableConv2D,
        kernel_size=3,
        padding="same",
        use_bias=False,
        depthwise_regularizer=decay,
        pointwise_regularizer=decay,
    )
    for filters in (16, 32, 64, 128):
        branch = layers.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(normalised(separable(filters)(x)))
        x = normalised(separable(filters)(x))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.Add()([x, normalised(branch)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3, padding="same")(x))
    return old.Model(inputs, layers.Activation("softmax", name="predictions")(x))


@functools.cache
def faces() -> tuple[np.ndarray, ...]:
    """Returns faces in -1..1 and classes to train with, and others to judge by."""
    rng = np.random.default_rng(0)
    (x, y), (x_test, y_test) = (task_data.faces(count, rng) for count in (FACES, HELD_OUT))
    return x.astype("float32") / 127.5 - 1, y, x_test.astype("float32") / 127.5 - 1, y_test


@functools.cache
def labels_of_h5(old: Path) -> np.ndarray:
    """Returns tf_keras's labels of the faces to judge by; trains the net if there is no file."""
    x, y, x_test, _ = faces()
    if not old.exists():
        old.parent.mkdir(parents=True, exist_ok=True)
        save_trained(x, y, old)
    return tf_keras().models.load_model(old).predict(x_test, verbose=0).argmax(-1)


def measured(name: str, old: Path) -> Row:
    """Loads the `.h5` file, compresses the net and compares the file's labels."""
    technique, options, storage = FORMS[name]
    x, y, x_test, y_test = faces()
    expected = labels_of_h5(old)
    net = load_h5(old)
    if technique:
        held_out = (x_test, y_test)
        net = tfcompress.compress(net, technique, (x, y), validation_data=held_out, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tflite"
        tfcompress.export(net, path, storage=storage, representative=x[:1000], io="float32")
        labels = tfcompress.load(path, arrays=True).predict(x_test).argmax(-1)
        return {
            "agreement": float((labels == expected).mean()),
            "accuracy": float((labels == y_test).mean()),
            "accuracy_h5": float((expected == y_test).mean()),
            "size_bytes": path.stat().st_size,
            "h5_bytes": old.stat().st_size,
        }


def save_trained(x: np.ndarray, y: np.ndarray, path: Path) -> None:
    """Trains the net in Keras 2 and saves it whole, as many are found."""
    tf_keras().utils.set_random_seed(0)
    net = mini_xception()
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with unit_strides(net.layers):
        net.fit(x, y, batch_size=32, epochs=EPOCHS, verbose=2)
    net.save(path)


def _trainings(results: Measurements) -> str:
    """Says how long each form was trained, of those that were."""
    trained = {name: FORMS[name][1] for name in results.rows if FORMS[name][0]}
    return ", ".join(f"{name} {options['epochs']} epochs" for name, options in trained.items())


def page_of(results: Measurements) -> Page:
    first = results["float32"]
    return Page(
        "A Keras 2 `.h5` file: mini-Xception",
        f"Trained in tf_keras for {EPOCHS} epochs on {FACES:,} drawn grey faces and saved as "
        f"`.h5` ({first['h5_bytes'] / 1024:,.0f} KiB with the optimizer's state); one seed. On "
        f"{HELD_OUT} faces that no training saw, of which the `.h5` labels "
        f"{first['accuracy_h5']:.1%} rightly: how many labels of each `.tflite` file are "
        "tf_keras's, and how many are right. Trained by `compress`: "
        f"{_trainings(results)}; of {-(-FACES // Training().batch_size)} steps each, with which "
        "`xnor` has hardly begun to learn.",
        ["file", "labels as the `.h5`'s", "right", "KiB"],
        [
            (
                [
                    name,
                    f"{row['agreement']:.1%}",
                    f"{row['accuracy']:.1%}",
                    f"{row['size_bytes'] / 1024:,.1f}",
                ],
                [name],
            )
            for name, row in results.rows.items()
        ],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--work", type=Path, default=Path("build/keras2_h5_work"))
    flags = flags.parse_args()
    old = flags.work / "mini_xception.h5"
    conduct(flags, [single(name, measured, name, old) for name in FORMS], page_of)


if __name__ == "__main__":
    main()
