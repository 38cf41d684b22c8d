"""What training costs: steps of techniques against the float network, epochs against bare steps.

Run:

    .venv/bin/python experiments/train_step.py --output=build/train_step

About eight minutes. Every round times a few steps of each network on the same batch, beginning with
another one each time; the ratio is the median over rounds. No distillation: the layers alone.

Epochs: `training.fit` as the command calls it (batches, augmentation, teacher, checks, test images)
in turns with Keras's bare `train_on_batch` over as many batches that lie in memory.
"""

from __future__ import annotations

import dataclasses
import resource
import time
from typing import Any

import keras
import numpy as np
from measurements import Measurements, Row, conduct, parser, single
from page import Page

from tfcompress import data, keep_freed_memory, models, techniques, training
from tfcompress.bridge import legacy, prune, to_tf_keras
from tfcompress.config import Training
from tfcompress.qat import train
from tfcompress.qat.prepare import prepare
from tfcompress.training.batches import EpochBatches
from tfcompress.training.evaluate import jit_compile
from tfcompress.training.optimizers import make_optimizer
from tfcompress.training.pruning import LayerPruning

BATCH = 64
STEPS = 5
ROUNDS = 100
EPOCHS = 8
KERNEL_LAYERS = ("conv1", "conv2", "conv3", "conv4", "logits")


def networks(model: str) -> dict[str, Any]:
    """The float network and what techniques train in its place, compiled alike."""
    keras.utils.set_random_seed(0)
    float_net = models.build(model, (32, 32, 3), 10)
    made = {"float": float_net}
    for name in ("xnor", "binary_activations", "bwn"):
        technique = techniques.get(name)
        candidate = techniques.Candidate(float_net)
        made[name] = technique.transform(candidate, technique.make_options()).model
    for net in made.values():
        net.compile(
            optimizer=make_optimizer(Training(), ROUNDS * STEPS),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit_compile(),
        )
    return made | tfmot_networks(float_net)


def tfmot_networks(float_net: keras.Model) -> dict[str, Any]:
    """The same in tf_keras, plain and in TFMOT's wrappers."""
    technique = techniques.get("prune")
    flat = technique.transform(techniques.Candidate(float_net), technique.make_options()).model
    how = LayerPruning(
        schedule="polynomial",
        initial_sparsity=0.5,
        final_sparsity=0.8,
        begin_step=0,
        end_step=10**6,
        frequency=technique.make_options().frequency,
    )
    images = np.random.default_rng(0).normal(size=(BATCH, 32, 32, 3)).astype("float32")
    made = {
        "float in tf_keras": to_tf_keras(float_net),
        "prune": prune.wrapped_for_pruning(flat, dict.fromkeys(KERNEL_LAYERS, how)),
        "qat": train.wrap_and_calibrate(prepare(float_net)[0], calibration=images).model,
    }
    optimizers = legacy.tf_keras().optimizers
    loss = legacy.tf_keras().losses.SparseCategoricalCrossentropy(from_logits=True)
    for net in made.values():
        net.compile(
            optimizer=make_optimizer(Training(), ROUNDS * STEPS, optimizers),
            loss=loss,
            jit_compile=False,
        )
    begin = legacy.tfmot().sparsity.keras.UpdatePruningStep()
    begin.set_model(made["prune"])
    begin.on_train_begin()
    return made


