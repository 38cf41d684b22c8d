"""The files of tflite_models/: small image classifiers, one for each way to make them small.

Run:

    .venv/bin/python experiments/zoo.py --output=build/tflite_models

About 40 minutes on two cores. Each file is made by the command that stands on its card; a run that
is there isn't made again without `--again`. The whole runs, with reports and float files, go to
`--work`. What `zoo_speed.py` measured on other classes of machines gets a column each.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from measurements import FILE, Measurements, Row, conduct, parser, single
from page import Page, line
from techniques import made_by, run

from tfcompress.tflite import content, versions

# Folder to the flags that make its file.
ZOO = {
    "fashion_float": ("--technique=baseline",),
    "fashion_int8": ("--technique=int8",),
    "fashion_qat": ("--technique=qat",),
    "fashion_prune_cluster_qat": ("--technique=prune+cluster+qat",),
    "fashion_deep_compression": ("--technique=deep_compression",),
    "fashion_bwn_int2": ("--technique=bwn", "--storage=int2"),
    "fashion_bwn_1bit": ("--technique=bwn", "--storage=1bit"),
    "fashion_xnor_int8": ("--technique=xnor", "--storage=int8"),
    "fashion_xnor_1bit": ("--technique=xnor", "--storage=1bit"),
    "fashion_hashed_int8": ("--technique=hashed+int8", "--set", "include=all"),
    "fashion_cp_int8": ("--technique=cp+int8",),
    "fashion_separable_int8": ("--technique=separable+int8",),
}
# What of a run's folder is kept beside the file.
KEPT = ("compressed.tflite", "README.md")
_LARGEST = 10**6


def made(name: str, flags: tuple[str, ...], work: Path, output: Path, again: bool) -> Row:
    """Returns what a run measured; its file and card are in the output folder afterwards."""
    folder = work / name
    result = run(folder, again, *flags)
    (output / name).mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        shutil.copyfile(folder / file, output / name / file)
    card = output / name / "README.md"
    # The folder of this run is nobody else's.
    card.write_text(re.sub(r" --output_dir=\S+", "", card.read_text()))
    path = output / name / "compressed.tflite"
    assert path.stat().st_size < _LARGEST, f"{name} has {path.stat().st_size:,} bytes"
    names = ("accuracy", "size_bytes", "gzip_bytes", "packed_bytes", "latency_ms_p50")
    return {
        **{key: result["compressed"][key] for key in names},
        "ratio": result["ratio"]["latency"],
        "runs_on": str(versions.oldest(content.read(path))),
        "made": made_by(result),
    }


def other_classes(folder: Path) -> dict[str, Measurements]:
    """Returns what `zoo_speed.py` measured on other classes of machines, by the class's name."""
    folders = sorted(path.parent for path in folder.glob(f"*/{FILE}"))
    return {inner.name.upper(): Measurements(inner) for inner in folders}


def cells(name: str, row: Row, others: Iterable[Measurements]) -> list[str]:
    """Returns one line of the table."""
    return [
        f"[{name}]({name}/README.md)",
        f"`{' '.join(ZOO[name])}`",
        f"{row['accuracy']:.4f}",
        *(f"{row[size] / 1024:,.1f}" for size in ("size_bytes", "gzip_bytes", "packed_bytes")),
        f"{row['latency_ms_p50']:.3f}",
        f"{row['ratio']:.2f}",
        *(ratios(name, other) for other in others),
        row["runs_on"],
    ]


def ratios(name: str, results: Measurements) -> str:
    """Returns a folder's ratio to the float file on one class, and those of its other rows."""
    first = f"{results[name]['ratio']:.2f}" if name in results else "-"
    beside = [
        f"{row['ratio']:.2f} {key.removeprefix(f'{name}, ')}"
        for key, row in results.rows.items()
        if key.startswith(f"{name}, ")
    ]
    return f"{first} ({'; '.join(beside)})" if beside else first


def page_of(results: Measurements) -> Page:
    others = other_classes(results.folder)
    measured = [
        f"\n\n{label}, of float's in turns: {line(record)}"
        for label, kept in others.items()
        for record in kept.records(kept.rows)
    ]
    return Page(
        "Small image classifiers",
        "`vgg_small` on the embedded 12,000 images of Fashion-MNIST, seed 0, made small in twelve "
        "ways; each folder has the file and its card. Accuracy is the file's on all 2,000 test "
        "images (standard error about 0.65 points), latency its median on one thread, the ratio to "
        "the float32 file's in the same run. gzip and `.tfz` are what it takes to send the file."
        + "".join(measured),
        [
            *("file", "made by", "accuracy", "KiB", "gzip", "tfz", "ms", "of float's"),
            *(f"of float's, {label}" for label in others),
            "runs on",
        ],
        [(cells(name, results[name], others.values()), [name]) for name in ZOO if name in results],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--work", type=Path, default=Path("build/zoo"), help="folder for the runs")
    flags = flags.parse_args()
    steps = [
        single(name, made, name, words, flags.work, flags.output, flags.again)
        for name, words in ZOO.items()
    ]
    conduct(flags, steps, page_of, timed=False)


if __name__ == "__main__":
    main()
