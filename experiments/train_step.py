"""What a training step costs: techniques against the float network, interleaved.

Run:

    .venv/bin/python experiments/train_step.py --output=build/train_step

About four minutes. Every round times a few steps of each network on the same batch, beginning with
another one each time; the ratio is the median over rounds. No distillation: the layers alone.
"""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
from measurements import Measurements, Row, conduct, parser
from page import Page

from tfcompress import models, techniques
from tfcompress.bridge import legacy, prune, to_tf_keras
from tfcompress.bridge.prune import LayerPruning
from tfcompress.config import Training
from tfcompress.qat import train
from tfcompress.qat.prepare import prepare
from tfcompress.training.evaluate import jit_compile
from tfcompress.training.fit import make_optimizer

BATCH = 64
STEPS = 5
ROUNDS = 100
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


def step_ms(nets: dict[str, Any]) -> dict[str, np.ndarray]:
    """Milliseconds a step, by network and round."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 10, BATCH)
    names = list(nets)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-3, ROUNDS):  # Three rounds to warm up.
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


def page_of(results: Measurements) -> Page:
    rows = []
    for name in NETWORKS:
        middle, low, high = results[name]["ratio"]
        cells = [f"{results[name]['ms']:.1f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"]
        rows.append(([MODEL, name, *cells], [name]))
    return Page(
        "Cost of a training step",
        f"Batch {BATCH}, {ROUNDS} rounds of {STEPS} steps each, interleaved.",
        ["model", "network", "step, ms", "ratio to float", "10th to 90th percentile"],
        rows,
    )


def main() -> None:
    conduct(parser(__doc__).parse_args(), [(NETWORKS, measured)], page_of)


if __name__ == "__main__":
    main()
