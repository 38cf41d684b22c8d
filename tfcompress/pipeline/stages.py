"""A run's stages in order: load, baseline, transform, fit, lower, export, benchmark, report."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfcompress
from tfcompress import benchmark, bridge, data, graph, models, report, techniques, training
from tfcompress.api import check_fit
from tfcompress.benchmark.machine import machine
from tfcompress.config import NORMALIZATIONS, Training
from tfcompress.container import archive
from tfcompress.data.dataset import Dataset, Normalization
from tfcompress.errors import InputError
from tfcompress.export import Exported, Validation, export, io_types
from tfcompress.export.write import method_of
from tfcompress.files import quiet
from tfcompress.graph.rewrite import functional, operations
from tfcompress.pipeline.plan import Plan
from tfcompress.pipeline.provenance import command, versions
from tfcompress.pipeline.workspace import Workspace
from tfcompress.runtime import LiteModel, Metadata
from tfcompress.techniques import Candidate
from tfcompress.training.progress import Progress, say

PARITY_IMAGES = 200
# Of images larger than 64 pixels, where a user's model takes any size.
_NATIVE_SIZE = 224


def run(job: Plan) -> report.RunResult:
    """Trains, compresses, exports, checks, measures and reports.

    A run that was stopped goes on where it was; one that is finished already is only shown.

    Args:
        job: what to do, as `plan` made it of the flags.

    Returns:
        The result; its files stand in the output folder.

    Raises:
        InputError: something that the user gave can't be used; nothing is left behind.
        ExportError: a file isn't what it should be; the trained models are kept.
        BenchmarkError: no measuring process can be started; the trained models are kept. A file
            that can't be measured has no times, and a note says why.
        Stopped: Ctrl-C; what was trained is kept.
    """
    resume = job.config.resume
    with Workspace(job.output_dir, job.to_json(), versions(), resume=resume) as space:
        done = space.finished()
        if done:
            say("resume", f"{space.folder} holds this run, finished; --noresume repeats it")
            return done
        own = _users_model(job.config.model)
        images = _load_data(job, own)
        model = own or _build(job, images)
        images = _normalised(images, model, job.config.normalization)
        check_fit(model, images)
        first = job.steps[0]
        first.technique.check(Candidate(model), first.options)
        _check_io(job, images, model)
        space.begin()
        return _stages(job, space, images, model)


def _stages(job: Plan, space: Workspace, images: Dataset, model: keras.Model) -> report.RunResult:
    """Everything that writes."""
    seed = job.config.seed
    say("model", f"{job.config.model}: {graph.parameters(model):,} parameters, "
        f"{graph.macs(model) / 1e6:,.1f} M multiply-accumulates")  # fmt: skip
    histories = {}
    histories["baseline"] = training.fit(
        model,
        images,
        job.baseline,
        seed=seed,
        **_how(job, space, "baseline", "baseline", job.baseline),
    )
    space.save_model(model, "baseline.keras")

    def how(title: str, candidate: Candidate, settings: Training) -> dict[str, Any]:
        _check_io(job, images, candidate.model)
        say(title, _what_was_done(candidate))
        return _how(job, space, title, f"compressed-{title}", settings)

    # Files are compared on other images than they were calibrated on, if there are as many.
    pool = images.representative(techniques.SAMPLES + PARITY_IMAGES, seed)
    samples = pool[: techniques.SAMPLES]
    check = pool[techniques.SAMPLES :] if len(pool) > techniques.SAMPLES else pool
    candidate = Candidate(model, samples=samples, say=say)
    candidate, histories["compressed"] = techniques.apply(
        candidate, job.steps, images, seed=seed, teacher=model, how=how
    )
    space.save_model(candidate.model, "compressed.keras")

    validation = Validation(**candidate.validation) if candidate.validation else None
    files = {}
    for title, keras_model, storage, chosen_on in (
        ("baseline", model, "float32", None),
        ("compressed", candidate.model, job.storage, validation),
    ):
        with quiet():
            path = space.folder / f"{title}.tflite"
            files[title] = export(
                keras_model,
                path,
                storage=storage,
                representative=check,
                calibration=samples,
                validation=chosen_on,
                metadata=_metadata(job, images, title),
                io=job.config.io if title == "compressed" else None,
            )
        parity = files[title].parity
        assert parity is not None  # There were images to compare on.
        near = (
            f"differs from Keras by {100 * parity.relative_rms:.2g}% of the outputs' rms"
            if files[title].errors
            else f"equals Keras to {parity.max_abs_diff:.1e}"
        )
        say("export", f"{title}.tflite ({storage}): {files[title].size_bytes / 1024:,.1f} KiB; "
            f"{near} on {parity.images} images")  # fmt: skip
    measured = _benchmark(job, [files["baseline"].path, files["compressed"].path])
    results = {}
    for index, (title, keras_model) in enumerate(
        (("baseline", model), ("compressed", candidate.model))
    ):
        times = measured[index] if measured else None
        results[title] = _file_result(
            files[title], keras_model, images, times, histories[title], space.folder
        )
    result = _result(job, images, model, candidate, results, histories, measured, files)
    space.finish(result)
    return result


def _check_io(job: Plan, images: Dataset, model: keras.Model) -> None:
    """Refuses `--io` before a training whose file couldn't have it."""
    if job.config.io is not None:
        normal = images.normalization
        whole = method_of(model, job.storage).integer
        io_types.check(job.config.io, integer=whole, mean=normal.mean, std=normal.std)


