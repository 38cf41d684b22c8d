"""Writes a run's networks as `.tflite` files, with what the files say of themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfcompress import models
from tfcompress.data.dataset import Dataset
from tfcompress.errors import ExportError, InputError
from tfcompress.export import (
    Exported,
    NoiseBudget,
    Validation,
    export,
    io_types,
    post_training,
    storages,
)
from tfcompress.export.storage import ModelTraits
from tfcompress.export.traits import traits_of
from tfcompress.export.write import method_of, takes_io
from tfcompress.files import put, quiet
from tfcompress.pipeline.inputs import Task
from tfcompress.pipeline.network import Network, NetworkFile
from tfcompress.pipeline.plan import Plan
from tfcompress.runtime import Metadata
from tfcompress.techniques import Property
from tfcompress.training.progress import say
from tfcompress.training.signature import input_list
from tfcompress.version import VERSION

# The baseline's storages.
BASELINE = ("float32",)
# Ends the name of a file that failed its check.
_DIFFERS = "-differs"


def check_storages(job: Plan, images: Dataset | None, model: keras.Model) -> None:
    """Refuses storages and ways to write files before a training whose files couldn't have them.

    Raises:
        InputError: a storage that the user asked for, or the technique's first one, can't hold the
            model; or none of the files can have the input and output types, the ranges or the
            rounding that were asked for, or the normalisation doesn't fit.
    """
    traits, integers, methods = _traits(job, model), [], []
    for name in job.storages:
        try:
            integers.append(takes_io(model, name))
            methods.append(storages.get(name).method_for(traits))
        except InputError:
            if job.config.storage is not None or name == job.storages[0]:
                raise
    post_training.check(methods, ranges=job.config.ranges, rounding=job.config.rounding)
    if job.config.io is not None:
        known: dict[str, tuple[float, ...]] = {}
        if images is not None:
            known = {"mean": images.normalization.mean, "std": images.normalization.std}
        io_types.check(job.config.io, integer=any(integers), **known)


def _traits(job: Plan, model: keras.Model) -> ModelTraits:
    """Returns a network's traits, with the ranges that a training is yet to give it."""
    traits = traits_of(model)
    trained = any(
        step.technique.acts_in == "training" and Property.QUANTISED in step.technique.produces
        for step in job.steps
    )
    return dataclasses.replace(traits, trained_ranges=traits.trained_ranges or trained)


def write_files(
    job: Plan,
    folder: Path,
    task: Task,
    network: Network,
    *,
    samples: Any,
    comparison: Any,
) -> Network:
    """Writes a network's files, one for each storage, and returns the network with them.

    A file that can't be written is told with the reason, and doesn't keep the others from it.

    Args:
        job: the run.
        folder: where the files go.
        task: the data, for the files' metadata.
        network: trained.
        samples: inputs of training examples, from which integer activations take their ranges.
        comparison: others, on which the files are compared with the Keras model.
    """
    files, unwritten = [], dict(network.unwritten)
    comparison, samples = (_as_exported(network.model, task, x) for x in (comparison, samples))
    if task.objective is not None:  # The loss tells the export numbers from scores of classes.
        network.model.compile(loss=task.objective.loss)
    for storage in network.storages:
        path = folder / file_name(network.title, network.storages, storage)
        try:
            with quiet():
                file = export(
                    network.model,
                    path,
                    storage=storage,
                    representative=comparison,
                    calibration=samples,
                    validation=_validation(network, task),
                    noise_budget=_noise_budget(network),
                    metadata=metadata(job, task, network.title),
                    io=network.io if takes_io(network.model, storage) else None,
                    short_names=network.short_names,
                    **_post_training(network, storage),
                    strict=not job.config.allow_difference,
                )
        except (InputError, ExportError) as error:
            unwritten[storage] = str(error)
            say("export", f"{path.name} ({storage}) is not written: {error}")
            continue
        if file.failed_check is not None:
            marked = path.with_name(f"{path.stem}{_DIFFERS}.tflite")
            put(path, marked)
            file = dataclasses.replace(file, path=str(marked))
        _say_what_was_written(file, task.noun)
        files.append(NetworkFile(exported=file))
    return dataclasses.replace(network, files=tuple(files), unwritten=unwritten)


