"""HashedNets on MNIST: the 1000-unit three-layer net at 1/8 and 1/64, and its rivals of equal size.

Run:

    .venv/bin/python experiments/hashed_mnist.py --data_dir=DIR --output=build/hashed_mnist

with `DIR` where TFDS keeps MNIST. About an hour on two cores with the default 10,000 training
images (`--train_images=60000` takes all, six times as long); `--quick` is one epoch of one seed.
Each finished training is kept in `runs.json` of the output folder and not repeated.

The nets are the paper's: 784 inputs in 0..1, 1000 units with ReLU, 10 outputs. The thin
net has as many hidden units as the stored weights of the elementwise net are worth; permutation has
at least one column of weights a layer, so that its last layer is larger at 1/64: the counts are in
the table. All are trained alike: Adam with cosine decay, batch 64, the same learning rate, on the
same images; nothing is chosen by the test images.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Iterator

import keras
import numpy as np
from measurements import Measurements, conduct, made_here, parser, single
from page import Page

from tfcompress import data
from tfcompress.layers import HashedDense
from tfcompress.training.evaluate import jit_compile

UNITS = 1000
CLASSES = 10
INPUTS = 28 * 28
TIMES = (8, 64)
SEEDS = (0, 1, 2)
EPOCHS = 20
BATCH = 64
LEARNING_RATE = 2e-3
NETS = ("thin", "permutation", "elementwise")


def network(kind: str, times: int, seed: int) -> keras.Model:
    """One of the nets, with new weights; hashed ones have positions of the seed's own."""
    x = inputs = keras.Input((INPUTS,))
    if kind in ("dense", "thin"):
        units = UNITS
        if kind == "thin":
            weights = UNITS * (INPUTS + CLASSES) / times
            units = round(weights / (INPUTS + CLASSES))
        x = keras.layers.Dense(units, activation="relu")(x)
        return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))
    for number, (units, activation) in enumerate(((UNITS, "relu"), (CLASSES, None))):
        x = HashedDense(
            units,
            activation=activation,
            compression_ratio=1 / times,
            hashing=kind,
            hash_seed=2 * seed + number,
        )(x)
    return keras.Model(inputs, x)


@functools.cache
def images(data_dir: str | None, count: int) -> list[np.ndarray]:
    """Training images and labels, test images and labels: float32 (N, 784) in 0..1."""
    mnist = data.load("mnist", data_dir=data_dir)
    chosen = np.random.default_rng(0).permutation(len(mnist.train))[:count]
    arrays = []
    for split, at in ((mnist.train, chosen), (mnist.test, np.arange(len(mnist.test)))):
        pixels = split.images.batch(at)[:, 2:-2, 2:-2, 0]  # Without the padding to 32x32.
        arrays += [pixels.reshape(len(at), INPUTS).astype("float32") / 255, split.labels[at]]
    return arrays


def run(kind: str, times: int, seed: int, data_dir: str | None, count: int, epochs: int) -> dict:
    """Trains one net and tests it."""
    keras.utils.set_random_seed(seed)
    x, y, x_test, y_test = images(data_dir, count)
    net = network(kind, times, seed)
    steps = -(-len(x) // BATCH) * epochs
    net.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile(),
    )
    started = time.perf_counter()
    net.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - started
    accuracy = net.evaluate(x_test, y_test, batch_size=1000, verbose=0)[1]
    return {"parameters": net.count_params(), "accuracy": accuracy, "seconds": seconds}


def row(name: str, ratio: str, found: list[dict]) -> list[str]:
    accuracies = [100 * one["accuracy"] for one in found]
    spread = f"{statistics.stdev(accuracies):.2f}" if len(found) > 1 else "one seed"
    return [
        name,
        ratio,
        f"{found[0]['parameters']:,}",
        " ".join(f"{accuracy:.2f}" for accuracy in accuracies),
        f"{statistics.mean(accuracies):.2f}",
        spread,
    ]


def keys() -> Iterator[tuple[str, int]]:
    """Yields each net's kind and ratio."""
    yield "dense", 1
    for times in TIMES:
        for kind in NETS:
            yield kind, times


def key_of(kind: str, times: int, seed: int, epochs: int, count: int) -> str:
    return f"{kind} 1/{times} seed {seed}, {epochs} epochs of {count}"


def page_of(results: Measurements) -> Page:
    said, rows = results.settings, []
    for kind, times in keys():
        names = [
            key_of(kind, times, seed, said["epochs"], said["train_images"])
            for seed in said["seeds"]
        ]
        if all(name in results for name in names):
            cells = row(kind, f"1/{times}", [results[name] for name in names])
            rows.append((cells, names))
    return Page(
        "HashedNets on MNIST",
        f"784-{UNITS}-{CLASSES}, {said['train_images']:,} training images, {said['epochs']} "
        f"epochs, Adam {LEARNING_RATE} with cosine decay, batch {BATCH}; all 10,000 test images. "
        f"Seeds {', '.join(map(str, said['seeds']))}.",
        ["net", "ratio", "parameters", "accuracies, %", "mean", "standard deviation"],
        rows,
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--data_dir", help="where TFDS keeps MNIST")
    flags.add_argument("--train_images", type=int, default=10_000)
    flags.add_argument("--epochs", type=int, default=EPOCHS)
    flags.add_argument("--quick", action="store_true", help="one epoch, one seed")
    flags = flags.parse_args()
    epochs, seeds = (1, SEEDS[:1]) if flags.quick else (flags.epochs, SEEDS)
    count = flags.train_images
    steps = [
        single(
            key_of(kind, times, seed, epochs, count),
            run, kind, times, seed, flags.data_dir, count, epochs,
        )
        for kind, times in keys()
        for seed in seeds
    ]  # fmt: skip
    conduct(
        flags,
        steps,
        page_of,
        settings={"epochs": epochs, "train_images": count, "seeds": list(seeds)},
        made=lambda: made_here(data_dir="DIR"),
        timed=False,
    )


if __name__ == "__main__":
    main()
