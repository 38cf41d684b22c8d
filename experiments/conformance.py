"""Conformance: networks by techniques by storages, against the table that is committed.

Run:

    make conformance
    .venv/bin/python experiments/conformance.py --output=build/conformance
    .venv/bin/python experiments/conformance.py --output=build/conformance --only=vgg_small,cp

A new TensorFlow, Keras or LiteRT is judged by the first: it measures every cell here, and ends with
status 1 and a line for each cell that drifted from the committed table: agreement or accuracy by
more than 0.2 points, bytes by more than 1%, another oldest runtime, another outcome; and for each
that crashed. Stopped and called again it goes on; rows of other versions are measured again.

Not the full product: every network by every technique in float32, int8 and the storages that the
technique names (the two deepest by five techniques); and the first network by every technique in
every storage. Storages stand for the
techniques that act in export alone. Networks have drawn weights (`conformance_models`); techniques
that act in training get two steps. Each network has a process of its own, as in `any_model.py`.

`agreement` is the file's with Keras on 1,000 examples: the share of the same labels, of values the
share of their power that is the same, 1 - (rms of the differences / rms)^2. `accuracy` is the
file's by the drawn targets: it says whether a technique still does what it did. SQNR, in dB, is
that of the outputs, Keras's against the file's (Lin et al. 2016, arXiv:1511.06393).
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from any_model import Worker, made_by, without_paths
from measurements import Measurements, Row, Step, conduct, made_here, parser
from page import Page

from tfcompress import techniques
from tfcompress.commands import print_error
from tfcompress.errors import ExportError, InputError, require
from tfcompress.export import storages

COMMITTED = Path(__file__).resolve().parent / "results" / "conformance"
# The first one is measured in every storage.
NETWORKS = (
    *("vgg_small", "ds_cnn", "resnet8", "toy_autoencoder", "mlp", "unet_small", "nin"),
    *("squeezenet", "tiny_darknet", "compact_vgg16", "mobilenet_v1"),
    *("mobilenet_v2", "mobilenet_v3", "efficientnet"),
)
TECHNIQUES = (
    *("baseline", "bwn", "xnor", "binary_activations", "ternary", "lsq", "minmax8", "pq"),
    *("cp", "tucker", "spatial", "svd", "tt", "hashed", "separable", "channels"),
    *("prune", "cluster", "qat"),
)
# Networks of a hundred and more layers take half a minute a cell: a technique of each kind.
DEEP = ("mobilenet_v3", "efficientnet")
OF_DEEP = ("baseline", "bwn", "svd", "channels", "prune")
EVERYWHERE = ("float32", "int8")
# `lce` is for a converter and a runtime that aren't here.
ELSEWHERE = ("lce",)
REPRESENTATIVE = 100
# The largest differences that are no drift: percentage points, and a share of the bytes.
POINTS, BYTES = 0.2, 0.01


def key_of(network: str, technique: str, storage: str) -> str:
    """Returns the key of a cell's row, such as `nin, cp, int8`."""
    return f"{network}, {technique}, {storage}"


def storages_of(network: str, technique: str) -> list[str]:
    """Returns the storages that a technique's result is written in."""
    if network == NETWORKS[0]:
        return [name for name in storages.names() if name not in ELSEWHERE]
    return list(dict.fromkeys((*EVERYWHERE, *techniques.get(technique).storages)))


class Cells:
    """Measures a network's cells, in the process in which it is made.

    Args:
        name: the network's, in `conformance_models.NETWORKS`.
        folder: where it is kept.
    """

    def __init__(self, name: str, folder: Path) -> None:
        import conformance_models

        from tfcompress.export import low_bits

        # How few bits a layer has would follow from how fast they are here, and now.
        low_bits.seconds_in_turns = _alike
        folder.mkdir(parents=True, exist_ok=True)
        network = conformance_models.NETWORKS[name]
        model, self.examples = network.make()
        self.classes = network.classes
        # Another process may write the same file at this moment.
        self.path = folder / f"float-{os.getpid()}.keras"
        model.save(self.path)

    def measured(self, technique: str, names: Sequence[str]) -> dict[str, Row]:
        """Returns how a technique's cells ended, by the storages' names."""
        import keras

        # Names of layers count up over a process; they stand in the files.
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        try:
            model = self.compressed(technique)
        except Exception as error:
            return dict.fromkeys(names, ended_by(error))
        rows = {}
        expected = model.predict(self.examples.x, verbose=0)
        for name in names:
            started = _cpu_seconds()
            try:
                row = self.written(model, name, expected)
            except Exception as error:
                row = ended_by(error)
            rows[name] = {**row, "cpu_seconds": round(_cpu_seconds() - started, 1)}
        return rows

    def compressed(self, name: str) -> Any:
        """Returns what a technique makes of the network."""
        import keras

        model = keras.saving.load_model(self.path)
        return model if name == "baseline" else made_by(model, name, self.examples)

    def written(self, model: Any, storage: str, expected: Any) -> Row:
        """Writes a file and compares it with Keras and with the targets."""
        import tfcompress
        from tfcompress.tflite.content import read

        x, targets = self.examples.x, self.examples.y
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            exported = tfcompress.export(
                model, path, storage=storage, representative=x[:REPRESENTATIVE], io="float32"
            )
            got = tfcompress.load(path, arrays=True).predict(x)
            digest, content = hashlib.sha256(path.read_bytes()).hexdigest(), read(path)
        return {
            "outcome": "works",
            **compared(expected, got, targets, self.classes),
            "size_bytes": exported.size_bytes,
            "ops": len(content.of().ops),
            "kinds_of_ops": len(exported.ops),
            "oldest_runtime": exported.min_runtime,
            "kept": len(exported.kept),
            "sha256": digest[:16],
        }


