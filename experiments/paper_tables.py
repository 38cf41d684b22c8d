r"""The tables of two papers on CIFAR-10: what each of their techniques gives in our files.

Run:

    .venv/bin/python experiments/paper_tables.py --data_dir=DIR --output=build/paper_tables/results

or in two steps, the training on another machine:

    .venv/bin/python experiments/paper_tables.py --data_dir=DIR --until=images \
        --output=build/paper_tables/results
    KERAS_BACKEND=jax python experiments/paper_tables.py --until=train \
        --output=build/paper_tables/results

`DIR` is where TFDS keeps CIFAR-10. The first of the two writes `build/paper_tables/cifar10.npz`
(`--work` is its folder), which the other machine gets: it needs neither TensorFlow nor TFDS. What
is trained there lies in that folder, as `.keras` files with their histories as `.json`; copied
back, the first command trains none of them again, and exports, judges and times them.
`--until=train` may be started several times on one folder, or with `--workers=2`: the trainings are
shared. A training that is stopped goes on at its last whole epoch, a measurement at its last whole
row.

`--models=vgg_small,resnet8` are the networks by default; `vgg16` is taken, too. `--nets` takes
some of the trainings, `--seeds` and `--epochs` as they say.

Rassadin and Savchenko 2017 (compressed networks, students without labels, errors by epoch) and
Lagrange and Pedersoli (VGG-16 on CIFAR-10: compact, 8 bits simulated). Their figures, and what
they found, stand in `paper_tables_papers.py`; whether that is confirmed is computed from the rows.
Their networks, VGG-S and SqueezeNet-1.1 at 224x224, and their pictures aren't here.

Time: an epoch of the float network on all 50,000 images took 68 s of processor time (vgg_small) and
95 s (resnet8) on two threads of an AMD EPYC that had other work: 116 to 382 s by the clock. The
other trainings take 0.3 (students) to 2 (binary weights) such epochs each, 13 together. So 10
epochs, both networks and three seeds would take about 18 hours of processor time: an estimate.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cells
import keras
import numpy as np
from float_nets import kept
from measurements import Row, Step, conduct, made_here, parser
from paper_tables_nets import NETS, Net
from paper_tables_page import SMALL, key_of, page_of

import tfcompress
from tfcompress import data, models, techniques, training
from tfcompress.commands import print_error
from tfcompress.config import Training
from tfcompress.data import Dataset, Normalization
from tfcompress.data.dataset import Split
from tfcompress.data.stores import ArrayImages, SelectedImages
from tfcompress.data.transfer.unlabelled import without_targets
from tfcompress.errors import InputError, PathError, require
from tfcompress.files import whole, write
from tfcompress.graph import macs, parameters
from tfcompress.runtime.accuracy import file_accuracy
from tfcompress.techniques import Candidate, chains
from tfcompress.training import TrainingContext
from tfcompress.training.progress import with_progress

IMAGES = "cifar10.npz"
# Of a Dataset, what the file of images holds beside these.
TEXTS = ("name", "licence", "source", "augmentation", "split")
# The weak teacher's share of the images: near the study's 41% of a teacher from other data.
FEW = 1 / 25
# Images by which a file is compared with Keras and calibrated.
SAMPLES = 500
# Batches at once through a file.
BATCH = 500


def images_file(work: Path, data_dir: str | None) -> Path:
    """Returns the file of the images, written from TFDS's if it isn't there."""
    path = work / IMAGES
    work.mkdir(parents=True, exist_ok=True)
    with cells.making(path):
        if not path.exists():
            require(
                importlib.util.find_spec("tensorflow_datasets") is not None,
                f"{path} isn't there, and TFDS isn't installed: write it by --until=images where "
                "it is, and bring it here",
            )
            found = data.load("cifar10", data_dir=data_dir)
            parts = {"train": found.train, "test": found.test}
            pixels = {n: part.images.batch(np.arange(len(part))) for n, part in parts.items()}
            labels = {f"{name}_labels": part.labels for name, part in parts.items()}
            texts = {name: getattr(found, name) for name in TEXTS}
            with whole(path) as beside, open(beside, "wb") as file:
                np.savez(file, **pixels, **labels, **texts, class_names=found.class_names)
    return path


@functools.cache
def images(work: Path, data_dir: str | None) -> Dataset:
    """Returns CIFAR-10 as TFDS has it, from the file of the images."""
    with np.load(images_file(work, data_dir)) as stored:
        parts = {
            name: Split(ArrayImages(stored[name]), stored[f"{name}_labels"])
            for name in ("train", "test")
        }
        return Dataset(
            **{name: str(stored[name]) for name in TEXTS},
            class_names=tuple(map(str, stored["class_names"])),
            normalization=Normalization.of(parts["train"].images),
            local=False,
            **parts,
        )


def fewer(dataset: Dataset) -> Dataset:
    """Returns a data set with the first few training images of each class."""
    labels = dataset.train.labels
    count = max(1, int(FEW * len(labels) / dataset.num_classes))
    chosen = [np.flatnonzero(labels == label)[:count] for label in range(dataset.num_classes)]
    positions = np.sort(np.concatenate(chosen))
    part = Split(SelectedImages(dataset.train.images, positions), labels[positions])
    return dataclasses.replace(dataset, train=part)


class Bench:
    """Trains networks, keeps them, and measures their files.

    Args:
        flags: the command's: `work`, `data_dir`, `epochs` and `runs`.
    """

    def __init__(self, flags: argparse.Namespace) -> None:
        self._flags = flags
        self._epochs = Training(epochs=flags.epochs)

    @property
    def images(self) -> Dataset:
        """CIFAR-10."""
        return images(self._flags.work, self._flags.data_dir)

    def path(self, model: str, net: str, seed: int) -> Path:
        """Returns the file of a trained network, whose history lies beside it."""
        return Path(self._flags.work / f"{model}_{net}_{self._flags.epochs}_{seed}.keras")

    def trained(self, model: str, net: str, seed: int) -> keras.Model:
        """Returns a trained network, from its file if it is there."""
        path = self.path(model, net, seed)
        return kept(path, lambda: self._train(path, model, net, seed))

    def _train(self, path: Path, model: str, net: str, seed: int) -> keras.Model:
        """Trains a network, and writes its history."""
        what = NETS[net]
        float_net = None
        if what.technique:
            float_net = self.trained(model, "float", seed)
        context = TrainingContext(seed=seed, checkpoint=path.with_suffix(".checkpoint"))
        if what.teacher:
            teacher = self.trained(model, what.teacher, seed)
            transfer = without_targets(self.images)
            context = dataclasses.replace(context, teacher=teacher, transfer=transfer)
        context = with_progress(context, path.stem, self._epochs.epochs)
        if float_net is None:
            made, history = self._new(model, what, context)
        else:
            made, history = self._compressed(what, float_net, context)
        names = ("train_error", "test_error")
        errors = [{n: round(row[n], 5) for n in names if n in row} for row in history]
        devices = ", ".join(keras.distribution.list_devices())
        backend = keras.backend.backend()
        version = importlib.metadata.version(backend)
        by = f"Keras {keras.version()} on {backend} {version}, {devices}"
        found = {"history": errors, "trained": f"{by}, {time.strftime('%Y-%m-%d')}"}
        write(path.with_suffix(".json"), json.dumps(found))
        path.with_suffix(".checkpoint").unlink(missing_ok=True)
        return made

    def _new(self, model: str, what: Net, context: TrainingContext) -> tuple[keras.Model, Any]:
        """Trains a float network, on all images or a few."""
        dataset = fewer(self.images) if what.few else self.images
        keras.utils.set_random_seed(context.seed)
        net = models.build(model, dataset.image_shape, dataset.num_classes)
        return net, training.fit(net, dataset, self._epochs, context)

    def _compressed(
        self, what: Net, float_net: keras.Model, context: TrainingContext
    ) -> tuple[keras.Model, Any]:
        """Makes another network of a float one by a technique, and trains it."""
        technique = techniques.get(what.technique)
        options = technique.make_options(**what.options)
        recipe = dataclasses.replace(self._epochs, distillation=what.distillation)
        if not what.trains:
            recipe = dataclasses.replace(recipe, epochs=0)
        candidate = Candidate(float_net, samples=self.images.representative(SAMPLES))
        step = chains.Step(technique, options, recipe)
        candidate, history = techniques.apply(candidate, [step], self.images, context)
        return candidate.model, history

    def _written(self, net: keras.Model, path: Path, storage: str) -> Path:
        samples = self.images.representative(SAMPLES)
        io = {"io": "float32"} if storage == "int8" else {}
        tfcompress.export(net, path, storage=storage, representative=samples, strict=False, **io)
        return path

    def measured(self, model: str, net: str, seed: int) -> dict[str, Row]:
        """Returns the rows of a training's files, by their keys."""
        what, made = NETS[net], self.trained(model, net, seed)
        float_net = self.trained(model, "float", seed)
        counts = {
            "parameters": parameters(made),
            "parameters_ratio": parameters(made) / parameters(float_net),
            "macs": macs(made),
            "macs_ratio": macs(made) / macs(float_net),
        }
        found = json.loads(self.path(model, net, seed).with_suffix(".json").read_text())
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = self._written(float_net, folder / "f.tflite", "float32")
            paths = [
                self._written(made, folder / f"{number}.tflite", storage)
                for number, storage in enumerate(what.files.values())
            ]
            _, *files = tfcompress.benchmark([first, *paths], runs=self._flags.runs)
            rows: dict[str, Row] = {}
            for file, path, timed in zip(what.files, paths, files, strict=True):
                rows[key_of(model, file, seed)] = {
                    "accuracy": file_accuracy(path, self.images.batches("test", BATCH)),
                    "size_bytes": path.stat().st_size,
                    "size_ratio": path.stat().st_size / first.stat().st_size,
                    **counts,
                    "ms": timed.latency_ms_p50,
                    "ratio": timed.ratio,
                    "ratio_p10": timed.ratio_p10,
                    "ratio_p90": timed.ratio_p90,
                    "trained": found["trained"],
                }
        row = next(iter(rows.values()))
        row["history"] = found["history"]
        # A student's step would say how narrow it is, and nothing of the papers.
        if what.technique and what.trains and not what.teacher:
            row["step_ratio"] = self._step_ratio(model, net, seed)
        return rows

    def _step_ratio(self, model: str, net: str, seed: int) -> float:
        """Returns the time of a training's step by the float network's, the median over rounds."""
        import train_step

        nets = {name: self.trained(model, name, seed) for name in ("float", net)}
        for each in nets.values():
            each.compile(
                optimizer="adam",
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                jit_compile=False,
            )
        times = train_step.step_ms(nets, rounds=self._flags.rounds)
        return float(np.median(times[net] / times["float"]))