def _metadata(job: Plan, images: Dataset, title: str) -> Metadata:
    """What a file says of itself: where the data come from, but no path of this machine."""
    name = Path(job.config.model).stem if models.is_file(job.config.model) else job.config.model
    data_name = images.public_name
    origin = "" if images.local else f" ({images.source})"
    how = f"by {job.config.technique}" if title == "compressed" else "with float weights"
    return Metadata(
        name=f"{name} on {data_name}",
        description=f"Image classifier {name}, trained on {data_name}{origin}, {how}; written by "
        f"tfcompress {tfcompress.__version__}",
        licence=f"Images: {images.licence}",
        labels=tuple(" ".join(label.split()) or "?" for label in images.class_names),
        mean=images.normalization.mean,
        std=images.normalization.std,
    )


def _users_model(name: str) -> keras.Model | None:
    """The model of a file; None if the name is a builder's."""
    if not models.is_file(name):
        return None
    try:
        return models.load(name)
    except InputError:
        if name.endswith(".keras"):
            raise
    # What Keras 3 can't load may be of Keras 2.
    say("bridge", f"{name} isn't a model of Keras 3: loading it by tf_keras")
    with quiet():
        return bridge.load_h5(name)


def _load_data(job: Plan, own: keras.Model | None) -> Dataset:
    """The data set, in the size of the user's own model if there is one."""
    size = job.config.image_size
    if own is None:
        native = models.get(job.config.model).NATIVE_SIZE
    else:
        native = _NATIVE_SIZE
        size = size or _input_side(own)
    with quiet():
        images = data.load(
            job.config.dataset,
            data_dir=job.config.data_dir,
            image_size=size,
            fallback_size=native,
            options=job.data_options,
        )
    shape = "x".join(map(str, images.image_shape))
    say("data", f"{images.name}: {len(images.train):,} training and {len(images.test):,} test "
        f"images, {images.num_classes} classes, {shape}")  # fmt: skip
    return images


def _input_side(model: keras.Model) -> int | None:
    """The side of the images that a user's model takes, if it is square and static."""
    shape = functional(model).inputs[0].shape
    return shape[1] if len(shape) == 4 and shape[1] == shape[2] else None


def _build(job: Plan, images: Dataset) -> keras.Model:
    keras.utils.set_random_seed(job.config.seed)
    return models.build(
        job.config.model, images.image_shape, images.num_classes, **job.model_options
    )


def _normalised(images: Dataset, model: keras.Model, how: str) -> Dataset:
    """The data set with the normalisation that the model expects."""
    assert how in NORMALIZATIONS
    if how == "auto":
        layers = operations(model)
        own = any(
            isinstance(op, keras.layers.Rescaling | keras.layers.Normalization) for op in layers
        )
        how = "none" if own else "standardize"
    chosen = {
        "none": Normalization.identity,
        "unit": Normalization.unit,
        "symmetric": Normalization.symmetric,
    }.get(how)
    return images.with_normalization(chosen()) if chosen else images


def _how(job: Plan, space: Workspace, title: str, name: str, settings: Training) -> dict[str, Any]:
    """A training's further arguments: where it is kept, and who is told."""
    progress = Progress(title, settings.epochs)
    name = name.replace("/", "-").replace(" ", "-")
    return {
        "augmentation": job.config.augment,
        "checkpoint": space.checkpoint(name),
        "on_epoch": progress.epoch,
        "on_step": progress.step,
        "tensorboard": space.folder / "tensorboard" / name if job.config.tensorboard else None,
    }


def _what_was_done(candidate: Candidate) -> str:
    actions: dict[str, int] = {}
    for line in candidate.layers:
        actions[line.action] = actions.get(line.action, 0) + 1
    done = ", ".join(f"{count} layers {action}" for action, count in actions.items())
    return f"{graph.parameters(candidate.model):,} parameters; {done or 'no layer changed'}"