def compared(expected: Any, got: Any, targets: Any, classes: bool) -> Row:
    """Returns agreement and accuracy, in percent, and SQNR, in dB.

    Args:
        expected: Keras's outputs.
        got: the file's.
        targets: numbers of classes, or values.
        classes: whether the outputs' last axis scores classes.
    """
    import numpy as np

    from tfcompress.ops.differences import relative_rms

    rms = relative_rms(expected, got)
    if classes:
        labels = got.argmax(-1)
        agreement = np.mean(labels == expected.argmax(-1))
        accuracy = np.mean(labels == targets)
    else:
        agreement, accuracy = 1 - rms**2, 1 - relative_rms(targets, got) ** 2
    return {
        "agreement": round(100 * float(agreement), 2),
        "accuracy": round(100 * float(accuracy), 2),
        "sqnr_db": round(-20 * float(np.log10(rms)), 1) if rms else None,
    }


def _cpu_seconds() -> float:
    """Returns the processor's time of this process and of those that it waited for.

    Other work on the machine doesn't change it much, unlike the time on the clock.
    """
    return sum(os.times()[:4])


def _alike(paths: Sequence[Path]) -> list[float]:
    """Returns the same seconds for every file."""
    return [1.0] * len(paths)


def ended_by(error: Exception) -> Row:
    """Returns the row of a cell that raised an error: a refusal's own line, or a crash's."""
    if isinstance(error, (InputError, ExportError)):
        return {"outcome": "refused", "text": without_paths(str(error))}
    traceback.print_exception(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = without_paths(f"{type(error).__name__}: {error}".splitlines()[0])
    return {"outcome": "traceback", "text": f"{text} ({where.name})"}


@functools.cache
def worker(folder: Path) -> Worker:
    """Returns this process's own process for networks."""
    return Worker(folder, Cells)


def measured(folder: Path, network: str, technique: str) -> dict[str, Row]:
    """Returns the rows of a network's cells of one technique, by their keys."""
    names = storages_of(network, technique)
    rows: Mapping[str, Any] = worker(folder).measured(network, technique, names)
    if "outcome" in rows:  # The process crashed, or was too late.
        text = {name: rows[name] for name in ("outcome", "text")}
        rows = dict.fromkeys(names, text)
    return {key_of(network, technique, name): row for name, row in rows.items()}


def drifts(before: Mapping[str, Row], now: Mapping[str, Row]) -> list[str]:
    """Returns a line for each cell that isn't as it was, and for each that crashed.

    Args:
        before: rows by key.
        now: likewise; cells that aren't in both are compared with nothing.
    """
    lines = []
    for key, row in now.items():
        old = before.get(key)
        if row["outcome"] not in ("works", "refused"):
            lines.append(f"{key}: {row['outcome']}: {row['text']}")
        elif old is not None:
            lines += [f"{key}: {text}" for text in _differences(old, row)]
    return lines


def _differences(old: Row, row: Row) -> list[str]:
    """Says in which figures a cell differs from what it was by more than is allowed."""
    if row["outcome"] != old["outcome"]:
        said = f" ({row['text']})" if "text" in row else ""
        return [f"{row['outcome']}{said}, was {old['outcome']}"]
    if row["outcome"] == "refused":
        return []
    texts = [
        f"{name} {row[name]:.2f}%, was {old[name]:.2f}%"
        for name in ("agreement", "accuracy")
        # Of figures with two digits, a difference may be a trifle above what it is on paper.
        if abs(row[name] - old[name]) > POINTS + 1e-6
    ]
    change = row["size_bytes"] - old["size_bytes"]
    if abs(change) > BYTES * old["size_bytes"]:
        share = change / old["size_bytes"]
        texts.append(f"{row['size_bytes']:,} bytes, was {old['size_bytes']:,} ({share:+.1%})")
    if row["oldest_runtime"] != old["oldest_runtime"]:
        texts.append(f"oldest runtime {row['oldest_runtime']}, was {old['oldest_runtime']}")
    return texts


HEADERS = [
    *("network", "technique", "storage", "agreement, %", "accuracy, %", "SQNR, dB"),
    *("bytes", "ops", "oldest runtime, or why not"),
]


def page_of(results: Measurements) -> Page:
    rows = []
    for key, row in results.rows.items():
        cells = [*key.split(", ")[:2], f"`{key.split(', ')[2]}`"]
        if row["outcome"] == "works":
            sqnr = "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}"
            cells += [f"{row['agreement']:.2f}", f"{row['accuracy']:.2f}", sqnr]
            cells += [f"{row['size_bytes']:,}", str(row["ops"]), row["oldest_runtime"]]
        else:
            text = row["text"].replace("|", "\\|").replace("\n", " ")
            cells += ["", "", "", "", "", f"{row['outcome']}: {text}"]
        rows.append((cells, [key]))
    works = [row for row in results.rows.values() if row["outcome"] == "works"]
    networks, names, kinds = map(set, zip(*(key.split(", ") for key in results.rows), strict=True))
    return Page(
        "Conformance",
        f"{len(results.rows)} cells of {len(networks)} networks, {len(names)} techniques and "
        f"{len(kinds)} storages; {len(works)} work, {len(results.rows) - len(works)} were refused "
        "or failed. Networks have drawn weights: accuracy is there to be compared with another "
        "version's, not with a trained network's. Agreement and SQNR are the file's with Keras, "
        "on 1,000 examples; see the docstring.",
        HEADERS,
        rows,
    )


def planned(only: str) -> list[tuple[str, str]]:
    """Returns the networks and techniques to measure.

    Args:
        only: names of networks and techniques, with commas; empty for all.

    Raises:
        InputError: a name is neither's.
    """
    wanted = {name for name in only.split(",") if name}
    unknown = wanted - {*NETWORKS, *TECHNIQUES}
    require(
        not unknown,
        f"--only takes networks ({', '.join(NETWORKS)}) and techniques ({', '.join(TECHNIQUES)}); "
        f"got {', '.join(sorted(unknown))}",
    )
    some = [[n for n in names if n in wanted] or names for names in (NETWORKS, TECHNIQUES)]
    every = [(network, technique) for network in some[0] for technique in some[1]]
    return [pair for pair in every if pair[0] not in DEEP or pair[1] in OF_DEEP]


def stale(results: Measurements) -> list[str]:
    """Returns the keys of rows of other versions of packages, or of other sources of ours.

    In the committed folder, where a change of ours needn't cost every row, sources don't count.
    """
    here = made_here()
    committed = results.folder.resolve() == COMMITTED
    parts = ("versions",) if committed else ("versions", "commit")
    return [
        key
        for key, row in results.rows.items()
        if any(results.made[row["made"]].get(part) != here.get(part) for part in parts)
    ]


def steps_of(plan: Sequence[tuple[str, str]], work: Path) -> list[Step]:
    """Returns a step for each network and technique, with a key for each storage."""
    return [
        (
            tuple(key_of(network, technique, name) for name in storages_of(network, technique)),
            functools.partial(measured, work, network, technique),
        )
        for network, technique in plan
    ]


def verdict(lines: Sequence[str], against: Path) -> int:
    """Says what drifted, and returns the exit status."""
    for line in lines:
        print(f"drift: {line}", file=sys.stderr)
    print(f"{len(lines)} cells drifted from {against}" if lines else f"no drift from {against}")
    return 1 if lines else 0


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--only", default="", help="networks and techniques, with commas")
    flags.add_argument("--against", type=Path, default=COMMITTED, help="rows to compare with")
    flags.add_argument("--work", type=Path, default=Path("build/conformance_work"))
    flags = flags.parse_args()
    # oneDNN corrupts its heap, see `any_model.py`; of one thread each sums have one order.
    os.environ |= {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "1"}
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    before = dict(Measurements(flags.against).rows)
    try:
        steps = steps_of(planned(flags.only), flags.work)
    except InputError as error:
        print_error(error)
        return 2
    keys = [key for step, _ in steps for key in step]
    if flags.batch is None and not flags.render:
        results = Measurements(flags.output)
        old = stale(results)
        if old:
            print(f"{len(old)} rows of other versions or sources are measured again", flush=True)
            results.drop(old)
        flags.render = not flags.again and all(key in results for key in keys)
    shown = functools.partial(made_here, output="DIR", work="DIR", only="SOME", against="DIR")
    conduct(flags, steps, page_of, made=shown, timed=False)
    if flags.batch is not None:  # A worker; who started it judges.
        return 0
    now = Measurements(flags.output).rows
    return verdict(drifts(before, {key: now[key] for key in keys if key in now}), flags.against)


if __name__ == "__main__":
    sys.exit(main())