def _post_training(network: Network, storage: str) -> dict[str, str]:
    """Returns the arguments of `export` that this storage's file of the network can have."""
    method = method_of(network.model, storage)
    return post_training.taken(method, ranges=network.ranges, rounding=network.rounding)


def _validation(network: Network, task: Task) -> Validation | None:
    """Returns by which examples the export chooses layers that keep more bits, if it is to."""
    if not network.validation:
        return None
    known = dict(network.validation)
    inputs = _as_exported(network.model, task, known.pop("images"))
    return Validation(images=inputs, judge=task.judge, **known)


def _noise_budget(network: Network) -> NoiseBudget | None:
    """Returns by which noise the export allots bits, if it is to."""
    return None if network.noise_budget is None else NoiseBudget(network.noise_budget)


def file_name(title: str, storages: Sequence[str], storage: str) -> str:
    """Returns the name of a network's file: of several, only the first does without its storage."""
    if storage == storages[0]:
        return f"{title}.tflite"
    return f"{title}-{storage.replace('+', '_')}.tflite"


def has_control(job: Plan) -> bool:
    """Says whether a run also trains a control, to compare with."""
    return any(getattr(step.options, "control", False) for step in job.steps)


def output_names(job: Plan) -> list[str]:
    """Returns the names of all files that the export of a run's networks may write."""
    names = []
    networks = [("baseline", BASELINE), ("compressed", job.storages)]
    if has_control(job):
        networks.append(("control", BASELINE))
    for title, wanted in networks:
        for storage in wanted:
            stem = Path(file_name(title, wanted, storage)).stem
            for made in (stem, f"{stem}{_DIFFERS}"):
                names += [f"{made}.tflite", f"{made}.tfz"]
    return names


def _say_what_was_written(file: Exported, noun: str) -> None:
    """Prints the file's size, how near it is to the Keras model, and what its user should know."""
    parity = file.parity
    assert parity is not None  # There were images to compare on.
    near = (
        f"differs from Keras by {100 * parity.relative_rms:.2g}% of the outputs' rms"
        if file.errors
        else f"equals Keras to {parity.max_abs_diff:.1e}"
    )
    if file.failed_check is not None:
        near = f"written in spite of its check: {file.failed_check}"
    say("export", f"{Path(file.path).name} ({file.storage}): {file.size_bytes / 1024:,.1f} KiB; "
        f"{near} on {parity.images} {noun}")  # fmt: skip
    for note in file.notes:
        say("export", note)


def _as_exported(model: keras.Model, task: Task, x: Any) -> Any:
    """Returns inputs as `export` takes them: images as they are, others in the model's order."""
    if task.images is not None:
        return x
    inputs = input_list(model, x)
    return inputs if len(inputs) > 1 else inputs[0]


def metadata(job: Plan, task: Task, title: str) -> Metadata:
    """Says where the data come from and who made the file, but no path of this machine."""
    name = Path(job.config.model).stem if models.is_file(job.config.model) else job.config.model
    data, images = task.data, task.images
    data_name = data.public_name
    origin = "" if data.local else f" ({data.source})"
    method = f"by {job.config.technique}" if title == "compressed" else "with float weights"
    if images is None:
        return Metadata(
            name=f"{name} on {data_name}",
            description=f"Model {name}, trained on {data_name}{origin}, {method}; written by "
            f"tfcompress {VERSION}",
            licence=f"Data: {data.licence}",
            labels=_labels(data.class_names or ()) if task.judge.one_label else (),
        )
    return Metadata(
        name=f"{name} on {data_name}",
        description=f"Image classifier {name}, trained on {data_name}{origin}, {method}; written "
        f"by tfcompress {VERSION}",
        licence=f"Images: {images.licence}",
        labels=_labels(images.class_names),
        mean=images.normalization.mean,
        std=images.normalization.std,
    )


def _labels(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the classes' names, each on one line."""
    return tuple(" ".join(label.split()) or "?" for label in names)