def train_all(flags: argparse.Namespace, combinations: list[tuple[str, str, int]]) -> None:
    """Trains what isn't trained yet; of several processes each takes some.

    Raises:
        FailedError: a worker's trainings failed twice.
        InputError: the images can't be read.
    """
    bench = Bench(flags)
    steps: list[Step] = [((" | ".join(map(str, each)),), dict) for each in combinations]
    by_key = {step[0]: each for step, each in zip(steps, combinations, strict=True)}

    def is_done(keys: Sequence[str]) -> bool:
        return bench.path(*by_key[tuple(keys)]).exists()

    if flags.workers > 1 and flags.batch is None:
        cells.by_workers(flags.work, steps, is_done, flags.workers)
        return
    cells.share(
        flags.work,
        steps,
        is_done,
        lambda step: bench.trained(*by_key[step[0]]) and None,
        batch=flags.batch,
    )


def chosen(flags: argparse.Namespace, name: str, known: tuple[str, ...]) -> list[str]:
    """Returns the names that a flag has, with commas, or ends with what it takes."""
    names = [word for word in getattr(flags, name).split(",") if word]
    wrong = [word for word in names if word not in known]
    if wrong or not names:
        given = getattr(flags, name)
        flags.error(f"--{name} takes some of {','.join(known)}; got '{given}'")
    return names


