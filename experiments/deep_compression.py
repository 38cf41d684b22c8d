r"""Deep Compression stage by stage: pruned, shared, coded; on the file and layer by layer.

Run:

    .venv/bin/python experiments/deep_compression.py --work=DIR --output=build/deep_vgg_small
    .venv/bin/python experiments/deep_compression.py --seeds=1 --set final_sparsity=0.9 \
        --set conv_bits=5 --set sparsities=conv1:0.5 --work=DIR --output=build/deep_vgg_small_90
    .venv/bin/python experiments/deep_compression.py --model=vgg16 --seeds=1 --baseline_epochs=3 \
        --epochs=5 --set final_sparsity=0.92 --set sparsities=block1_conv1:0.42 --work=DIR \
        --output=build/deep_vgg16
    .venv/bin/python experiments/deep_compression.py --model=vgg_s_dense --seeds=1 \
        --baseline_epochs=3 --epochs=2 --work=DIR --output=build/deep_vgg_s_dense
    .venv/bin/python experiments/deep_compression.py --model=vgg16 --dataset=cifar10 \
        --data_dir=DIR --work=DIR --output=DIR

The first two take about 10 and 3 minutes of CPU time (each with a `--work` of its own), VGG-16 on
the embedded set about 40 and VGG-S's dense layers 20. CIFAR-10, which has five times the images,
was not run. A float net is trained and compressed by the technique `deep_compression`; the float,
the pruned and the shared network are written as `.tflite`, and these as containers by each coder,
all of them unpacked again and compared. Trainings go on where they were stopped: what `--work`
holds is used and not trained again, so that a new measurement needs a new one.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
from pathlib import Path
from typing import Any

import keras
import numpy as np
import vgg_s_features
from measurements import Measurements, conduct, made_here, parser, single
from page import Page

from tfcompress import data, models, techniques, training
from tfcompress.config import Training
from tfcompress.console import table
from tfcompress.container import archive, parts, ranges
from tfcompress.container.bytestream import Reader
from tfcompress.export import export
from tfcompress.graph.fold_batch_norm import fold_batch_norms
from tfcompress.runtime.accuracy import file_accuracy
from tfcompress.training import TrainingContext
from tfcompress.training.progress import with_progress

TECHNIQUE = techniques.get("deep_compression")
HEADERS = [
    "stage",
    "accuracy",
    "points below float",
    "bytes",
    "times smaller",
    "restored bit by bit",
]
LAYER_HEADERS = [
    "layer",
    "weights",
    "kept",
    "value bits P+Q",
    "value bits P+Q+H",
    "distance bits P+Q",
    "distance bits P+Q+H",
    "of float P+Q",
    "of float P+Q+H",
    "of float, best coder",
]


class Bench:
    """The data and what is done with them.

    Args:
        flags: of the command.
    """

    def __init__(self, flags: argparse.Namespace) -> None:
        self._flags = flags
        if flags.model == vgg_s_features.NAME:
            self.images = vgg_s_features.features(flags.dataset, flags.data_dir, flags.work)
        else:
            size = models.get(flags.model).NATIVE_SIZE
            self.images = data.load(flags.dataset, data_dir=flags.data_dir, fallback_size=size)
        self.options = TECHNIQUE.make_options(**dict(pair.split("=", 1) for pair in flags.set))

    def run(self, seed: int) -> dict[str, Any]:
        """All three networks, their files and containers, and what they take."""
        folder = self._flags.work / f"{self._flags.model}_{self._flags.dataset}_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        original = self._trained(folder, seed)
        pruned, shared = self._compressed(original, folder, seed)
        # Normalisations are folded as in the last file, so that zeros have one sign.
        nets = {"float": original, "pruned": fold_batch_norms(pruned)[0], "shared": shared}
        found: dict[str, Any] = {}
        for name, net in nets.items():
            path = folder / f"{name}.tflite"
            export(net, path, representative=self.images.representative(50, seed))
            found[name] = {
                "accuracy": self._accuracy(path),
                "bytes": path.stat().st_size,
                "gzip": len(gzip.compress(path.read_bytes(), 9, mtime=0)),
                **{coder: packed(path, coder) for coder in archive.CODERS},
            }
        found["layers"] = layers(folder / "shared.tflite")
        return found

    def _trained(self, folder: Path, seed: int) -> keras.Model:
        """The float net; from its file if it is there."""
        path = folder / "float.keras"
        if path.exists():
            print(f"uses {path}, which was trained before", flush=True)
        else:
            keras.utils.set_random_seed(seed)
            shape, classes = self.images.image_shape, self.images.num_classes
            if self._flags.model == vgg_s_features.NAME:
                model = vgg_s_features.dense_layers(classes)
            else:
                model = models.build(self._flags.model, shape, classes)
            settings = Training(epochs=self._flags.baseline_epochs)
            training.fit(model, self.images, settings, watched(folder, "float", settings, seed))
            model.save(path)
        return keras.saving.load_model(path)

    def _compressed(self, original: keras.Model, folder: Path, seed: int) -> list[keras.Model]:
        """The network after each round."""
        settings = TECHNIQUE.training(self.options)
        if self._flags.epochs:
            settings = dataclasses.replace(settings, epochs=self._flags.epochs)
        candidate = techniques.Candidate(original)
        found = []
        for name, (options, its) in zip(
            ("pruned", "shared"), TECHNIQUE.rounds(candidate, self.options, settings), strict=True
        ):
            keras.utils.set_random_seed(seed)
            candidate = TECHNIQUE.transform(candidate, options)
            context = dataclasses.replace(watched(folder, name, its, seed), teacher=original)
            candidate, _ = TECHNIQUE.fit(candidate, options, self.images, its, context)
            candidate.model.save(folder / f"{name}.keras")
            found.append(candidate.model)
        return found

    def _accuracy(self, path: Path) -> float:
        """The file's, on all test images."""
        return file_accuracy(path, self.images.batches("test", 64))


