"""How fast networks of keras.applications are as files with half of their multiply-accumulates.

Run:

    .venv/bin/python experiments/channel_latency.py --output=build/channel_latency

About two minutes for each network on an idle machine. Each is cut by the technique `channels` to
half of its multiply-accumulates, by the l2 norms of its filters, once for each rounding; the whole
and the narrower ones are written as float32 files and timed in turns in one process, on one thread.
The weights are random: speed doesn't depend on them. `--models=ResNet50,...` measures some of them.
The fastest runs of each file tell more than the medians where the machine does other things, too.
"""

from __future__ import annotations

import functools
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from measurements import Measurements, Row, Step, conduct, parser
from page import Page

import tfcompress
from tfcompress import graph
from tfcompress.benchmark import measure

# Height and width of each network's images.
SIZES = {
    "ResNet50": 224,
    "MobileNetV2": 224,
    "EfficientNetB0": 224,
    "DenseNet121": 224,
    "ConvNeXtTiny": 224,
}
RATIO = 0.5
ROUNDINGS = (8, 16)
SECONDS = 20.0


def whole(name: str) -> keras.Model:
    """Returns a network with random weights and moments."""
    keras.utils.set_random_seed(0)
    size = SIZES[name]
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(size, size, 3), classifier_activation=None)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
    return model


def measured(name: str) -> dict[str, Row]:
    """Measures the files of a network and of what each rounding leaves of it."""
    model = whole(name)
    narrow = [
        tfcompress.transform(
            model,
            "channels",
            macs_ratio=RATIO,
            criterion="l2",
            repair="none",
            layer_norms="cut",
            round_to=round_to,
        )
        for round_to in ROUNDINGS
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.tflite" for number in range(1 + len(narrow))]
        for each, path in zip([model, *narrow], paths, strict=True):
            tfcompress.export(each, path, strict=False)
        fastest = fastest_ms(paths)
        base, *files = measure(paths, runs=40, min_seconds=10.0)
        sizes = [path.stat().st_size for path in paths]
    return {
        key(name, round_to): {
            "macs_ratio": graph.macs(each) / graph.macs(model),
            "bytes_ratio": size / sizes[0],
            "float_ms": base.latency_ms_p50,
            "ms": file.latency_ms_p50,
            "ratio": file.ratio,
            "ratio_p10": file.ratio_p10,
            "ratio_p90": file.ratio_p90,
            "float_ms_fastest": fastest[0],
            "ms_fastest": least,
        }
        for round_to, each, file, size, least in zip(
            ROUNDINGS, narrow, files, sizes[1:], fastest[1:], strict=True
        )
    }


def fastest_ms(paths: list[Path]) -> list[float]:
    """Returns the time of each file's fastest run, in turns, on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreters = [Interpreter(str(path), num_threads=1) for path in paths]
    for interpreter in interpreters:
        interpreter.allocate_tensors()
    fastest = [float("inf")] * len(paths)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for number, interpreter in enumerate(interpreters):
            for _ in range(2):  # The second finds its weights in the cache.
                start = time.perf_counter()
                interpreter.invoke()
                fastest[number] = min(fastest[number], 1e3 * (time.perf_counter() - start))
    return fastest


def key(name: str, round_to: int) -> str:
    """Returns the key of a row."""
    return f"{name}, rounded to {round_to}"


def page_of(results: Measurements) -> Page:
    """Returns the page: a table of all networks."""
    rows = []
    for name, size in SIZES.items():
        for round_to in ROUNDINGS:
            if key(name, round_to) in results:
                row = results[key(name, round_to)]
                cells = [
                    f"{name} at {size}x{size}",
                    str(round_to),
                    *(f"{row[what]:.3f}" for what in ("macs_ratio", "bytes_ratio")),
                    f"{row['float_ms_fastest']:.1f}",
                    f"{row['ms_fastest']:.1f}",
                    f"{row['ms_fastest'] / row['float_ms_fastest']:.2f}",
                    f"{row['ratio']:.2f}",
                    f"{row['ratio_p10']:.2f} to {row['ratio_p90']:.2f}",
                ]
                rows.append((cells, [key(name, round_to)]))
    return Page(
        "Latency of networks with half of their multiply-accumulates",
        f"Networks of keras.applications cut by the technique `channels` (l2) to {RATIO:g} of "
        "their MACs, written as float32 files and timed in turns with the whole network's, on one "
        "thread. Ratios are by that file's. `fastest`: of each file's fastest runs, which tell "
        "more where the machine does other things, too; `median`: of the rounds' ratios.",
        [
            "network",
            "rounded to",
            "MACs ratio",
            "bytes ratio",
            "float ms, fastest",
            "ms, fastest",
            "ratio, fastest",
            "ratio, median",
            "10th to 90th percentile",
        ],
        rows,
    )


def main() -> None:
    """Measures what is asked for."""
    flags = parser(__doc__)
    flags.add_argument("--models", default=",".join(SIZES), help="names, with commas")
    given = flags.parse_args()
    steps: list[Step] = [
        (tuple(key(name, each) for each in ROUNDINGS), functools.partial(measured, name))
        for name in given.models.split(",")
    ]
    conduct(given, steps, page_of)


if __name__ == "__main__":
    main()
