"""The files of tflite_models/: small image classifiers, one for each way to make them small.

Run:

    python experiments/zoo.py --output=tflite_models

About 40 minutes on two cores. Each file is made by the command that stands on its card; a file that
is there isn't made again. The whole runs, with reports and float files, go to `--work`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from page import page

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
    "fashion_xnor_int8": ("--technique=xnor",),
    "fashion_xnor_1bit": ("--technique=xnor", "--storage=1bit"),
    "fashion_hashed_int8": ("--technique=hashed+int8", "--set", "include=all"),
    "fashion_cp_int8": ("--technique=cp+int8",),
    "fashion_separable_int8": ("--technique=separable+int8",),
}
# What of a run's folder is kept beside the file.
KEPT = ("compressed.tflite", "README.md")
_LARGEST = 10**6


def made(name: str, flags: tuple[str, ...], work: Path, output: Path) -> dict[str, object]:
    """The result of a run, whose file and card are in the output folder afterwards."""
    folder = work / name
    if not (folder / "report.json").exists():
        words = [sys.executable, "-m", "tfcompress.run", *flags, f"--output_dir={folder}"]
        subprocess.run(words, check=True)
    result = json.loads((folder / "report.json").read_text())
    (output / name).mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        shutil.copyfile(folder / file, output / name / file)
    card = output / name / "README.md"
    # The folder of this run is nobody else's.
    card.write_text(card.read_text().replace(f" --output_dir={folder}", ""))
    size_bytes = (output / name / "compressed.tflite").stat().st_size
    assert size_bytes < _LARGEST, f"{name} has {size_bytes:,} bytes"
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for files and table")
    parser.add_argument("--work", type=Path, default=Path("build/zoo"), help="folder for the runs")
    flags = parser.parse_args()
    rows = []
    for name, words in ZOO.items():
        result = made(name, words, flags.work, flags.output)
        file, ratio = result["compressed"], result["ratio"]
        held = content.read(flags.output / name / "compressed.tflite")
        rows.append(
            [
                f"[{name}]({name}/README.md)",
                f"`{' '.join(words)}`",
                f"{file['accuracy']:.4f}",
                f"{file['size_bytes'] / 1024:,.1f}",
                f"{file['gzip_bytes'] / 1024:,.1f}",
                f"{file['packed_bytes'] / 1024:,.1f}",
                f"{file['latency_ms_p50']:.3f}",
                f"{ratio['latency']:.2f}",
                str(versions.oldest(held)),
            ]
        )
    page(
        flags.output,
        "Small image classifiers",
        "python experiments/zoo.py --output=tflite_models",
        "`vgg_small` on the embedded 12,000 images of Fashion-MNIST, seed 0, made small in twelve "
        "ways; each folder has the file and its card. Accuracy is the file's on all 2,000 test "
        "images (standard error about 0.65 points), latency its median on one thread, the ratio to "
        "the float32 file's in the same run. gzip and `.tfz` are what it takes to send the file.",
        ["file", "made by", "accuracy", "KiB", "gzip", "tfz", "ms", "of float's", "runs on"],
        rows,
    )


if __name__ == "__main__":
    main()
