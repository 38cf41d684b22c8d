"""The tables of README.md and of three pages of docs/, from the experiments' rows.

Run:

    .venv/bin/python experiments/readme.py

It measures nothing: each table stands between two comments in its page and is written again from
`runs.json` of the folders in `experiments/results` and of `tflite_models`. Folders inside of these
are of other classes of processors, which their rows' features name, or of a kernel that was forced
by `TFCOMPRESS_KERNEL`: each class gets a column of latencies beside the first.
"""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import any_model_tables
import mlperf_tiny_table
from default_run import FILES
from measurements import FILE, Measurements, Row
from page import Record
from readme_rows import FURTHER_TITLES, LEFT_OUT, TASK_TITLES, TECHNIQUE_TITLES
from techniques import keys_of, of_floats, points_below, rows_of
from zoo import ZOO

from tfcompress.benchmark.machine import machine_line
from tfcompress.benchmark.processor import INT8_DOT_PRODUCT
from tfcompress.files import write

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
TFLITE_MODELS = ROOT / "tflite_models"
README = ROOT / "README.md"
MODELS_PAGE = ROOT / "docs" / "models_and_techniques.md"
TINY_PAGE = ROOT / "docs" / "mlperf_tiny.md"
BITS_PAGE = ROOT / "docs" / "few_bits.md"
# What names a processor's class, the first that it has.
VECTORS = ("AVX-512", "AVX2", "SVE", "NEON")
UNRECORDED = "features not recorded"
# Behind a figure whose row doesn't say what the processor could do.
MARK = "*"
FORCED = re.compile(r"TFCOMPRESS_KERNEL=(\w+) ")


def class_of(record: Record) -> str:
    """Names the class of the processor that a row was measured on, or the kernel forced on it."""
    forced = FORCED.match(record["command"])
    if forced:
        return kernel_class(forced[1])
    features = record.get("features")
    if features is None:
        return UNRECORDED
    vectors = next((name for name in VECTORS if name in features), "no vectors")
    dots = [name for name in features if name in INT8_DOT_PRODUCT]
    return " ".join([vectors, *(name.removeprefix(f"{vectors} ") for name in dots[:1])])


def kernel_class(kernel: str) -> str:
    """Returns the class of what was measured with a slower kernel than the processor's."""
    return f"{kernel.upper()} kernel"


def measured(folder: Path) -> dict[str, Measurements]:
    """Returns the rows of a folder by class of processors, as far as they were measured.

    Where an inner folder is of the class of the folder's own rows, it comes in their place: it was
    measured later, to have the features in each row.
    """
    classes = {}
    for path in (folder, *sorted(path.parent for path in folder.glob(f"*/{FILE}"))):
        kept = Measurements(path)
        names = [class_of(record) for record in kept.records(kept.rows)]
        if names:
            classes[next((name for name in names if name != UNRECORDED), UNRECORDED)] = kept
    return classes


def marked(text: str, records: Iterable[Record]) -> str:
    """Returns a figure, marked if one of its rows doesn't say what the processor could do."""
    return text + MARK * any(class_of(record) == UNRECORDED for record in records)


def on(records: Iterable[Record]) -> str:
    """Returns the line below a table that says what its latencies were measured on."""
    records = list(records)
    # Processors that differ in nothing but their names share what is said of them.
    alike: dict[str, dict[str, None]] = {}
    for record in records:
        if class_of(record) != UNRECORDED:
            name = record["cpu"] or "an unnamed CPU"
            line = machine_line({**record, "commit": None})
            alike.setdefault(line.removeprefix(name), {})[name] = None
    words = [f"{' and '.join(names)}{rest}" for rest, names in alike.items()]
    if any(class_of(record) == UNRECORDED for record in records):
        words.append(f"{MARK} {UNRECORDED}")
    return f"Latencies on {'; '.join(words)}." if words else ""