def _benchmark(job: Plan, paths: list[str]) -> list[benchmark.FileBenchmark]:
    """One entry for each backend and file, the first backend's first; none if not wanted."""
    if "none" in job.config.benchmark:
        return []
    say("benchmark", f"both files in turns on {', '.join(job.config.benchmark)}, one thread")
    return benchmark.measure(
        paths, backends=job.config.benchmark, runs=job.config.benchmark_runs, ops=True
    )


def _file_result(
    file: Exported,
    model: keras.Model,
    images: Dataset,
    times: benchmark.FileBenchmark | None,
    history: list[dict[str, float]],
    folder: Path,
) -> report.FileResult:
    path = Path(file.path)
    say("accuracy", f"{path.name} on all {len(images.test):,} test images")
    steps = [row["step_ms"] for row in history]
    parity = file.parity.to_json() if file.parity else {}
    return report.FileResult(
        path=path.relative_to(folder).as_posix(),
        accuracy=_file_accuracy(path, images),
        accuracy_keras=training.accuracy(training.runner(model), images),
        parameters=graph.parameters(model),
        macs=graph.macs(model),
        size_bytes=file.size_bytes,
        gzip_bytes=benchmark.sizes.gzip_bytes(path),
        packed_bytes=archive.pack(path, path.with_suffix(".tfz"))[1],
        latency_ms_p50=times.latency_ms_p50 if times else None,
        latency_ms_p90=times.latency_ms_p90 if times else None,
        latency_runs=times.latency_runs if times else None,
        peak_memory_bytes=times.peak_memory_bytes if times else None,
        train_step_ms=float(np.median(steps)) if steps else None,
        storage=file.storage,
        parity=parity,
    )


def _file_accuracy(path: Path, images: Dataset) -> float:
    """The file's own accuracy on the whole test set, 0 to 1."""
    with quiet():
        lite = LiteModel(path, threads=2)
        right = sum(
            int((lite.predict(batch).reshape(len(labels), -1).argmax(1) == labels).sum())
            for batch, labels in images.batches("test", 64)
        )
    return right / len(images.test)


def _result(
    job: Plan,
    images: Dataset,
    model: keras.Model,
    candidate: Candidate,
    results: dict[str, report.FileResult],
    histories: dict[str, list[dict[str, float]]],
    measured: list[benchmark.FileBenchmark],
    files: dict[str, Exported],
) -> report.RunResult:
    compressed, file = measured[1] if measured else None, files["compressed"]
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
        baseline=results["baseline"],
        compressed=results["compressed"],
        latency_ratio=compressed.ratio if compressed else None,
        latency_ratio_p10=compressed.ratio_p10 if compressed else None,
        latency_ratio_p90=compressed.ratio_p90 if compressed else None,
        layers=[dataclasses.asdict(line) for line in _lines(candidate, file)],
        layer_errors=file.errors,
        layers_before=report.per_layer(graph.count(model), files["baseline"].layer_bytes),
        layers_after=report.per_layer(graph.count(candidate.model), file.layer_bytes),
        histories=histories,
        benchmarks=[entry.to_json() for entry in measured],
        notes=[*_notes(job, images, histories), *_file_notes(file), *_benchmark_notes(measured)],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _notes(job: Plan, images: Dataset, histories: dict[str, list[dict[str, float]]]) -> list[str]:
    mean, std = images.normalization.mean, images.normalization.std
    notes = [
        "The files take (pixel - mean) / std for RGB pixels in 0..255, mean "
        f"{', '.join(f'{v:.2f}' for v in mean)} and std {', '.join(f'{v:.2f}' for v in std)}.",
    ]
    if job.config.io is not None:
        notes.append(f"The compressed file takes and gives {io_types.MEANS[job.config.io]}.")
    if any(step.training.distillation_weight for step in job.steps) and histories["compressed"]:
        notes.append("The compressed network's training step includes its teacher's forward pass.")
    return notes


def _lines(candidate: Candidate, file: Exported) -> list[techniques.LayerLine]:
    """The candidate's lines, with what the export decided."""
    lines = [
        dataclasses.replace(line, reason=f"{line.reason}; {file.kept[line.name]}")
        if line.name in file.kept
        else line
        for line in candidate.layers
    ]
    told = {line.name for line in lines}
    more = [
        techniques.LayerLine(name, "part of a layer", "quantised", reason)
        for name, reason in file.kept.items()
        if name not in told
    ]
    return [*lines, *more]


def _file_notes(file: Exported) -> list[str]:
    """What a file needs, and what one of integers still computes in floats."""
    notes = [f"The compressed file runs on {file.min_runtime} and newer."]
    if file.float_ops:
        notes.append(f"Computed in floats, between conversions: {', '.join(file.float_ops)}.")
    return notes


def _benchmark_notes(measured: list[benchmark.FileBenchmark]) -> list[str]:
    """What the times don't say: why one is missing, what ran, and where a CPU played the GPU."""
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
