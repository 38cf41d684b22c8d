"""The report's notes: limits of a result that the reader should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from tfcompress.benchmark import FileBenchmark
from tfcompress.benchmark.machine import int8_note, machine
from tfcompress.export import io_types, post_training, storages
from tfcompress.export.write import method_of
from tfcompress.pipeline.inputs import Task
from tfcompress.pipeline.network import Network
from tfcompress.pipeline.plan import Plan

# What `--ranges` and `--rounding` other than the usual ones mean to a file.
_OTHERWISE = {
    "ranges": "integer activations have ranges of least squared error for training examples",
    "rounding": "weights of few bits are rounded so that layers' outputs for training examples "
    "change least",
}


def all_notes(
    job: Plan, task: Task, compressed: Network, measured: Sequence[FileBenchmark]
) -> list[str]:
    """Returns all notes of a run: on its inputs, its training, its files and its times."""
    return [
        *_input_notes(job, task, compressed),
        *_training_notes(job, compressed),
        *_file_notes(job, compressed),
        *written_otherwise(
            job,
            compressed.model,
            {file.exported.storage: Path(file.exported.path).name for file in compressed.files},
        ),
        *benchmark_notes(measured),
        *_machine_notes(compressed),
    ]


def _input_notes(job: Plan, task: Task, compressed: Network) -> list[str]:
    """Says what the files take."""
    images = task.images
    if images is None:
        ends = [(file.exported.inputs, file.exported.outputs) for file in compressed.files[:1]]
        return [
            f"The files take {_listed(inputs)}, as the Keras model does, and give "
            f"{_listed(outputs)}."
            for inputs, outputs in ends
        ]
    mean, std = images.normalization.mean, images.normalization.std
    kind = "RGB" if len(mean) == 3 else "grey"
    notes = [
        f"The files take (pixel - mean) / std for {kind} pixels in 0..255, mean "
        f"{', '.join(f'{v:.2f}' for v in mean)} and std {', '.join(f'{v:.2f}' for v in std)}.",
    ]
    if job.config.io is not None:
        usual = [storages.get(name).usual for name in job.storages]
        if any(way.integer for way in usual):
            notes.append(f"The file of integers takes and gives {io_types.MEANS[job.config.io]}.")
        if any(way.takes_bytes for way in usual):
            notes.append(
                f"The file of 1-bit layers takes {job.config.io} where its first layer is in 8 "
                "bits, and gives float32."
            )
    return notes


def _listed(ends: Mapping[str, str]) -> str:
    """Lists inputs or outputs with their types and shapes, by their names where several."""
    if len(ends) == 1:
        return next(iter(ends.values()))
    return ", ".join(f"'{name}' {shown}" for name, shown in ends.items())


def _training_notes(job: Plan, compressed: Network) -> list[str]:
    """Says what a training step's time may include."""
    distilled = any(step.training.distillation is not None for step in job.steps)
    if distilled and job.config.transfer is not None:
        return [
            "The compressed network learned from its teacher alone, on examples whose labels "
            "aren't read."
        ]
    if distilled and compressed.history:
        return [
            "The compressed network learned from a teacher, too: its training step includes the "
            "teacher's forward pass, unless the teacher's outputs could be kept."
        ]
    return []


def _file_notes(job: Plan, compressed: Network) -> list[str]:
    """Says what each file needs, what it still computes in floats, and which weren't written."""
    notes = []
    for written in compressed.files:
        file = written.exported
        title = "The compressed file" if len(compressed.files) == 1 else Path(file.path).name
        notes.append(f"{title} runs on {file.runs_on}.")
        if file.float_ops:
            ops = ", ".join(file.float_ops)
            notes.append(f"{title} computes in floats, between conversions: {ops}.")
        if file.failed_check is not None:
            notes.append(f"{title} was written in spite of its check: {file.failed_check}.")
        notes += file.notes
    for storage, reason in compressed.unwritten.items():
        notes.append(f"No file of storage {storage}: {reason}.")
    return notes


def written_otherwise(job: Plan, model: keras.Model, names: Mapping[str, str]) -> list[str]:
    """Says which compressed files have ranges, rounded weights or names that aren't the usual ones.

    Args:
        job: the run.
        model: the compressed network.
        names: of the files, by their storages.
    """
    config = job.config
    asked = {"ranges": config.ranges, "rounding": config.rounding}
    having: dict[str, list[str]] = {}
    for storage, name in names.items():
        for way in post_training.taken(method_of(model, storage), **asked):
            having.setdefault(way, []).append(name)
    notes = [
        f"{', '.join(files)}: {_OTHERWISE[way]} (--{way}={asked[way]})."
        for way, files in having.items()
    ]
    if config.short_names:
        notes.append(
            f"{', '.join(names.values())}: the tensors inside are named by one layer each "
            "(--short_names)."
        )
    return notes


def _machine_notes(compressed: Network) -> list[str]:
    """Says what the integers' time depends on, on this machine."""
    integers = any("int8" in file.exported.weight_bytes for file in compressed.files)
    note = int8_note(machine()) if integers else None
    return [note] if note else []


def benchmark_notes(measured: Sequence[FileBenchmark]) -> list[str]:
    """Says what the times don't: why one is missing, what ran, and where a CPU played the GPU."""
    notes = [
        f"{Path(entry.path).name} on {entry.backend}: {entry.outcome}: {entry.reason}."
        for entry in measured
        if entry.reason
    ]
    notes += [
        f"{Path(entry.path).name} on {entry.backend} ran by its signature {entry.signature}."
        for entry in measured
        if entry.signature
    ]
    soft = {str(entry.adapter) for entry in measured if entry.software and entry.timed}
    return notes + [f"{name} is a software GPU: no performance number." for name in sorted(soft)]
