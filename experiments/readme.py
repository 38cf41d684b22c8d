"""The tables of README.md and of two pages of docs/, from the experiments' rows.

Run:

    .venv/bin/python experiments/readme.py

It measures nothing: each table stands between two comments in its page and is written again from
`runs.json` of the folders in `experiments/results` and of `tflite_models`. A folder of a second
class of machines (see `MACHINES`) gives its latencies a column beside the first.
"""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import any_model_tables
import mlperf_tiny_table
from default_run import FILES
from measurements import FILE, Measurements, Row
from techniques import keys_of, points_below, rows_of
from zoo import ZOO

from tfcompress.benchmark.machine import machine_line
from tfcompress.files import write

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
TFLITE_MODELS = ROOT / "tflite_models"
README = ROOT / "README.md"
MODELS_PAGE = ROOT / "docs" / "models_and_techniques.md"
TINY_PAGE = ROOT / "docs" / "mlperf_tiny.md"
# Class of machines to the folder of its rows, inside of the folder of the first class.
MACHINES = {"AVX-512": "", "AVX2": "avx2"}


def measured(folder: Path) -> dict[str, Measurements]:
    """Returns the rows of a folder by class of machines, as far as they were measured."""
    folders = {label: folder / inner for label, inner in MACHINES.items()}
    return {label: Measurements(path) for label, path in folders.items() if (path / FILE).exists()}