def watched(folder: Path, name: str, settings: Training, seed: int) -> TrainingContext:
    """A training's seed, its checkpoint and what it prints."""
    context = TrainingContext(seed=seed, checkpoint=folder / f"{name}.npz")
    return with_progress(context, name, settings.epochs)


def packed(path: Path, coder: str) -> int:
    """The container's bytes, once it gave back the file."""
    target = path.with_name(f"{path.stem}_{coder}.tfz")
    again = path.with_name("again.tflite")
    archive.pack(path, target, coder=coder)
    archive.unpack(target, again)
    if again.read_bytes() != path.read_bytes():
        raise RuntimeError(f"{target} doesn't hold {path}")
    return target.stat().st_size


def layers(path: Path) -> list[dict[str, Any]]:
    """Each kernel as the paper's tables have it: bits of a written value, and shares of float."""
    whole = path.read_bytes()
    found = []
    for one in ranges.constants(whole, str(path)):
        content = whole[one.start : one.start + one.size_bytes]
        if one.width != 4 or not np.any(np.frombuffer(content, "<f4") == 0):
            continue  # A bias.
        sizes = {}
        for coder in ("bits", "huffman"):
            written = parts.encode(content, 4, coder, sparse=True)
            sizes[coder] = parts.decode(Reader(written), 0, np.empty(len(content), np.uint8))
        fixed, coded = sizes["bits"], sizes["huffman"]
        best = parts.encode(content, 4)
        found.append(
            {
                "name": one.name.split("/")[1] if "/" in one.name else one.name,
                "weights": fixed.values,
                "kept": float(np.mean(np.frombuffer(content, "<f4") != 0)),
                "value_bits": [8 * p.value_bytes / p.written for p in (fixed, coded)],
                "gap_bits": [8 * p.gap_bytes / p.written for p in (fixed, coded)],
                "gap_width": fixed.gap_bits,
                "table": fixed.table_values,
                "of_float": [p.packed_bytes / len(content) for p in (fixed, coded)],
                "best": len(best) / len(content),
            }
        )
    return found