def markdown(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table without padding, so that a new figure changes one line."""
    headers = list(headers)
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def by_machine(title: str, labels: Iterable[str]) -> list[str]:
    """Returns a column's title for each class of processors; one's stands below the table."""
    labels = list(labels)
    return [title] if len(labels) == 1 else [f"{title}, {label}" for label in labels]


def with_processors(
    table: str, classes: Iterable[Measurements], hidden: Collection[str] = ()
) -> str:
    """Returns a table with the line below it that says what its latencies were measured on.

    Args:
        table: as Markdown.
        classes: its measurements.
        hidden: keys of rows that the table doesn't show.
    """
    keys = ((kept, [key for key in kept.rows if key not in hidden]) for kept in classes)
    return f"{table}\n\n{on(record for kept, shown in keys for record in kept.records(shown))}"


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
        row = first[name]
        rows.append(
            [
                f"`{name}`",
                accuracy(row["accuracy"]),
                f"{row['size_bytes'] / 1024:,.0f}",
                share(row["size_ratio"]),
                *latencies(classes, name, lambda row: f"{row['latency_ms_p50']:.3f}"),
                *latencies(classes, name, lambda row: share(row["ratio"])),
            ]
        )
    headers = ["file", "accuracy", "KiB", "of float", *by_machine("ms", classes)]
    headers += by_machine("of float's", classes)
    return with_processors(markdown(headers, rows), classes.values())


def latencies(
    classes: Mapping[str, Measurements],
    key: str,
    text: Callable[[Row], str] = lambda row: f"{row['ratio']:.2f}",
) -> list[str]:
    """Returns a row's figure on each class of processors, a dash where it wasn't measured."""
    return [
        marked(text(kept[key]), kept.records([key])) if key in kept else "-"
        for kept in classes.values()
    ]


def zoo() -> str:
    """The twelve files of tflite_models/; `zoo_speed.py` times them on other machines."""
    classes = measured(TFLITE_MODELS)
    rows = []
    for name, row in Measurements(TFLITE_MODELS).rows.items():
        flags = " ".join(ZOO[name]).removeprefix("--technique=")
        sizes = (row[key] / 1024 for key in ("size_bytes", "gzip_bytes", "packed_bytes"))
        rows.append(
            [
                f"[`{flags}`](tflite_models/{name}/README.md)",
                accuracy(row["accuracy"]),
                *(f"{size:.0f}" for size in sizes),
                *latencies(classes, name),
            ]
        )
    headers = ["made by", "accuracy", "KiB", "gzip", "`.tfz`", *by_machine("latency", classes)]
    return with_processors(markdown(headers, rows), classes.values())


KERNEL_NETS = {
    "four 3x3 convolutions, 56x56x64": "4 convs 56x56x64",
    "28x28x128": "4 convs 28x28x128",
    "14x14x256": "4 convs 14x14x256",
    "7x7x512": "4 convs 7x7x512",
    "dense 4096x4096": "dense 4096x4096",
    "`vgg_small`": "vgg_small",
    "`vgg_small --set end_bits=8`": "vgg_small, 8-bit ends",
    "`vgg_small --set width=4`": "vgg_small, width 4",
    "the same with `--set end_bits=8`": "vgg_small, width 4, 8-bit ends",
    "VGG-S, 372 MiB as floats": "vgg_s",
    "VGG-S with `--set end_bits=8`": "vgg_s, 8-bit ends",
    "a Bi-Real net of 18 layers, 224x224": "bi_real",
    "the same with 8-bit ends": "bi_real, 8-bit ends",
}
# The kernel of processors without AVX-512, as this one runs it when forced.
SLOWER = "avx2"


def kernels() -> str:
    """Nets by the 1-bit kernels, one thread, beside float and int8; all have random weights."""
    stacks, nets = measured(RESULTS / "xnor_kernel"), measured(RESULTS / "xnor_nets")
    classes = {label: (stacks[label], nets[label]) for label in stacks if label in nets}
    best = next(iter(classes))
    # The stacks have a row for each kernel; of whole nets a folder has those of the forced one.
    forced = kernel_class(SLOWER)
    slower = classes[best][0], nets.get(forced, Measurements(RESULTS / "xnor_nets" / SLOWER))
    rows = []
    for title, name in KERNEL_NETS.items():
        found = [kernel_row(*both, name) for both in classes.values()]
        shown = [*found, kernel_row(*slower, name, SLOWER)]
        rows.append(
            [
                title,
                *(figure(row, 0, lambda value: f"{value:.3g}") for row in found),
                *(figure(row, 1, share) for row in shown),
                *(figure(row, 2, share) for row in shown),
                figure(found[0], 3, lambda value: f"{value:.1f}"),
            ]
        )
    names = [best if len(classes) > 1 else "", *[*classes][1:], forced]
    ratios = [
        f"{title}, {name}" if name else title for title in ("of float", "of int8") for name in names
    ]
    headers = ["net", *by_machine("float, ms", classes), *ratios, "times smaller"]
    timed = [*sum(classes.values(), ()), slower[1]]
    hidden = {key for kept in nets.values() for key in kept.rows} - {*KERNEL_NETS.values()}
    return with_processors(markdown(headers, rows), timed, hidden)


def figure(row: tuple[float, ...] | None, number: int, text: Callable[[float], str]) -> str:
    """Returns a row's figure as text, a dash where there is none."""
    return "-" if row is None else text(row[number])


def kernel_row(
    stacks: Measurements, nets: Measurements, name: str, kernel: str = ""
) -> tuple[float, ...] | None:
    """Returns float ms, the ratios to float and int8, times smaller; None if not measured.

    Args:
        stacks: rows of four convolutions or a dense layer.
        nets: rows of whole nets.
        name: of one of these.
        kernel: of the stacks' rows; empty for the best that was measured.
    """
    if name in nets:
        row = nets[name]
        return row["float_ms"], row["to_float"][0], row["to_int8"][0], row["smaller"]["xnor"]
    start = f"{name}, {kernel}"
    key = next((key for key in stacks.rows if key.startswith(start) and key.endswith(", 1")), None)
    if key is None:
        return None
    row = stacks[key]
    return row["float_ms"], row["ratio"][0], row["to_int8"], row["smaller"]


def techniques(
    tables: Iterable[str] = ("quantised", "binary", "compact", "structured", "few_bits"),
    left_out: Collection[str] = LEFT_OUT,
) -> str:
    """The techniques of some tables, as far as they were measured by the command itself."""
    rows, records = [], []
    for table in tables:
        results = Measurements(RESULTS / f"{table}_techniques")
        for name in rows_of(table):
            keys = keys_of(results, name)
            if keys and name not in left_out:
                made = results.records(keys)
                *cells, latency = technique_cells([results[key] for key in keys])
                title = (TECHNIQUE_TITLES | FURTHER_TITLES).get(name, f"`{name}`")
                rows.append([title, *cells, marked(latency, made)])
                records += made
    headers = ["technique", "points below float", "bytes", "gzip", "latency"]
    return f"{markdown(headers, rows)}\n\n{on(records)}"


def technique_cells(found: list[Row]) -> list[str]:
    """Returns a technique's cells, from the reports of its seeds."""
    below = points_below(found)
    text = f"{statistics.mean(below):.2f}"
    text += f" ({min(below):.2f} to {max(below):.2f})" if below[1:] else ", one seed"
    packed = of_floats(found[0], "gzip_bytes")
    latency = statistics.median(report["ratio"]["latency"] for report in found)
    return [text, share(found[0]["ratio"]["size"]), share(packed), f"{latency:.2f}"]


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
                    *latencies(classes, name),
                ]
            )
    headers = ["task: metric", "float", "file", "metric", "bytes", *by_machine("latency", classes)]
    return with_processors(markdown(headers, rows), classes.values())


