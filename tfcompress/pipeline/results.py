"""Turns what a run found out into the values of its report."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress import graph, report
from tfcompress.benchmark import FileBenchmark, sizes
from tfcompress.benchmark.machine import machine
from tfcompress.container import archive
from tfcompress.export import storages
from tfcompress.metric import Metric
from tfcompress.pipeline import notes
from tfcompress.pipeline.inputs import Task
from tfcompress.pipeline.likeness import Likeness, Teacher, judged_by_keras, paired_tests
from tfcompress.pipeline.network import Network
from tfcompress.pipeline.plan import Plan
from tfcompress.pipeline.provenance import command, versions
from tfcompress.runtime import LiteModel
from tfcompress.runtime.accuracy import change_interval, mean_interval
from tfcompress.runtime.rows import Rows
from tfcompress.techniques import LayerLine
from tfcompress.training.evaluate import predictor
from tfcompress.training.judging import Judgement, held_out
from tfcompress.training.progress import say
from tfcompress.training.signature import input_list


def run_result(
    job: Plan, task: Task, baseline: Network, compressed: Network, control: Network | None = None
) -> report.RunResult:
    """Returns the report's values of a run whose files are written and measured.

    Args:
        job: the run.
        task: the data, on whose whole test set the files are judged, and by what.
        baseline: the float network.
        compressed: the other one.
        control: the network to compare with, if one was trained.
    """
    files = (*baseline.files, *compressed.files)
    by_backend = zip(*(file.benchmarks for file in files), strict=True)
    measured = [entry for entries in by_backend for entry in entries]
    by_keras = judged_by_keras(baseline.model, task)
    teacher = _teacher(job, task, baseline, by_keras)
    (float_result, before), *_ = _file_results(baseline, task, teacher, by_keras)
    judged = _file_results(compressed, task, teacher)
    controls = [] if control is None else _file_results(control, task, teacher)
    others = {"baseline": [before], "control": [after for _, after in controls]}
    values = [result.accuracy_keras for result in (float_result, *(one for one, _ in judged[:1]))]
    return report.RunResult(
        technique=job.config.technique,
        reference="; ".join(step.technique.reference for step in job.steps),
        model=job.config.model,
        dataset=job.config.dataset,
        dataset_split=task.data.split,
        test_images=before.examples,
        examples=task.noun,
        seed=job.config.seed,
        command=command(job.config),
        versions=versions(),
        machine=machine(),
        config=job.to_json() | _preparation(task),
        baseline=float_result,
        files=[
            dataclasses.replace(
                result,
                **_interval(result.metric, before, after),
                **(paired_tests(after, others) if result.metric.share else {}),
            )
            for result, after in judged
        ],
        unwritten=compressed.unwritten,
        layers=[dataclasses.asdict(line) for line in _lines(compressed)],
        milestones=[*_milestones(compressed, *values), *_control(control, controls)],
        widths=[dataclasses.asdict(width) for width in compressed.widths],
        histories={network.title: network.history for network in (baseline, compressed)},
        benchmarks=[entry.to_json() | {"path": Path(entry.path).name} for entry in measured],
        teacher=None if teacher is None else teacher.to_json(),
        transfer=_transfer(task),
        notes=notes.all_notes(job, task, compressed, measured),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _teacher(job: Plan, task: Task, baseline: Network, by_keras: Judgement) -> Teacher | None:
    """Returns the compressed network's teacher; None if it learned from labels alone.

    Args:
        job: the run.
        task: with the user's own teacher, if there is one.
        baseline: teaches where nobody else does.
        by_keras: what its predictions are worth.
    """
    if not any(step.training.distillation and step.training.epochs for step in job.steps):
        return None
    if task.teacher is None:
        return Teacher("baseline", by_keras, predictor(baseline.model))
    names = ", ".join(Path(name).name for name in job.config.teacher)
    return Teacher(names, judged_by_keras(task.teacher, task), predictor(task.teacher))


def _transfer(task: Task) -> dict[str, Any] | None:
    """Returns what the report says of the transfer set; None without one."""
    if task.transfer is None:
        return None
    return {"name": task.transfer.name, "examples": getattr(task.transfer, "examples", None)}


def _milestones(compressed: Network, *values: float | None) -> list[dict[str, Any]]:
    """Returns what networks on the way to the compressed one were worth, if any was judged.

    Args:
        compressed: knows those on the way.
        values: what the baseline is worth, and the compressed network unless it has no file.
    """
    if not compressed.milestones:
        return []
    ends = list(zip(("baseline", "compressed, trained"), values, strict=False))
    steps = [*ends[:1], *compressed.milestones, *ends[1:]]
    return [{"name": name, "value": value} for name, value in steps]


def _control(
    control: Network | None, files: Sequence[tuple[report.FileResult, Judgement]]
) -> list[dict[str, Any]]:
    """Returns what the file of the control is worth, or why there is none."""
    if control is None or control.control is None:
        return []
    title = f"control: {control.control.name}, {len(control.history)} epochs"
    for result, _ in files:
        return [{"name": f"{title}, by {result.path}", "value": result.accuracy}]
    return [{"name": f"{title}: {'; '.join(control.unwritten.values())}", "value": None}]


def _preparation(task: Task) -> dict[str, Any]:
    """Returns how the data's source made inputs, which a program that uses the files has to do."""
    return {"preparation": dict(task.data.preparation)} if task.data.preparation else {}


