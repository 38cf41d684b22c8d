"""Quantization-aware training by TFMOT in Keras 2 and in Keras 3: accuracy of the files, steps.

Run:

    .venv/bin/python experiments/qat_engines.py --output=build/qat_engines

About eight minutes. For each seed both engines train the same float network by the technique's own
recipe, on the embedded images; the accuracy is the int8 files', on all test images. Every round of
the steps times a few of each network on the same batch, beginning with another one each time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from measurements import Measurements, Row, conduct, parser, single
from page import Page
from train_step import BATCH, MODEL, ROUNDS, STEPS, step_ms

import tfcompress
from tfcompress import data, keep_freed_memory, models, techniques
from tfcompress.bridge import legacy, to_tf_keras
from tfcompress.config import Training
from tfcompress.qat import native, train
from tfcompress.qat.prepare import prepare
from tfcompress.runtime.accuracy import file_accuracy
from tfcompress.training import TrainingContext, accuracy, fit, runner
from tfcompress.training.evaluate import jit_compile
from tfcompress.training.optimizers import make_optimizer

ENGINES = ("tfmot", "keras")
SEEDS = (0, 1, 2)
NETWORKS = ("float", "qat in Keras 3", "float in tf_keras", "qat in tf_keras")


def accuracies(seed: int) -> Row:
    """Accuracies of the float network and of both engines' files."""
    images = data.load("fashion_mnist_small")
    keras.utils.set_random_seed(seed)
    float_net = models.build(MODEL, images.image_shape, images.num_classes)
    fit(float_net, images, Training(), TrainingContext(seed=seed))
    row = {"float": accuracy(runner(float_net), images)}
    technique = techniques.get("qat")
    context = TrainingContext(seed=seed, teacher=float_net)
    for engine in ENGINES:
        options = technique.make_options(engine=engine)
        candidate = technique.transform(techniques.Candidate(float_net), options)
        training = technique.training(options)
        candidate, _ = technique.fit(candidate, options, images, training, context)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "qat.tflite"
            tfcompress.export(candidate.model, path, storage="int8", io="float32")
            row[engine] = file_accuracy(path, images.batches("test", 256))
    return row


def networks() -> dict[str, Any]:
    """The float network and its quantised form, by both Kerases, compiled alike."""
    keras.utils.set_random_seed(0)
    float_net = models.build(MODEL, (32, 32, 3), 10)
    images = np.random.default_rng(0).normal(size=(BATCH, 32, 32, 3)).astype("float32")
    prepared, _ = prepare(float_net)
    made = {
        "float": float_net,
        "qat in Keras 3": native.quantized(prepared, calibration=images),
        "float in tf_keras": to_tf_keras(float_net),
        "qat in tf_keras": train.wrap_and_calibrate(prepared, calibration=images).model,
    }
    for name, net in made.items():
        module = legacy.tf_keras() if "tf_keras" in name else keras
        net.compile(
            optimizer=make_optimizer(Training(), ROUNDS * STEPS, module.optimizers),
            loss=module.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False if module is not keras else jit_compile(),
        )
    return made


def steps() -> dict[str, Row]:
    """Measures all networks in turns."""
    times = step_ms(networks())
    return {
        name: {
            "ms": float(np.median(values)),
            "ratio": np.percentile(values / times["float"], (50, 10, 90)).tolist(),
        }
        for name, values in times.items()
    }


def page_of(results: Measurements) -> Page:
    rows = []
    for seed in SEEDS:
        key = f"seed {seed}"
        row = results[key]
        points = 100 * (row["keras"] - row["tfmot"])
        cells = [f"{row[name]:.4f}" for name in ("float", *ENGINES)]
        rows.append(([key, *cells, f"{points:+.2f}"], [key]))
    mean = {
        name: np.mean([results[f"seed {seed}"][name] for seed in SEEDS])
        for name in ("float", *ENGINES)
    }
    points = 100 * (mean["keras"] - mean["tfmot"])
    cells = [f"{mean[name]:.4f}" for name in ("float", *ENGINES)]
    rows.append((["mean", *cells, f"{points:+.2f}"], []))
    texts = []
    for name in NETWORKS:
        middle, low, high = results[name]["ratio"]
        texts.append(
            f"{name}: {results[name]['ms']:.1f} ms, {middle:.3f} ({low:.3f} to {high:.3f}) of float"
        )
    return Page(
        "Quantization-aware training by two engines",
        f"{MODEL} on the embedded images, the technique's recipe. A training step, batch {BATCH}, "
        f"{ROUNDS} rounds of {STEPS} steps each, interleaved: {'; '.join(texts)}.",
        ["float network", "accuracy", "file by TFMOT", "file by Keras 3", "points"],
        rows,
        more=list(NETWORKS),
    )


def main() -> None:
    keep_freed_memory()  # As the command does.
    seeds = [single(f"seed {seed}", accuracies, seed) for seed in SEEDS]
    conduct(parser(__doc__).parse_args(), [*seeds, (NETWORKS, steps)], page_of)


if __name__ == "__main__":
    main()
