r"""Tables of techniques on the embedded data set, run by the command that users run.

Run:

    .venv/bin/python experiments/techniques.py --table=binary --output=build/binary_techniques
    .venv/bin/python experiments/techniques.py --table=compact --output=build/compact_techniques
    .venv/bin/python experiments/techniques.py --table=quantised --output=build/quantised_techniques
    .venv/bin/python experiments/techniques.py --table=structured --output=build/structured
    .venv/bin/python experiments/techniques.py --table=few_bits --output=build/few_bits_techniques
    .venv/bin/python experiments/techniques.py --table=vgg16 --output=build/vgg16_techniques

The first four took about 25, 30, 60 and 60 minutes on two cores, `channels` of `vgg16` 90; of the
66 runs of `few_bits` the 22 of seed 0 took 70, beside another training.

Per seed one float baseline is trained (by the first run) and then used by all techniques, so that
they differ in nothing else. Latency is interleaved with the baseline's; an accuracy on 2,000 images
has a standard error of about 0.65 points. Runs are kept in the folder `--work`: stopped and called
again, it goes on, and says so. `--again` runs all anew.
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from cells import making
from measurements import MACHINE, Measurements, Row, Step, command, conduct, parser
from page import Page

# Two files of each training: cut, and cut and in 8 bits.
CUT = ["--technique=channels", "--storage=float32,int8", "--set"]
# Name in the table to the command's words and the number of seeds; the first one trains the float
# baseline of each seed.
TABLES: dict[str, dict[str, tuple[list[str], int]]] = {
    "binary": {
        "xnor": (["--technique=xnor"], 3),
        "binary_activations": (["--technique=binary_activations"], 1),
        "bwn": (["--technique=bwn"], 1),
        "xnor, paper's recipe": (["--technique=xnor", "--set", "recipe=paper"], 1),
        "xnor, --set width=2": (["--technique=xnor", "--set", "width=2"], 1),
    },
    "compact": {
        "separable": (["--technique=separable"], 3),
        "hashed": (["--technique=hashed", "--set", "include=all"], 3),
        "hashed, init=scratch": (
            ["--technique=hashed", "--set", "include=all", "--set", "init=scratch"],
            3,
        ),
    },
    "quantised": {
        "int8": (["--technique=int8"], 3),
        "float16": (["--technique=float16"], 1),
        "dynamic": (["--technique=dynamic"], 1),
        "qat": (["--technique=qat"], 3),
        "prune": (["--technique=prune"], 3),
        "prune+qat": (["--technique=prune+qat"], 3),
        "cluster": (["--technique=cluster"], 3),
        "cluster+qat": (["--technique=cluster+qat"], 3),
        "prune+cluster+qat": (["--technique=prune+cluster+qat"], 3),
    },
    "structured": {
        "channels": (["--technique=channels"], 3),
        "channels, macs_ratio=0.29": (["--technique=channels", "--set", "macs_ratio=0.29"], 3),
        "channels+int8": (["--technique=channels+int8"], 3),
        "channels+xnor": (["--technique=channels+xnor"], 1),
        "channels, latency_ratio=0.5": (["--technique=channels", "--set", "latency_ratio=0.5"], 3),
        **{
            f"channels, macs_ratio=0.29, 5 sparse epochs, {penalty}": (
                [
                    *["--technique=channels", "--set", "macs_ratio=0.29"],
                    *["--set", "sparse_epochs=5", "--set", f"sparse_penalty={penalty}"],
                ],
                1,
            )
            for penalty in ("gamma", "groups", "growing")
        },
        "dsd": (["--technique=dsd"], 1),
        "perforate": (["--technique=perforate"], 1),
    },
    "few_bits": {
        "ternary": (["--technique=ternary", "--storage=int2"], 3),
        "ternary, scale=trained": (
            ["--technique=ternary", "--storage=int2", "--set", "scale=trained"],
            3,
        ),
        "lsq, bits=2": (["--technique=lsq", "--storage=int2", "--set", "bits=2"], 3),
        "lsq, bits=3": (["--technique=lsq", "--storage=int4", "--set", "bits=3"], 3),
        "lsq, bits=4": (["--technique=lsq", "--storage=int4"], 3),
        **{
            f"lsq, bits={bits}, activation_bits={bits}": (
                [
                    *["--technique=lsq", "--storage=int8", "--set", f"bits={bits}"],
                    *["--set", f"activation_bits={bits}"],
                ],
                3,
            )
            for bits in (2, 4)
        },
        "binaryconnect": (["--technique=binaryconnect", "--storage=1bit"], 3),
        "binaryconnect, stochastic=true": (
            ["--technique=binaryconnect", "--storage=1bit", "--set", "stochastic=true"],
            3,
        ),
        "dorefa": (["--technique=dorefa"], 3),
        "dorefa, 2 bits": (
            ["--technique=dorefa", "--set", "weight_bits=2", "--set", "activation_bits=2"],
            3,
        ),
        "pact": (["--technique=pact"], 3),
        "pact, weights=sawb": (["--technique=pact", "--set", "weights=sawb"], 3),
        "wage": (["--technique=wage"], 3),
        "qnn": (["--technique=qnn"], 3),
        "xnor, activation_bits=2": (["--technique=xnor", "--set", "activation_bits=2"], 3),
        **{
            name: ([f"--technique={name}"], 3)
            for name in ("pq", "mixed", "sqnr", "lcnn", "monochromatic", "biclustering")
        },
    },
    "vgg16": {
        "int8": (["--model=vgg16", "--technique=int8", "--storage=int8,int8_int4"], 1),
        "channels, size_ratio=0.36": ([*CUT, "size_ratio=0.36"], 1),
        "channels, size_ratio=0.18": ([*CUT, "size_ratio=0.18"], 1),
        "sqnr": (["--technique=sqnr"], 1),
        "sqnr, bits=3": (["--technique=sqnr", "--set", "bits=3"], 1),
        "pq": (["--technique=pq"], 1),
    },
}


# What was published of a technique on CIFAR-10: network, accuracy in percent, that of the same
# source's float network where it gives one, and where that stands.
PUBLISHED = {
    "ternary": ("VGG-7", 92.56, 92.88, "Li et al. 2016, arXiv:1605.04711, table 2"),
    "ternary, scale=trained": ("ResNet-20", 91.13, 91.77, "Zhu et al. 2016, arXiv:1612.01064"),
    "lsq, bits=2, activation_bits=2": (
        "VGG-small",
        93.42,
        93.34,
        "github.com/hustzxd/LSQuantization",
    ),
    "lsq, bits=4, activation_bits=4": (
        "VGG-small",
        94.26,
        93.34,
        "github.com/hustzxd/LSQuantization",
    ),
    "binaryconnect": ("VGG-like", 90.10, 89.36, "Courbariaux et al. 2015, arXiv:1511.00363"),
    "binaryconnect, stochastic=true": (
        *("VGG-like", 91.73, 89.36),
        "Courbariaux et al. 2015, arXiv:1511.00363",
    ),
    "dorefa": ("ResNet-20, 4 bits", 90.5, None, "Choi et al. 2018, arXiv:1805.06085"),
    "dorefa, 2 bits": ("ResNet-20", 88.2, None, "Choi et al. 2018, arXiv:1805.06085"),
    "pact": ("ResNet-20, 4 bits", 91.3, None, "Choi et al. 2018, arXiv:1805.06085"),
    "wage": ("VGG-like", 93.22, None, "Wu et al. 2018, arXiv:1802.04680, table 1"),
    "qnn": ("VGG-like", 89.85, None, "Hubara et al. 2016, arXiv:1609.07061"),
}
# Of a report, what a row leaves out: no page shows it.
LONG = ("files", "benchmarks", "layers", "layers_before", "layers_after")


def run(folder: Path, again: bool, *words: str) -> Row:
    """Runs the command once and returns its report, which says when and where it was made.

    Of several processes that want the same run one makes it, and the others wait.
    """
    with making(folder):
        return _run(folder, again, *words)


def _run(folder: Path, again: bool, *words: str) -> Row:
    if (folder / "report.json").exists() and not again:
        print(f"{folder} holds a finished run, which isn't made again", flush=True)
    elif folder.exists():
        print(f"{folder} is begun anew" if again else f"goes on in {folder}", flush=True)
    fresh = ["--noresume"] if again else []
    subprocess.run(
        [sys.executable, "-m", "tfcompress.run", f"--output_dir={folder}", *fresh, *words],
        check=True,
    )
    report = json.loads((folder / "report.json").read_text())
    report.pop("histories", None)
    return report | {"made": made_by(report)}


def made_by(report: Row) -> Row:
    """Returns the record of the run that wrote a report."""
    here = {name: report["machine"][name] for name in MACHINE if name in report["machine"]}
    record = {"date": report["created"][:10], **here, "versions": report["versions"]}
    return record | {"command": command(work="DIR")}


def steps_of(
    table: str, work: Path, seeds: int, again: bool, only: Collection[str] = ()
) -> list[Step]:
    """Returns the runs of a table, by name and seed; of `only` these techniques, if it is given."""
    steps: list[Step] = []
    for name, (words, wanted) in TABLES[table].items():
        if name in only or not only:
            for seed in range(min(wanted, seeds)):
                keys = tuple(f"{title}, seed {seed}" for title in titles(name, words))
                run_it = functools.partial(reports_of, keys, table, work, name, seed, again)
                steps.append((keys, run_it))
    return steps


def reports_of(
    keys: Collection[str], table: str, work: Path, name: str, seed: int, again: bool
) -> dict[str, Row]:
    """Runs one technique of a table with one seed, on the baseline of the table's first one.

    Returns the report once for each of the keys, of one file each.
    """
    words, _ = TABLES[table][name]
    first = next(iter(TABLES[table]))
    # Other networks than the baselines' have baselines of their own.
    if name != first and not any("width" in word for word in words):
        base = folder_of(work, first, seed) / "baseline.keras"
        if not base.exists():
            run(base.parent, again, *TABLES[table][first][0], f"--seed={seed}")
        words = [*words, f"--model={base}", "--normalization=standardize"]
    report = run(folder_of(work, name, seed), again, *words, f"--seed={seed}")
    kept = {name: value for name, value in report.items() if name not in LONG}
    kept = json.loads(json.dumps(kept).replace(str(work.parent), "DIR"))
    files = list(report["files"].values()) if len(keys) > 1 else [{}]
    return {key: kept | of_file(file) for key, file in zip(keys, files, strict=True)}


def folder_of(work: Path, name: str, seed: int) -> Path:
    """Returns the folder of a run."""
    return work / f"{name.replace(' ', '_')}_{seed}"


def of_file(entry: Row) -> Row:
    """Returns what a report says of its first file, of another one from its entry in `files`."""
    if not entry:
        return {}
    file = {name: value for name, value in entry.items() if name not in LONG}
    return {"compressed": file} | {key: entry[key] for key in ("ratio", "accuracy_change_points")}


def titles(name: str, words: Sequence[str]) -> list[str]:
    """Returns the names of a technique's rows: one for each of the files that its run writes."""
    written = [word.split("=", 1)[1].split(",") for word in words if word.startswith("--storage=")]
    _, *more = written[-1] if written else [""]
    return [name, *(f"{name}, {storage}" for storage in more)]


