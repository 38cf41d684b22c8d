"""Turns what a run found out into the values of its report."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress import benchmark, graph, report, training
from tfcompress.benchmark.machine import machine
from tfcompress.container import archive
from tfcompress.data.dataset import Dataset
from tfcompress.pipeline import notes
from tfcompress.pipeline.network import Network
from tfcompress.pipeline.plan import Plan
from tfcompress.pipeline.provenance import command, versions
from tfcompress.runtime.accuracy import file_accuracy
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
    times = compressed.times
    pairs = zip(baseline.benchmarks, compressed.benchmarks, strict=True)
    measured = [entry for pair in pairs for entry in pair]
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
        baseline=_file_result(baseline, images),
        compressed=_file_result(compressed, images),
        latency_ratio=times.ratio if times else None,
        latency_ratio_p10=times.ratio_p10 if times else None,
        latency_ratio_p90=times.ratio_p90 if times else None,
        layers=[dataclasses.asdict(line) for line in _lines(compressed)],
        layer_errors=compressed.file.errors,
        layers_before=_layer_costs(baseline),
        layers_after=_layer_costs(compressed),
        histories={network.title: network.history for network in (baseline, compressed)},
        benchmarks=[entry.to_json() for entry in measured],
        notes=notes.all_notes(job, images, compressed, measured),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _file_result(network: Network, images: Dataset) -> report.FileResult:
    """Returns what one file can do and what it costs; packs it beside itself."""
    file, times = network.file, network.times
    path = Path(file.path)
    say("accuracy", f"{path.name} on all {len(images.test):,} test images")
    steps = [row["step_ms"] for row in network.history]
    return report.FileResult(
        path=path.name,
        accuracy=file_accuracy(path, images.batches("test", 64)),
        accuracy_keras=training.accuracy(training.runner(network.model), images),
        parameters=graph.parameters(network.model),
        macs=graph.macs(network.model),
        size_bytes=file.size_bytes,
        gzip_bytes=benchmark.sizes.gzip_bytes(path),
        packed_bytes=archive.pack(path, path.with_suffix(".tfz"))[1],
        latency_ms_p50=times.latency_ms_p50 if times else None,
        latency_ms_p90=times.latency_ms_p90 if times else None,
        latency_runs=times.latency_runs if times else None,
        peak_memory_bytes=times.peak_memory_bytes if times else None,
        train_step_ms=float(np.median(steps)) if steps else None,
        storage=file.storage,
        parity=file.parity.to_json() if file.parity else {},
    )


def _layer_costs(network: Network) -> list[dict[str, Any]]:
    """Returns each layer's parameters, multiply-accumulates and bytes in the file."""
    return report.per_layer(graph.count(network.model), network.file.layer_bytes)


def _lines(network: Network) -> list[LayerLine]:
    """Returns the techniques' lines, with what the export decided about each layer."""
    decided = network.file.kept
    lines = [
        dataclasses.replace(line, reason=f"{line.reason}; {decided[line.name]}")
        if line.name in decided
        else line
        for line in network.layers
    ]
    named = {line.name for line in lines}
    more = [
        LayerLine(name, "part of a layer", "quantised", reason)
        for name, reason in decided.items()
        if name not in named
    ]
    return [*lines, *more]