def leaderboard() -> str:
    """Files of MLPerf Tiny's image classification, by bytes; what isn't measured stands below."""
    classes = measured(RESULTS / "mlperf_tiny")
    first = next(iter(classes.values()))
    rows = []
    for name in sorted(first.rows, key=lambda name: first[name]["size_bytes"]):
        row, cell = first[name], mlperf_tiny_table.CELLS[name]
        cells = [f"{row['size_bytes']:,}", f"{100 * row['accuracy']:.2f}"]
        rows.append([name, cell.rules, *cells, *latencies(classes, name)])
    missing = ", ".join(f"`{name}`" for name in mlperf_tiny_table.CELLS if name not in first)
    headers = ["file", "rules", "bytes", "accuracy, %", *by_machine("latency ratio", classes)]
    table = with_processors(markdown(headers, rows), classes.values())
    times = [first[f"{name}reference, int8"]["ms"] for name in ("resnet8_large, ", "")]
    large = f"`resnet8_large`'s takes {times[0] / times[1]:.1f} times as long as `resnet8`'s."
    lines = [f"Ratios are to the suite's int8 file of the same network; {large}"]
    return "\n\n".join([table, *lines, *([f"Not measured yet: {missing}."] if missing else [])])


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


def bits_page(text: str) -> str:
    """Returns the text of the page of few bits with its table written again."""
    return rendered(text, {"few bits": lambda: techniques(["few_bits"], ())})


if __name__ == "__main__":
    write(README, rendered(README.read_text()))
    write(MODELS_PAGE, models_page(MODELS_PAGE.read_text()))
    write(TINY_PAGE, tiny_page(TINY_PAGE.read_text()))
    write(BITS_PAGE, bits_page(BITS_PAGE.read_text()))
