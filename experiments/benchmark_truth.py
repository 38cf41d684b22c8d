"""Whether the benchmark tells the truth: against itself, another loop, the papers and the CPU.

Run:

    .venv/bin/python experiments/benchmark_truth.py --output=build/benchmark_truth

About six minutes, on an idle machine but for the first part, which makes itself busy. Networks have
new weights. Four questions: do two identical files get the ratio 1 while other programs work; does
a plain loop around the interpreter find the same median; are the multiply-accumulates the papers';
do the times of the ops add up to a run's. And, on the GPU that this machine has (Debian's chromium
brings a software one: VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json): do files compute
there what they compute on the CPU.
"""

from __future__ import annotations

import functools
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import keras
import numpy as np
from measurements import Measurements, Row, conduct, parser
from page import Page

import tfcompress
from tfcompress import models
from tfcompress.benchmark import FileBenchmark, measure
from tfcompress.benchmark.latency import latency
from tfcompress.console import table

# Lagrange and Pedersoli for CIFAR-10; Sandler et al. 2018 print 300 M for MobileNetV2.
PAPERS = {"vgg16": "313.2", "compact_vgg16": "38.0", "mobilenet_v2": "300"}
CIFAR, IMAGENET = (32, 32, 3), (224, 224, 3)
TWINS, LOOPS = 10, 7

# Nothing of ours: what anybody would write around the interpreter.
LOOP = """
import sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1)
model.allocate_tensors()
details = model.get_input_details()[0]
model.set_tensor(details["index"], np.random.rand(*details["shape"]).astype(details["dtype"]))
for _ in range(20):
    model.invoke()
times = []
began = time.perf_counter()
while len(times) < 100 or time.perf_counter() - began < 1:
    start = time.perf_counter()
    model.invoke()
    times.append(time.perf_counter() - start)
print(1000 * sorted(times)[len(times) // 2])
"""


def exported(folder: Path) -> dict[str, Path]:
    """The files by name."""
    keras.utils.set_random_seed(0)
    small = models.build("vgg_small", CIFAR, 10)
    nets = {
        "vgg16": (models.build("vgg16", CIFAR, 10), "float32"),
        "compact_vgg16": (models.build("compact_vgg16", CIFAR, 10), "float32"),
        "mobilenet_v2": (keras.applications.MobileNetV2(weights=None), "float32"),
        "vgg_small": (small, "float32"),
        "vgg_small_int8": (small, "int8"),
        "vgg_small_cp": (tfcompress.transform(small, "cp", macs_ratio=0.3), "float32"),
        "vgg_small_xnor": (tfcompress.transform(small, "xnor"), "float32"),
    }
    paths = {}
    for name, (net, storage) in nets.items():
        images = np.random.default_rng(0).normal(size=(8, *net.input_shape[1:])).astype("float32")
        paths[name] = folder / f"{name}.tflite"
        io = "int8" if storage == "int8" else None
        tfcompress.export(net, paths[name], storage=storage, representative=images, io=io)
    return paths


def busy() -> None:
    """What a neighbour does: matrix products and pauses."""
    a = np.random.default_rng(0).standard_normal((300, 300))
    while True:
        for _ in range(100):
            a @ a
        time.sleep(0.02)


def twins(path: Path, neighbours: int) -> list[float]:
    """The ratios of a file to its copy, beside programs that are busy."""
    copy = path.with_name("copy.tflite")
    shutil.copy(path, copy)
    others = [multiprocessing.Process(target=busy, daemon=True) for _ in range(neighbours)]
    for other in others:
        other.start()
    try:
        return [float(latency([path, copy])[1].ratio or 0) for _ in range(TWINS)]
    finally:
        for other in others:
            other.terminate()


