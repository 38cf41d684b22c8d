r"""Times the files of tflite_models/ on this machine, all in turns with the float one.

Run, on a machine of another class than that of `tflite_models/runs.json`:

    .venv/bin/python experiments/zoo_speed.py --output=tflite_models/avx2
    .venv/bin/python experiments/zoo.py --output=tflite_models --render

Two minutes. The second command gives the table of tflite_models/ a column of the folder's name;
README's is called by the processor's features. What another machine measured by the benchmark alone
can be brought here, too:

    .venv/bin/python -m tfcompress.benchmark tflite_models/fashion_float/compressed.tflite \
        tflite_models/*/compressed.tflite --json=speed.json
    .venv/bin/python experiments/zoo_speed.py --output=tflite_models/avx2 --from_json=speed.json

A file with two signatures has a row for each: by its default one, and by our 1-bit kernels.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measurements import MACHINE, Measurements, Row, Step, command, conduct, parser
from page import Page

from tfcompress import kernels
from tfcompress.commands import print_error
from tfcompress.errors import InputError, require
from tfcompress.pipeline.provenance import versions
from tfcompress.runtime.delegates import has_bit_ops
from tfcompress.tflite import signatures
from tfcompress.tflite.signatures import BITS

FLOAT = "fashion_float"
BACKENDS = ("cpu?signature=serving_default", "cpu")
BY_KERNELS = "1-bit kernels"


def benchmark(files: list[Path], runs: int) -> dict[str, Any]:
    """Runs `python -m tfcompress.benchmark` on some files and returns what it writes as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speed.json"
        words = [sys.executable, "-m", "tfcompress.benchmark", *map(str, files)]
        words += [f"--backends={','.join(BACKENDS)}", f"--runs={runs}", f"--json={target}"]
        done = subprocess.run(words)
        # 1: a file couldn't be measured, which the table said; the others were.
        require(done.returncode in (0, 1) and target.exists(), "the files couldn't be measured")
        return json.loads(target.read_text())


def files_of(folder: Path) -> list[Path]:
    """Returns the files of tflite_models/, the float one first, with whatever lies beside them."""
    paths = sorted(folder.glob("*/*.tflite"), key=lambda path: (path.parent.name != FLOAT, path))
    require(bool(paths) and paths[0].parent.name == FLOAT, f"{folder} holds no {FLOAT}")
    return paths


def rows_of(content: dict[str, Any], made: Row) -> dict[str, Row]:
    """Returns the rows of what the benchmark wrote: what ran on one thread of the CPU.

    Args:
        content: the JSON.
        made: the record of the measurement.

    Raises:
        InputError: the first file, which ratios refer to, isn't the float one.
    """
    entries = [file for file in content["files"] if file["kind"] == "cpu" and file["threads"] == 1]
    first = Path(entries[0]["path"]) if entries else Path()
    require(
        first.parent.name == FLOAT,
        f"ratios must refer to {FLOAT}/compressed.tflite: give it as the first file; got {first}",
    )
    rows: dict[str, Row] = {}
    for file in entries:
        if not file["latency_runs"]:
            print(f"{file['path']}: no latency: {file['outcome']}: {file['reason']}")
            continue
        names = ("latency_ms_p50", "ratio", "ratio_p10", "ratio_p90", "latency_runs")
        rows.setdefault(_key(file), {**{name: file[name] for name in names}, "made": made})
    return rows


def _key(file: dict[str, Any]) -> str:
    """Returns a file's folder, and behind it what tells it from the folder's others."""
    path = Path(file["path"])
    parts = [path.parent.name]
    if path.stem != "compressed":
        parts.append(path.stem)
    if file["signature"] == BITS:
        parts.append(BY_KERNELS)
    return ", ".join(parts)


def made_there(machine: Row, created: str, made_of: dict[str, str], **shown: object) -> Row:
    """Returns the record of a measurement from what the benchmark says of its machine."""
    known = {name: machine[name] for name in MACHINE if machine.get(name) is not None}
    return {"date": created[:10], **known, "versions": made_of, "command": command(**shown)}


def page_of(results: Measurements) -> Page:
    return Page(
        f"Small image classifiers on {results.folder.name}",
        "The files of [tflite_models](../README.md), all timed in turns on one thread. Latencies "
        "are medians; ratios to the float32 file's are medians over rounds, with the 10th and 90th "
        f"percentile. '{BY_KERNELS}': the second signature of the same file.",
        ["file", "ms", "of float's"],
        [(cells(key, row), [key]) for key, row in results.rows.items()],
    )


def cells(key: str, row: Row) -> list[str]:
    """Returns one line of the table."""
    spread = (
        "" if row["ratio_p10"] is None else f" ({row['ratio_p10']:.2f} to {row['ratio_p90']:.2f})"
    )
    return [key, f"{row['latency_ms_p50']:.3f}", f"{row['ratio']:.2f}{spread}"]


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--files", type=Path, help="folder of the files (that around --output)")
    flags.add_argument("--runs", type=int, default=400, help="timed inferences of each file")
    flags.add_argument("--from_json", type=Path, help="what the benchmark wrote elsewhere")
    flags = flags.parse_args()
    steps: list[Step] = []
    try:
        if flags.from_json and not flags.render:
            steps = [_from_json(flags.from_json)]
        elif not flags.render:
            steps = [_measured_here(files_of(flags.files or flags.output.parent), flags.runs)]
    except InputError as error:
        print_error(error)
        sys.exit(2)
    conduct(flags, steps, page_of)


def _from_json(path: Path) -> Step:
    """Returns the step that takes the rows from a file of the benchmark's."""
    content = json.loads(path.read_text())
    machine = content["machine"]
    made_of = {"python": machine["python"], "ai-edge-litert": machine["ai_edge_litert"]}
    rows = rows_of(content, made_there(machine, content["created"], made_of, from_json="FILE"))
    return tuple(rows), lambda: rows


def _measured_here(files: list[Path], runs: int) -> Step:
    """Returns the step that measures files here; those that don't run here are named."""
    why = kernels.missing()
    keys: list[str] = []
    able = []
    for path in files:
        two = BITS in signatures.graphs(path)
        if why and has_bit_ops(path):
            print(f"{path}: without 1-bit kernels ({why}){'' if two else ', not measured'}")
        if two or not (why and has_bit_ops(path)):
            able.append(path)
            keys.append(_key({"path": str(path), "signature": None}))
        if two and not why:
            keys.append(_key({"path": str(path), "signature": BITS}))

    def measure() -> dict[str, Row]:
        content = benchmark(able, runs)
        made = made_there(content["machine"], content["created"], versions())
        rows = rows_of(content, made)
        lost = [key for key in keys if key not in rows]
        require(not lost, f"not measured: {', '.join(lost)}")
        return rows

    return tuple(keys), measure


if __name__ == "__main__":
    main()
