"""Exported files in MediaPipe's ImageClassifier, as they are: the same labels as Keras?

Run:

    .venv/bin/python experiments/mediapipe_classifier.py --output=build/mediapipe_classifier \
        --envs=build/envs

About five minutes. MediaPipe needs absl-py 2, TFMOT absl-py below 2, so that the two can't be in
one environment: MediaPipe gets one of its own in `--envs`, where it has nothing but the files and
the images as PNG. A `vgg_small` is trained for a few epochs on the embedded data, exported in the
storages below with metadata, and asked about test images of 32 x 32, as large as its input.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np
from environments import environment
from measurements import Measurements, Row, conduct, made_here, parser
from page import Page
from PIL import Image

import tfcompress
from tfcompress import data, models, training
from tfcompress.config import Training

PACKAGE = "mediapipe==1.2.2"
# Technique (one epoch of training, on the trained net), storage, what goes in and out.
CASES = (
    (None, "float32", None),
    (None, "float16", None),
    (None, "dynamic", None),
    (None, "int8", None),
    (None, "int8", "uint8"),
    (None, "int8", "int8"),
    (None, "int8_int4", None),
    (None, "int4", None),
    ("bwn", "int2", None),
    ("bwn", "1bit", None),
    ("xnor", "int8", None),
    ("xnor", "xnor", None),
    ("xnor", "xnor+int8", None),
    ("prune", "sparse", None),
    ("hashed", "float32", None),
)
# Runs in MediaPipe's environment.
CLASSIFY = """
import json, sys
import mediapipe
from mediapipe.tasks import python as tasks
job = json.load(sys.stdin)
found = {}
for path in job["files"]:
    options = tasks.vision.ImageClassifierOptions(
        base_options=tasks.BaseOptions(model_asset_path=path), max_results=1
    )
    try:
        with tasks.vision.ImageClassifier.create_from_options(options) as classifier:
            found[path] = [
                classifier.classify(mediapipe.Image.create_from_file(image))
                .classifications[0].categories[0].category_name
                for image in job["images"]
            ]
    except Exception as error:
        found[path] = " ".join(str(error).split("=== Source")[0].split())
json.dump(found, open(job["answer"], "w"))
"""


def key_of(case: tuple[str | None, str, str | None]) -> str:
    name, storage, io = case
    return f"{name or 'float'}, {storage}, {io or 'float32'}"


def measured(envs: Path, count: int, epochs: int) -> dict[str, Row]:
    """Trains, exports every case, and asks for the labels in three ways."""
    python = environment(envs, PACKAGE)
    images = data.load("fashion_mnist_small")
    keras.utils.set_random_seed(0)
    net = models.build("vgg_small", images.image_shape, images.num_classes)
    training.fit(net, images, Training(epochs=epochs))
    pixels = images.test.images.batch(np.linspace(0, len(images.test) - 1, count, dtype=int))
    inputs = images.normalization(pixels)
    nets = {
        name: tfcompress.compress(net, name, images, epochs=1, verbose=False) if name else net
        for name in dict.fromkeys(case[0] for case in CASES)
    }
    right = {
        name: [images.class_names[label] for label in training.logits(own, inputs).argmax(1)]
        for name, own in nets.items()
    }
    said = tfcompress.Metadata(
        name="vgg_small",
        labels=images.class_names,
        mean=images.normalization.mean,
        std=images.normalization.std,
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, storage, io in CASES:
            paths.append(f"{folder}/{name}_{storage}_{io}.tflite")
            tfcompress.export(
                nets[name], paths[-1], storage=storage, calibration=images.representative(256),
                metadata=said, io=io,
            )  # fmt: skip
        names = [f"{folder}/{number}.png" for number in range(count)]
        for name, image in zip(names, pixels, strict=True):
            Image.fromarray(image).save(name)
        job = {"files": paths, "images": names, "answer": f"{folder}/answer.json"}
        subprocess.run([python, "-c", CLASSIFY], input=json.dumps(job), text=True, check=True)
        answers = json.loads(Path(job["answer"]).read_text())
        rows = {}
        for case, path in zip(CASES, paths, strict=True):
            own = tfcompress.load(path)
            ours = [own(image, top=1)[0].label for image in pixels]
            rows[key_of(case)] = compared(answers[path], ours, right[case[0]])
    return rows


def compared(answer: list[str] | str, ours: list[str], right: list[str]) -> Row:
    """Counts equal labels of MediaPipe, of `tfcompress.load` and of Keras."""
    row: Row = {"load_keras": same(ours, right)}
    if isinstance(answer, str):
        return row | {"refused": answer}
    return row | {"mediapipe_keras": same(answer, right), "mediapipe_load": same(answer, ours)}


def same(labels: list[str], others: list[str]) -> int:
    return sum(a == b for a, b in zip(labels, others, strict=True))


def cells(row: Row, images: int) -> list[str]:
    """Returns a row's part of the table that was measured."""
    load = f"{row['load_keras']} of {images}"
    if "refused" in row:
        return [row["refused"], load, "-"]
    counts = (row["mediapipe_keras"], row["load_keras"], row["mediapipe_load"])
    return [f"{count} of {images}" for count in counts]


def page_of(results: Measurements) -> Page:
    images, epochs = results.settings["images"], results.settings["epochs"]
    return Page(
        "Exported files in MediaPipe's ImageClassifier",
        f"{PACKAGE}, Linux x86-64, CPU. `vgg_small` on the embedded data, {epochs} epochs, "
        "and what techniques make of it in one epoch more; "
        f"{images} test images, which MediaPipe and `tfcompress.load` took as PNG files and "
        "as arrays of pixels, with labels and normalisation from the file alone. How many of the "
        "labels are Keras's, and how many of MediaPipe's are those of `tfcompress.load`; or why "
        "MediaPipe refuses the file.",
        ["net", "storage", "in and out", "MediaPipe = Keras", "load = Keras", "MediaPipe = load"],
        [
            ([*key_of(case).split(", "), *cells(results[key_of(case)], images)], [key_of(case)])
            for case in CASES
            if key_of(case) in results
        ],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--envs", type=Path, default=Path("build/envs"), help="of environments")
    flags.add_argument("--images", type=int, default=100, help="test images")
    flags.add_argument("--epochs", type=int, default=3, help="of the training")
    flags = flags.parse_args()
    conduct(
        flags,
        [(tuple(map(key_of, CASES)), lambda: measured(flags.envs, flags.images, flags.epochs))],
        page_of,
        settings={"images": flags.images, "epochs": flags.epochs},
        made=lambda: made_here(envs="build/envs"),
    )


if __name__ == "__main__":
    main()