def rows_of(table: str) -> list[str]:
    """Returns the names of a table's rows."""
    return [title for name, (words, _) in TABLES[table].items() for title in titles(name, words)]


def points_below(found: Iterable[Row]) -> list[float]:
    """Returns by how many points each file is less accurate than the float one."""
    return [0.0 - report["accuracy_change_points"] for report in found]


def row(name: str, found: list[dict]) -> list[str]:
    """One line of the table."""
    below = points_below(found)
    spread = f"{min(below):.2f} to {max(below):.2f}" if len(below) > 1 else "one seed"
    files = [report["compressed"] for report in found]
    return [
        name,
        " ".join(f"{report['baseline']['accuracy']:.4f}" for report in found),
        " ".join(f"{file['accuracy']:.4f}" for file in files),
        f"{statistics.mean(below):.2f}",
        spread,
        f"{found[0]['ratio']['size']:.3f}",
        f"{of_floats(found[0], 'gzip_bytes'):.3f}",
        f"{statistics.median(report['ratio']['latency'] for report in found):.2f}",
    ]


def of_floats(report: Row, size: str) -> float:
    """Returns the bytes of a file, as `size` counts them, divided by those of the float file."""
    return float(report["compressed"][size] / report["baseline"][size])


def published(name: str) -> str:
    """Returns what a paper reached on CIFAR-10, as a cell of the table."""
    if name not in PUBLISHED:
        return ""
    network, accuracy, floats, source = PUBLISHED[name]
    beside = "" if floats is None else f" (float {floats:.2f})"
    return f"{accuracy:.2f}{beside}, {network}; {source}"