def step_ms(nets: dict[str, Any], rounds: int = ROUNDS) -> dict[str, np.ndarray]:
    """Milliseconds a step, by network and round."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 10, BATCH)
    names = list(nets)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-3, rounds):  # Three rounds to warm up.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            for _ in range(STEPS):
                nets[name].train_on_batch(images, labels)
            if number >= 0:
                times[name].append((time.perf_counter() - started) * 1000 / STEPS)
    return {name: np.array(values) for name, values in times.items()}


MODEL = "vgg_small"
NETWORKS = (
    "float",
    "xnor",
    "binary_activations",
    "bwn",
    "float in tf_keras",
    "prune",
    "qat",
)


def measured() -> dict[str, Row]:
    """Measures all networks in turns."""
    times = step_ms(networks(MODEL))
    return {
        name: {
            "ms": float(np.median(values)),
            "ratio": np.percentile(values / times["float"], (50, 10, 90)).tolist(),
        }
        for name, values in times.items()
    }


def faults() -> int:
    """The pages that this process was given so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def epoch_row(technique: str) -> Row:
    """Times epochs of `training.fit` in turns with bare steps of the same network.

    Args:
        technique: by whose recipe; with a teacher, the bare steps are the student's alone.
    """
    images = data.load("fashion_mnist_small")
    keras.utils.set_random_seed(0)
    float_net = models.build(MODEL, images.image_shape, images.num_classes)
    one = techniques.get(technique)
    options = one.make_options()
    candidate = techniques.Candidate(float_net)
    trained, bare = (one.transform(candidate, options).model for _ in range(2))
    recipe = dataclasses.replace(
        one.training(options), epochs=EPOCHS + 1, batch_size=BATCH, learning_rate=1e-3
    )
    batches = EpochBatches(
        images.train,
        images.normalization,
        augmentation=images.augmentation,
        batch_size=BATCH,
        seed=0,
        epoch=0,
    )
    in_memory = [batches[index] for index in range(len(batches))]
    bare.compile(
        optimizer=make_optimizer(recipe, len(batches)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile(),
    )
    rounds = []
    faults_before = faults()

    def bare_epoch(row: dict[str, float]) -> None:
        nonlocal faults_before
        of_fit, at_start, started = faults() - faults_before, faults(), time.perf_counter()
        for inputs, labels in in_memory:
            bare.train_on_batch(inputs, labels)
        seconds = time.perf_counter() - started
        rounds.append((row["seconds"], seconds, of_fit, faults() - at_start))
        faults_before = faults()

    context = training.TrainingContext(teacher=float_net, on_epoch=bare_epoch)
    training.fit(trained, images, recipe, context)
    fit, bare_seconds, fit_faults, bare_faults = np.array(rounds[1:]).T  # The first one compiles.
    return {
        "ratio": np.percentile(fit / bare_seconds, (50, 10, 90)).tolist(),
        "seconds": float(np.median(fit)),
        "bare_seconds": float(np.median(bare_seconds)),
        "faults": int(np.median(fit_faults)),
        "bare_faults": int(np.median(bare_faults)),
    }


EPOCH_ROWS = {"epoch of float": "baseline", "epoch of xnor, distilled": "xnor"}


def note_on_epochs(results: Measurements) -> str:
    """Says what epochs cost, as far as it was measured."""
    texts = []
    for key in EPOCH_ROWS:
        if key in results:
            row = results[key]
            middle, low, high = row["ratio"]
            texts.append(
                f"An {key}: {row['seconds']:.2f} s and {row['faults']:,} page faults, "
                f"{middle:.3f} ({low:.3f} to {high:.3f}) of as many bare steps of that network by "
                f"`train_on_batch`, {EPOCHS} epochs of each in turns."
            )
    return "".join(f"\n\n{text}" for text in texts)


def page_of(results: Measurements) -> Page:
    rows = []
    for name in NETWORKS:
        middle, low, high = results[name]["ratio"]
        cells = [f"{results[name]['ms']:.1f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"]
        rows.append(([MODEL, name, *cells], [name]))
    return Page(
        "Cost of a training step",
        f"Batch {BATCH}, {ROUNDS} rounds of {STEPS} steps each, interleaved."
        + note_on_epochs(results),
        ["model", "network", "step, ms", "ratio to float", "10th to 90th percentile"],
        rows,
        more=[key for key in EPOCH_ROWS if key in results],
    )


def main() -> None:
    keep_freed_memory()  # As the command does.
    epochs = [single(key, epoch_row, technique) for key, technique in EPOCH_ROWS.items()]
    conduct(parser(__doc__).parse_args(), [*epochs, (NETWORKS, measured)], page_of)


if __name__ == "__main__":
    main()