def loops(path: Path) -> tuple[float, float]:
    """The benchmark's median and a plain loop's, in ms, taken in turns."""
    ours, theirs = [], []
    for _ in range(LOOPS):
        ours.append(float(latency([path])[0].latency_ms_p50 or 0))
        words = [sys.executable, "-c", LOOP, str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        theirs.append(float(done.stdout))
    return median(ours), median(theirs)


NAMES = (
    "vgg16",
    "compact_vgg16",
    "mobilenet_v2",
    "vgg_small",
    "vgg_small_int8",
    "vgg_small_cp",
    "vgg_small_xnor",
)
BACKENDS = ("gpu", "gpu?precision=fp32")
GPU_KEYS = tuple(f"{name}, {backend}" for backend in BACKENDS for name in NAMES)
KEYS = ("twins", *GPU_KEYS, *NAMES)


def measured(neighbours: int) -> dict[str, Row]:
    """Answers all four questions, and runs the files on the GPU."""
    with tempfile.TemporaryDirectory() as text:
        paths = exported(Path(text))
        rows: dict[str, Row] = {"twins": {"ratios": twins(paths["vgg_small"], neighbours)}}
        print(rows["twins"], flush=True)
        files = measure(list(paths.values()), ops=True)
        for (name, path), file in zip(paths.items(), files, strict=True):
            rows[name] = on_cpu(file, *loops(path))
            print(name, rows[name], flush=True)
        found = measure(list(paths.values()), backends=list(BACKENDS), runs=10, min_seconds=0)
    return rows | {f"{Path(file.path).stem}, {file.backend}": on_gpu(file) for file in found}


def on_cpu(file: FileBenchmark, ours: float, theirs: float) -> Row:
    """Returns one line of the table."""
    return {
        "macs": file.macs or 0,
        "ours_ms": ours,
        "theirs_ms": theirs,
        "difference": ours / theirs - 1,
        "ops": file.profile.coverage if file.profile else None,
        "peak": file.peak_share or 0,
    }


def on_gpu(file: FileBenchmark) -> Row:
    """Returns what became of a file on the GPU."""
    return {
        "outcome": file.outcome,
        "relative_rms": file.parity_relative_rms,
        "accelerated_ops": file.accelerated_ops or 0,
        "why": "; ".join([file.reason, *file.warnings]).strip("; "),
        "adapter": f"{file.adapter} ({file.adapter_type})" if file.adapter else None,
    }


def cells(name: str, row: Row) -> list[str]:
    """Returns one line of the table."""
    return [
        name,
        f"{row['macs'] / 1e6:.2f}",
        PAPERS.get(name, ""),
        f"{row['ours_ms']:.4g}",
        f"{row['theirs_ms']:.4g}",
        f"{100 * row['difference']:+.1f}",
        "" if row["ops"] is None else f"{100 * row['ops']:.0f}",
        f"{100 * row['peak']:.0f}",
    ]


def gpu_table(results: Measurements) -> str:
    """Returns the table of what became of the files on the GPU."""
    rows = []
    for key in GPU_KEYS:
        row = results[key]
        rms = row["relative_rms"]
        off = "" if rms is None else f"{rms:.1e}"
        more = [row["outcome"], off, str(row["accelerated_ops"]), row["why"]]
        rows.append([*key.split(", "), *more])
    adapters = sorted({results[key]["adapter"] for key in GPU_KEYS} - {None})
    headers = ["file", "backend", "outcome", "off the CPU's rms", "ops on GPU", "why"]
    title = f"On the GPU: {', '.join(adapters) or 'none here'}."
    return f"{title}\n\n{table(rows, headers, markdown=True)}"


def page_of(results: Measurements) -> Page:
    ratios = results["twins"]["ratios"]
    near = sum(abs(ratio - 1) <= 0.03 for ratio in ratios)
    return Page(
        "Whether the benchmark tells the truth",
        f"vgg_small's file beside its copy, with {results.settings['neighbours']} other programs "
        f"busy: in {near} of {len(ratios)} benchmarks the ratio was within 3% of 1 "
        f"({', '.join(f'{ratio:.3f}' for ratio in ratios)}).\n\n{gpu_table(results)}\n\nOn the "
        f"CPU, one thread: medians in ms, median of {LOOPS} processes each, the benchmark and a "
        "plain loop in turns; the ops' times as a share of a run's; the speed as a share of a "
        "matrix product's.",
        [
            "file",
            "MACs, M",
            "paper's",
            "benchmark, ms",
            "plain loop, ms",
            "difference, %",
            "ops, % of run",
            "% of peak",
        ],
        [(cells(name, results[name]), [name]) for name in NAMES],
        more=["twins", *GPU_KEYS],
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--neighbours", type=int, default=2, help="busy programs beside the twins")
    flags = flags.parse_args()
    steps = [(KEYS, functools.partial(measured, flags.neighbours))]
    conduct(flags, steps, page_of, settings={"neighbours": flags.neighbours})


if __name__ == "__main__":
    main()