def keys_of(results: Measurements, name: str) -> list[str]:
    """Returns the keys of a technique's rows, one a seed."""
    return [key for key in results.rows if key.rpartition(", seed ")[0] == name]


def page_of(results: Measurements) -> Page:
    table = results.settings["table"]
    rows = []
    for name in rows_of(table):
        keys = keys_of(results, name)
        if keys:
            found = [results[key] for key in keys]
            cells = row(name, found)
            if table == "few_bits":
                cells += [f"{of_floats(found[0], 'packed_bytes'):.3f}", published(name)]
            rows.append((cells, keys))
    model = "vgg16" if table == "vgg16" else "vgg_small"
    return Page(
        f"{table.replace('_', ' ').capitalize()} techniques, {model} on the embedded data set",
        "Accuracies of the .tflite files on all 2,000 test images, seeds from 0 on. Ratios are "
        "compressed divided by float32 baseline: bytes, bytes after gzip, and latency on one "
        "thread, interleaved, the median over seeds.",
        [
            "technique",
            "float accuracies",
            "accuracies",
            "points below, mean",
            "range",
            "size ratio",
            "gzip ratio",
            "latency ratio",
            *([".tfz ratio", "published on CIFAR-10, %"] if table == "few_bits" else []),
        ],
        rows,
    )


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--table", choices=TABLES, required=True)
    words.add_argument("--work", type=Path, default=Path("build/techniques"), help="of the runs")
    words.add_argument("--seeds", type=int, default=3, help="at most so many of each technique")
    words.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a technique of the table, as its page calls it; may be given several times",
    )
    flags = words.parse_args()
    for name in flags.only:
        if name not in TABLES[flags.table]:
            words.error(f"--only takes one of {'; '.join(TABLES[flags.table])}; got '{name}'")
    steps = steps_of(flags.table, flags.work / flags.table, flags.seeds, flags.again, flags.only)
    conduct(flags, steps, page_of, settings={"table": flags.table}, timed=False)


if __name__ == "__main__":
    main()