STAGES = (
    ("float file", "float", "bytes"),
    ("float, best coder", "float", "best"),
    ("pruned: distances and floats (P)", "pruned", "bits"),
    ("shared: distances and indices (P+Q)", "shared", "bits"),
    ("Huffman (P+Q+H)", "shared", "huffman"),
    ("ANS in place of Huffman", "shared", "ans"),
    ("zstandard in place of Huffman", "shared", "zstd"),
    ("best for each stream", "shared", "best"),
    ("gzip -9 of the shared file", "shared", "gzip"),
)


def stage_rows(runs: list[dict[str, Any]]) -> list[list[str]]:
    """One line a stage; of several seeds all accuracies and the range of the others."""
    rows = []
    for label, net, size in STAGES:
        below = [100 * (run["float"]["accuracy"] - run[net]["accuracy"]) for run in runs]
        sizes = [run[net][size] for run in runs]
        smaller = [run["float"]["bytes"] / run[net][size] for run in runs]
        rows.append(
            [
                label,
                " ".join(f"{run[net]['accuracy']:.4f}".lstrip("0") for run in runs),
                "" if net == "float" else spread(below, 2),
                spread(sizes, 0),
                spread(smaller, 2),
                "" if size in ("bytes", "gzip") else "yes",
            ]
        )
    return rows


def spread(values: list[float], digits: int) -> str:
    """The mean, and the range if there are several."""
    mean = f"{sum(values) / len(values):,.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def layer_rows(run: dict[str, Any]) -> list[list[str]]:
    """One line a kernel, of one seed."""
    return [
        [
            layer["name"],
            f"{layer['weights']:,}",
            f"{layer['kept']:.1%}",
            *(f"{bits:.1f}" for bits in layer["value_bits"]),
            *(f"{bits:.1f}" for bits in layer["gap_bits"]),
            *(f"{share:.1%}" for share in layer["of_float"]),
            f"{layer['best']:.1%}",
        ]
        for layer in run["layers"]
    ]


def page_of(results: Measurements) -> Page:
    said, keys = results.settings, list(results.rows)
    runs = [results[key] for key in keys]
    seeds = "one seed" if len(runs) == 1 else f"seeds 0 to {len(runs) - 1}, mean and range"
    return Page(
        f"Deep Compression of {said['model']} on {said['dataset']}",
        (vgg_s_features.NOTE if said["model"] == vgg_s_features.NAME else "")
        + f"Accuracies of the .tflite files on all {said['test_images']:,} test images, after "
        f"the training that follows each stage; {seeds}. Bytes are those of containers that give "
        "the .tflite back, everything in it included; P, Q and H are the paper's prune, quantise, "
        "Huffman (Han, Mao, Dally 2016, arXiv:1510.00149). Float trained for "
        f"{said['baseline_epochs']} epochs. Each kernel of seed 0, as in the paper's tables 3 to "
        "5, always sparse (a container takes dense indices where they are shorter):\n\n"
        + table(layer_rows(runs[0]), LAYER_HEADERS, markdown=True),
        HEADERS,
        [(row, keys) for row in stage_rows(runs)],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--work", type=Path, help="folder for networks and files")
    flags.add_argument("--model", default="vgg_small")
    flags.add_argument("--dataset", default="fashion_mnist_small")
    flags.add_argument("--data_dir")
    flags.add_argument("--seeds", type=int, default=3)
    flags.add_argument("--baseline_epochs", type=int, default=10)
    flags.add_argument("--epochs", type=int, help="of pruning; sharing takes half of them")
    flags.add_argument("--set", action="append", default=[], help="option of the technique")
    said = flags.parse_args()
    if said.render:
        conduct(said, [], page_of)
        return
    if said.work is None:
        flags.error("--work is missing: the folder for networks and files")
    bench = Bench(said)
    settings = {name: getattr(said, name) for name in ("model", "baseline_epochs", "epochs", "set")}
    settings |= {"dataset": bench.images.name, "test_images": len(bench.images.test)}
    conduct(
        said,
        [single(f"seed {seed}", bench.run, seed) for seed in range(said.seeds)],
        page_of,
        settings=settings,
        made=lambda: made_here(work="DIR", **({"data_dir": "DIR"} if said.data_dir else {})),
    )


if __name__ == "__main__":
    main()