def _interval(metric: Metric, before: Judgement, after: Judgement) -> dict[str, Any]:
    """Returns the 95% interval of the metric's change by its key; nothing where it isn't known."""
    one, other = before.per_example, after.per_example
    if one is None or other is None:
        return {}
    if metric.share and {*np.unique(one), *np.unique(other)} <= {0, 1}:
        bounds: tuple[float, float] | None = change_interval(one == 1, other == 1)
    else:
        bounds = mean_interval(one, other, relative=not metric.share)
    key = "accuracy_interval_points" if metric.share else "metric_interval_percent"
    return {} if bounds is None else {key: (100 * bounds[0], 100 * bounds[1])}


def _file_results(
    network: Network, task: Task, teacher: Teacher | None, by_keras: Judgement | None = None
) -> list[tuple[report.FileResult, Judgement]]:
    """Returns what each file of a network can do and costs; packs each beside itself.

    Args:
        network: with its files.
        task: the data, and what files are judged by.
        teacher: with whose answers the files' are compared; None with nobody's.
        by_keras: what the network's predictions are worth by Keras, if that is known.

    Returns:
        For each file its result, and what its predictions on the held-out examples are worth.
    """
    if not network.files:
        return []
    steps = [row["step_ms"] for row in network.history]
    by_keras = by_keras or judged_by_keras(network.model, task)
    of_network: dict[str, Any] = {
        "accuracy_keras": by_keras.value,
        "parameters": graph.parameters(network.model),
        "macs": graph.macs(network.model),
        "train_step_ms": float(np.median(steps)) if steps else None,
    }
    counted = graph.count(network.model)
    results = []
    for written in network.files:
        file = written.exported
        path = Path(file.path)
        metric = task.judge.metric
        say(metric.name, f"{path.name} on all {by_keras.examples:,} test {task.noun}")
        outputs = held_out(file_predictor(path, network.model), task.data)
        likeness = Likeness(teacher)
        judged = task.judge.judge(likeness.watch(outputs))
        same = None
        if judged.labels is not None and by_keras.labels is not None:
            same = float((judged.labels == by_keras.labels).mean())
        result = report.FileResult(
            path=path.name,
            accuracy=judged.value,
            metric=metric,
            metrics=judged.metrics,
            keras_agreement=same,
            **likeness.found(judged),
            size_bytes=file.size_bytes,
            gzip_bytes=sizes.gzip_bytes(path),
            packed_bytes=archive.pack(path, path.with_suffix(".tfz"))[1],
            storage=file.storage,
            needs=storages.get(file.storage).usual.runtime.needs,
            failed_check=file.failed_check,
            layer_errors=file.errors,
            layers=report.per_layer(counted, file.layer_bytes, file.layer_bits),
            parity=file.parity.to_json() if file.parity else {},
            **_timed(written.times),
            **of_network,
        )
        results.append((result, judged))
    return results


def _timed(times: FileBenchmark | None) -> dict[str, Any]:
    """Returns a file's times and memory by a result's names; nothing if it wasn't timed."""
    if times is None:
        return {}
    return {
        "latency_ms_p50": times.latency_ms_p50,
        "latency_ms_p90": times.latency_ms_p90,
        "latency_runs": times.latency_runs,
        "latency_ratio": times.ratio,
        "latency_ratio_p10": times.ratio_p10,
        "latency_ratio_p90": times.ratio_p90,
        "peak_memory_bytes": times.peak_memory_bytes,
    }


def file_predictor(path: Path, model: keras.Model) -> Callable[[Any], list[np.ndarray]]:
    """Returns what gives a file's outputs for inputs as its Keras model takes them."""
    lite = LiteModel(path)
    return lambda x: lite.run(Rows(input_list(model, x)))


def _lines(network: Network) -> list[LayerLine]:
    """Returns the techniques' lines, with what the export decided about each layer."""
    decided: dict[str, list[str]] = {}
    for file in network.files:
        of_file = f"in {Path(file.exported.path).name}: " if len(network.files) > 1 else ""
        for decisions in (file.exported.layer_bits, file.exported.kept):
            for name, reason in decisions.items():
                decided.setdefault(name, []).append(f"{of_file}{reason}")
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
