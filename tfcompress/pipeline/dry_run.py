"""Says what a run would do, from its untrained networks: nothing is trained, nothing is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfcompress import graph, techniques
from tfcompress.api.file_ratios import FileRatios
from tfcompress.config import Training
from tfcompress.console import table
from tfcompress.data.dataset import Dataset
from tfcompress.data.examples import Examples
from tfcompress.errors import ExportError, InputError
from tfcompress.export import NoiseBudget, export
from tfcompress.export.write import takes_io
from tfcompress.files import quiet
from tfcompress.pipeline import inputs
from tfcompress.pipeline.exporting import check_storages, file_name, metadata
from tfcompress.pipeline.inputs import Task
from tfcompress.pipeline.notes import written_otherwise
from tfcompress.pipeline.plan import Plan
from tfcompress.report.result import quotient
from tfcompress.report.table import factor, kibibytes
from tfcompress.techniques import Candidate
from tfcompress.training import TrainingContext
from tfcompress.training.progress import say

_NOTE = (
    "Nothing was trained or written. Bytes are those of the untrained network's files: what a "
    "training makes of the weights (zeros, shared values, layers that keep more bits) isn't in "
    "them, and no file was compared with Keras."
)


def dry_run(job: Plan) -> str:
    """Transforms the untrained network, writes its files into a temporary folder and weighs them.

    Args:
        job: what the run would do.

    Returns:
        What would be trained, each layer that would change or stay and why, and the parameters,
        multiply-accumulates and bytes to expect.

    Raises:
        InputError: model, data, chain and storages don't fit one another.
    """
    model, loaded = inputs.load(job)
    task = inputs.task_of(job, model, loaded)
    samples = loaded.representative(techniques.SAMPLES, job.config.seed)
    described = metadata(job, task, "compressed")
    start = Candidate(model, samples=samples, file_ratio=FileRatios(metadata=described))
    candidate = _transformed(job, task, start)
    float_size, reason = _size(
        model, "float32", samples, {"metadata": metadata(job, task, "baseline")}
    )
    rows, names = [_row("baseline", model, float_size, float_size, reason)], {}
    budget = candidate.noise_budget
    settings = {
        "metadata": described,
        "noise_budget": None if budget is None else NoiseBudget(budget),
        "short_names": job.config.short_names,
    }
    for name in job.storages:
        size, reason = _size(candidate.model, name, samples, settings, io=job.config.io)
        if size is not None:
            names[name] = file_name("compressed", job.storages, name)
        rows.append(_row(name, candidate.model, size, float_size, reason))
    for name, reason in job.unavailable.items():
        rows.append(_row(name, candidate.model, None, float_size, reason))
    layers = [[line.name, line.kind, line.action, line.reason] for line in candidate.layers]
    headers = ["file", "parameters", "MACs, million", "KiB", "ratio", "why not"]
    if not any(row[-1] for row in rows):
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    return "\n\n".join(
        [
            _trainings(job, task, candidate),
            table(layers, ["layer", "kind", "action", "reason"], width=100),
            table(rows, headers, words=1 if len(headers) == 5 else None),
            *written_otherwise(job, candidate.model, names),
            _NOTE,
        ]
    )


def _row(
    title: str, model: keras.Model, size: int | None, float_size: int | None, reason: str
) -> list[str]:
    """Writes a file's row: its network's counts, its bytes, and why there can't be one."""
    return [
        title,
        f"{graph.parameters(model):,}",
        f"{graph.macs(model) / 1e6:,.2f}",
        kibibytes(size),
        factor(quotient(size, float_size)),
        reason,
    ]


def _transformed(job: Plan, task: Task, candidate: Candidate) -> Candidate:
    """Applies the chain's transforms to the untrained network, and none of its trainings."""

    def checked(
        context: TrainingContext, title: str, candidate: Candidate, training: Training
    ) -> TrainingContext:
        check_storages(job, task.images, candidate.model)
        return context

    techniques.check(candidate, job.steps)
    context = TrainingContext(
        seed=job.config.seed, teacher=candidate.model, objective=task.objective
    )
    steps = techniques.transforms_of(job.steps)
    transformed, _ = techniques.apply(candidate, steps, task.data, context, round_context=checked)
    return transformed


def _size(
    model: keras.Model,
    storage: str,
    samples: Any,
    settings: Mapping[str, Any],
    *,
    io: str | None = None,
) -> tuple[int | None, str]:
    """Returns the bytes of a network's file, or why there can't be one.

    Args:
        model: the network.
        storage: of its weights.
        samples: inputs, from which integer activations take their ranges.
        settings: more of `export`'s arguments. Other ranges change no bytes, other roundings at
            most add biases, and they take minutes: both are left out.
        io: what a storage's file takes and gives, if it may take integers.
    """
    say("export", f"{storage}, into a temporary folder")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with quiet():
                file = export(
                    model,
                    Path(folder) / "file.tflite",
                    storage=storage,
                    calibration=samples,
                    io=io if takes_io(model, storage) else None,
                    **settings,
                )
                return file.size_bytes, ""
        except (InputError, ExportError) as error:
            return None, str(error)


def _trainings(job: Plan, task: Task, candidate: Candidate) -> str:
    """Says what would be trained, and for how long."""
    trainings = [("baseline", job.baseline)]
    trainings += [(step.technique.name, step.training) for step in job.steps]
    if candidate.control is not None:
        epochs = sum(training.epochs for _, training in trainings)
        trainings.append(("control", candidate.control.settings(job.baseline, epochs)))
    parts = [f"{title} {training.epochs} epochs" for title, training in trainings]
    data = task.data
    if job.config.transfer is not None:
        parts.append(f"the technique without labels on {job.config.transfer}")
    if isinstance(data, Dataset | Examples):
        return f"Trains on {data.examples:,} {task.noun}: {', '.join(parts)}."
    return f"Trains on {data.steps(1):,} batches: {', '.join(parts)}."
