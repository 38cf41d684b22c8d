"""Turns what a run found out into the values of its report."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress import graph, report, training
from tfcompress.benchmark import sizes
from tfcompress.benchmark.machine import machine
from tfcompress.container import archive
from tfcompress.data.dataset import Dataset
from tfcompress.export import storages
from tfcompress.pipeline import notes
from tfcompress.pipeline.network import Network
from tfcompress.pipeline.plan import Plan
from tfcompress.pipeline.provenance import command, versions
from tfcompress.runtime.accuracy import change_interval, classified
from tfcompress.techniques import LayerLine
from tfcompress.training.progress import say


def run_result(
    job: Plan, images: Dataset, baseline: Network, compressed: Network
) -> report.RunResult:
    """Returns the report's values of a run whose files are written and measured.

    Args:
        job: the run.
        images: the data set, on whose whole test set the accuracies are taken.
        baseline: the float network.
        compressed: the other one.
    """
    files = (*baseline.files, *compressed.files)
    by_backend = zip(*(file.benchmarks for file in files), strict=True)
    measured = [entry for entries in by_backend for entry in entries]
    (float_result, right), *_ = _file_results(baseline, images)
    return report.RunResult(
        technique=job.config.technique,
        reference="; ".join(step.technique.reference for step in job.steps),
        model=job.config.model,
        dataset=job.config.dataset,
        dataset_split=images.split,
        test_images=len(images.test),
        seed=job.config.seed,
        command=command(job.config),
        versions=versions(),
        machine=machine(),
        config=job.to_json(),
        baseline=float_result,
        files=[
            dataclasses.replace(result, accuracy_interval_points=_interval(right, its_right))
            for result, its_right in _file_results(compressed, images)
        ],
        unwritten=compressed.unwritten,
        layers=[dataclasses.asdict(line) for line in _lines(compressed)],
        histories={network.title: network.history for network in (baseline, compressed)},
        benchmarks=[entry.to_json() | {"path": Path(entry.path).name} for entry in measured],
        notes=notes.all_notes(job, images, compressed, measured),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _interval(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Returns the 95% interval of the change in accuracy, in percentage points."""
    low, high = change_interval(before, after)
    return 100 * low, 100 * high


def _file_results(network: Network, images: Dataset) -> list[tuple[report.FileResult, np.ndarray]]:
    """Returns what each file of a network can do and costs; packs each beside itself.

    Returns:
        For each file its result, and for each test image whether the file classifies it rightly.
    """
    if not network.files:
        return []
    steps = [row["step_ms"] for row in network.history]
    by_keras, labels = training.classified(training.runner(network.model), images)
    of_network: dict[str, Any] = {
        "accuracy_keras": float((by_keras == labels).mean()),
        "parameters": graph.parameters(network.model),
        "macs": graph.macs(network.model),
        "train_step_ms": float(np.median(steps)) if steps else None,
    }
    counted = graph.count(network.model)
    results = []
    for written in network.files:
        file, times = written.exported, written.times
        path = Path(file.path)
        say("accuracy", f"{path.name} on all {len(images.test):,} test images")
        chosen, _ = classified(path, images.batches("test", 64))
        right = chosen == labels
        result = report.FileResult(
            path=path.name,
            accuracy=float(right.mean()),
            keras_agreement=float((chosen == by_keras).mean()),
            size_bytes=file.size_bytes,
            gzip_bytes=sizes.gzip_bytes(path),
            packed_bytes=archive.pack(path, path.with_suffix(".tfz"))[1],
            latency_ms_p50=times.latency_ms_p50 if times else None,
            latency_ms_p90=times.latency_ms_p90 if times else None,
            latency_runs=times.latency_runs if times else None,
            latency_ratio=times.ratio if times else None,
            latency_ratio_p10=times.ratio_p10 if times else None,
            latency_ratio_p90=times.ratio_p90 if times else None,
            peak_memory_bytes=times.peak_memory_bytes if times else None,
            storage=file.storage,
            needs=storages.get(file.storage).usual.runtime.needs,
            failed_check=file.failed_check,
            layer_errors=file.errors,
            layers=report.per_layer(counted, file.layer_bytes),
            parity=file.parity.to_json() if file.parity else {},
            **of_network,
        )
        results.append((result, right))
    return results


def _lines(network: Network) -> list[LayerLine]:
    """Returns the techniques' lines, with what the export decided about each layer."""
    decided: dict[str, list[str]] = {}
    for file in network.files:
        of_file = f"in {Path(file.exported.path).name}: " if len(network.files) > 1 else ""
        for name, reason in file.exported.kept.items():
            decided.setdefault(name, []).append(of_file + reason)
    lines = [
        dataclasses.replace(line, reason="; ".join([line.reason, *decided.get(line.name, ())]))
        for line in network.layers
    ]
    named = {line.name for line in lines}
    more = [
        LayerLine(name, "part of a layer", "quantised", "; ".join(reasons))
        for name, reasons in decided.items()
        if name not in named
    ]
    return [*lines, *more]