def parsed() -> argparse.Namespace:
    """Returns the flags, or ends with a line that says what is wrong with them."""
    words = parser(__doc__ or "")
    words.add_argument("--data_dir", help="where TFDS keeps CIFAR-10")
    words.add_argument(
        "--work", type=Path, default=Path("build/paper_tables"), help="folder of the trainings"
    )
    words.add_argument("--models", default=",".join(SMALL), help="builders' names, with commas")
    words.add_argument(
        "--nets", default=",".join(NETS), help=f"these trainings, with commas: {', '.join(NETS)}"
    )
    words.add_argument("--seeds", type=int, default=3, help="how many, from seed 0 on")
    words.add_argument("--epochs", type=int, default=10, help="of each training")
    words.add_argument("--runs", type=int, default=200, help="timed inferences of each file")
    words.add_argument("--rounds", type=int, default=30, help="of timed steps of a training")
    words.add_argument(
        "--until",
        choices=("images", "train", "measure"),
        default="measure",
        help="stop when the images are written, or the networks trained",
    )
    flags = words.parse_args()
    flags.error = words.error
    for name in ("seeds", "epochs", "runs", "rounds"):
        if getattr(flags, name) < 1:
            words.error(f"--{name} takes a number from 1 on; got {getattr(flags, name)}")
    if flags.until != "measure":
        for name in ("again", "render", "study"):
            if getattr(flags, name):
                words.error(f"--{name} is of measurements: leave it or --until={flags.until} out")
    return flags


def main() -> None:
    tfcompress.keep_freed_memory()  # As the command does.
    flags = parsed()
    nets = chosen(flags, "nets", tuple(NETS))
    names = chosen(flags, "models", tuple(models.names()))
    combinations = [
        (model, net, seed) for seed in range(flags.seeds) for model in names for net in nets
    ]
    if flags.until == "measure":
        conduct(
            flags,
            steps_of(flags, combinations),
            page_of,
            settings={"epochs": flags.epochs},
            made=functools.partial(made_here, data_dir="DIR", output="DIR", work="DIR"),
        )
        return
    try:
        images_file(flags.work, flags.data_dir)
        if flags.until == "train":
            train_all(flags, combinations)
    except (InputError, PathError) as error:
        print_error(error)
        sys.exit(2)
    except cells.FailedError as error:
        print_error(error)
        sys.exit(1)


def steps_of(flags: argparse.Namespace, combinations: list[tuple[str, str, int]]) -> list[Step]:
    """Returns what is measured: the files of each training."""
    bench = Bench(flags)
    return [
        (
            tuple(key_of(model, file, seed) for file in NETS[net].files),
            functools.partial(bench.measured, model, net, seed),
        )
        for model, net, seed in combinations
    ]


if __name__ == "__main__":
    main()