def markdown(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table without padding, so that a new figure changes one line."""
    headers = list(headers)
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def by_machine(title: str, labels: Iterable[str]) -> list[str]:
    """Returns a column's title for each class of machines; the class is left out if it's one."""
    labels = list(labels)
    return [title] if len(labels) == 1 else [f"{title}, {label}" for label in labels]


def share(value: float) -> str:
    """Returns a ratio with two digits that count."""
    return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"


def accuracy(value: float) -> str:
    return f"{value:.4f}".lstrip("0")


def default_run() -> str:
    """The files of `make run`: the float baseline, and each file of the compressed network."""
    classes = measured(RESULTS / "default_run")
    if not classes:
        return ""
    first = next(iter(classes.values()))
    rows = []
    for name in FILES:
        row, own = first[name], [by[name] for by in classes.values() if name in by]
        rows.append(
            [
                f"`{name}`",
                accuracy(row["accuracy"]),
                f"{row['size_bytes'] / 1024:,.0f}",
                share(row["size_ratio"]),
                *(f"{each['latency_ms_p50']:.3f}" for each in own),
                *(share(each["ratio"]) for each in own),
            ]
        )
    headers = ["file", "accuracy", "KiB", "of float", *by_machine("ms", classes)]
    return markdown([*headers, *by_machine("of float's", classes)], rows)


def zoo() -> str:
    """The twelve files of tflite_models/; `zoo_speed.py` times them on other machines."""
    classes = measured(TFLITE_MODELS)
    first = next(iter(classes.values()))
    rows = []
    for name, row in first.rows.items():
        flags = " ".join(ZOO[name]).removeprefix("--technique=")
        sizes = (row[key] / 1024 for key in ("size_bytes", "gzip_bytes", "packed_bytes"))
        rows.append(
            [
                f"[`{flags}`](tflite_models/{name}/README.md)",
                accuracy(row["accuracy"]),
                *(f"{size:.0f}" for size in sizes),
                *(f"{by[name]['ratio']:.2f}" if name in by else "-" for by in classes.values()),
            ]
        )
    headers = ["made by", "accuracy", "KiB", "gzip", "`.tfz`", *by_machine("latency", classes)]
    return markdown(headers, rows)


KERNEL_NETS = {
    "four 3x3 convolutions, 56x56x64": "4 convs 56x56x64",
    "28x28x128": "4 convs 28x28x128",
    "14x14x256": "4 convs 14x14x256",
    "7x7x512": "4 convs 7x7x512",
    "dense 4096x4096": "dense 4096x4096",
}
WHOLE_NETS = {
    "`vgg_small`": "vgg_small",
    "`vgg_small --set width=4`": "vgg_small, width 4",
    "VGG-S, 372 MiB as floats": "vgg_s",
    "a Bi-Real net of 18 layers, 224x224": "bi_real",
}


def kernels() -> str:
    """Nets by the 1-bit kernels, one thread, beside float and int8; all have random weights."""
    stacks, nets = measured(RESULTS / "xnor_kernel"), measured(RESULTS / "xnor_nets")
    classes = {label: (stacks[label], nets[label]) for label in stacks if label in nets}
    rows = []
    for title, name in (KERNEL_NETS | WHOLE_NETS).items():
        found = [kernel_row(*both, name) for both in classes.values()]
        rows.append(
            [
                title,
                *(f"{row[0]:.3g}" for row in found),
                *(share(row[1]) for row in found),
                *(share(row[2]) for row in found),
                f"{found[0][3]:.1f}",
            ]
        )
    titles = ("float, ms", "of float", "of int8")
    columns = [column for title in titles for column in by_machine(title, classes)]
    return markdown(["net", *columns, "times smaller"], rows)


def kernel_row(stacks: Measurements, nets: Measurements, name: str) -> tuple[float, ...]:
    """Returns float ms, the ratios to float and int8, times smaller; of the best kernel there."""
    if name in nets:
        row = nets[name]
        return row["float_ms"], row["to_float"][0], row["to_int8"][0], row["smaller"]["xnor"]
    kernel = next(key for key in stacks.rows if key.startswith(f"{name}, ") and key.endswith(", 1"))
    row = stacks[kernel]
    return row["float_ms"], row["ratio"][0], row["to_int8"], row["smaller"]


TITLES = {
    "xnor": "`xnor`, as int8",
    "xnor, paper's recipe": "`xnor`, the 2017 study's recipe",
    "xnor, --set width=2": "`xnor --set width=2`",
    "prune": "`prune`, 80% zeros",
    "cluster": "`cluster`, 16 values",
    "hashed": "`hashed`, at 1/8",
    "channels": "`channels`, half of the MACs",
    "channels, macs_ratio=0.29": "`channels`, 0.29 of the MACs",
    "channels, latency_ratio=0.5": "`channels`, half of the latency",
    "channels+int8": "`channels+int8`, half of the MACs",
    "channels+xnor": "`channels+xnor`, half of the MACs",
    "ternary": "`ternary --storage=int2`",
    "lsq, bits=2": "`lsq --storage=int2`, 2 bits",
    "lsq, bits=4": "`lsq --storage=int4`, 4 bits",
}
LEFT_OUT = {
    *("dynamic", "hashed, init=scratch", "ternary, scale=trained", "lsq, bits=3"),
    *(name for name in rows_of("structured") if "sparse epochs" in name),
}


def techniques() -> str:
    """Every technique of the tables that was measured by the command itself."""
    rows = []
    for table in ("quantised", "binary", "compact", "structured", "few_bits"):
        results = Measurements(RESULTS / f"{table}_techniques")
        for name in rows_of(table):
            found = [results[key] for key in keys_of(results, name)]
            if found and name not in LEFT_OUT:
                rows.append([TITLES.get(name, f"`{name}`"), *technique_cells(found)])
    return markdown(["technique", "points below float", "bytes", "gzip", "latency"], rows)


def technique_cells(found: list[Row]) -> list[str]:
    """Returns a technique's cells, from the reports of its seeds."""
    below = points_below(found)
    text = f"{statistics.mean(below):.2f}"
    text += f" ({min(below):.2f} to {max(below):.2f})" if below[1:] else ", one seed"
    packed = found[0]["compressed"]["gzip_bytes"] / found[0]["baseline"]["gzip_bytes"]
    latency = statistics.median(report["ratio"]["latency"] for report in found)
    return [text, share(found[0]["ratio"]["size"]), share(packed), f"{latency:.2f}"]


TASK_TITLES = {
    "sequences": "MNIST as sequences, LSTM: accuracy, %",
    "denoising": "denoising autoencoder: PSNR, dB",
    "segmentation": "U-Net on noisy digits: mean IoU, %",
    "ages": "ages of drawn portraits: MAE, years",
    "words": "synthetic words, Conv1D: accuracy, %",
}


def tasks() -> str:
    """The integer file and one more of each of the real tasks, beside float."""
    classes = measured(RESULTS / "real_tasks")
    first = next(iter(classes.values()))
    rows = []
    for task, title in TASK_TITLES.items():
        names = [name for name in first.rows if name.startswith(f"{task}, ")]
        base, *files = names
        for number, name in enumerate(files[:2]):
            row = first[name]
            rows.append(
                [
                    title if not number else "",
                    f"{first[base]['metric']:.2f}" if not number else "",
                    f"`{name.removeprefix(f'{task}, ').replace(', ', '+')}`",
                    f"{row['metric']:.2f}",
                    share(row["size_bytes"] / first[base]["size_bytes"]),
                    *(f"{by[name]['ratio']:.2f}" if name in by else "-" for by in classes.values()),
                ]
            )
    headers = ["task: metric", "float", "file", "metric", "bytes", *by_machine("latency", classes)]
    return markdown(headers, rows)


def leaderboard() -> str:
    """Files of MLPerf Tiny's image classification, by bytes; what isn't measured stands below."""
    classes = measured(RESULTS / "mlperf_tiny")
    first = next(iter(classes.values()))
    rows = []
    for name in sorted(first.rows, key=lambda name: first[name]["size_bytes"]):
        row, cell = first[name], mlperf_tiny_table.CELLS[name]
        ratios = (f"{by[name]['ratio']:.2f}" if name in by else "-" for by in classes.values())
        cells = [f"{row['size_bytes']:,}", f"{100 * row['accuracy']:.2f}", *ratios]
        rows.append([name, cell.rules, *cells])
    missing = ", ".join(f"`{name}`" for name in mlperf_tiny_table.CELLS if name not in first)
    processors = dict.fromkeys(
        machine_line({**record, "commit": None})
        for by in classes.values()
        for record in by.records(by.rows)
    )
    headers = ["file", "rules", "bytes", "accuracy, %", *by_machine("latency ratio", classes)]
    parts = [markdown(headers, rows), f"Measured on {'; '.join(processors)}, one thread."]
    return "\n\n".join([*parts, *([f"Not measured yet: {missing}."] if missing else [])])


PARTS: dict[str, Callable[[], str]] = {
    "default_run": default_run,
    "zoo": zoo,
    "kernels": kernels,
    "techniques": techniques,
    "tasks": tasks,
}


def rendered(text: str, parts: Mapping[str, Callable[[], str]] = PARTS) -> str:
    """Returns a page's text with every table written again.

    Args:
        text: with a pair of comments for each of the parts.
        parts: README's tables, or another page's.
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name}: experiments/readme.py -->\n", f"<!-- end of {name} -->"
        between = re.compile(f"({re.escape(begin)}).*?({re.escape(end)})", re.S)
        table = part()
        text, count = between.subn(
            lambda found, table=table: found[1] + (f"\n{table}\n\n" if table else "") + found[2],
            text,
        )
        assert count == 1, f"{count} places for {name}"
    return text


def models_page(text: str) -> str:
    """Returns the text of the page of models with every table written again."""
    results = Measurements(any_model_tables.RESULTS)
    parts = {
        name: functools.partial(part, results) for name, part in any_model_tables.PARTS.items()
    }
    return rendered(text, parts)


def tiny_page(text: str) -> str:
    """Returns the text of MLPerf Tiny's page with every table written again."""
    results = Measurements(RESULTS / "mlperf_tiny")
    verdicts = "\n".join(mlperf_tiny_table.verdicts(results))
    return rendered(text, {"leaderboard": leaderboard, "targets": lambda: verdicts})


if __name__ == "__main__":
    write(README, rendered(README.read_text()))
    write(MODELS_PAGE, models_page(MODELS_PAGE.read_text()))
    write(TINY_PAGE, tiny_page(TINY_PAGE.read_text()))
