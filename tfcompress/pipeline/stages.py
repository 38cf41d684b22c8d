"""A run's stages in order: load, baseline, transform, fit, lower, export, benchmark, report."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import keras

import tfcompress.benchmark as benchmark
from tfcompress import graph, report, techniques, training
from tfcompress.api.file_ratios import FileRatios
from tfcompress.benchmark.machine import machine
from tfcompress.config import Training
from tfcompress.data import nested
from tfcompress.data.protocol import Data
from tfcompress.data.transfer import kinds
from tfcompress.data.transfer.read import read
from tfcompress.errors import ExportError, InputError
from tfcompress.pipeline import inputs
from tfcompress.pipeline.exporting import (
    BASELINE,
    check_storages,
    metadata,
    output_names,
    write_files,
)
from tfcompress.pipeline.inputs import Task
from tfcompress.pipeline.likeness import judged_by_keras
from tfcompress.pipeline.network import Network
from tfcompress.pipeline.plan import Plan
from tfcompress.pipeline.provenance import versions
from tfcompress.pipeline.results import run_result
from tfcompress.pipeline.workspace import Workspace
from tfcompress.techniques import Candidate, Control
from tfcompress.training import TrainingContext
from tfcompress.training.inverted_folder import invert_into
from tfcompress.training.progress import say, with_progress
from tfcompress.turns import turns_of_run

PARITY_IMAGES = 200
# The trained networks, as Keras keeps them.
_MODELS = {title: f"{title}.keras" for title in ("baseline", "compressed")}


def run(job: Plan, *, baseline_state: Path | None = None) -> report.RunResult:
    """Trains, compresses, exports, checks, measures and reports.

    A run that was stopped goes on where it was; one that is finished already is only shown.

    Args:
        job: what to do, as `plan` made it of the flags.
        baseline_state: where the float network's training state is kept in place of the run's
            own folder, for runs that differ in nothing before their technique: the first trains
            it, the others go on from there.

    Returns:
        The result; its files stand in the output folder. Where a file of the compressed network
        can't be written, `unwritten` says why, the others stand there all the same, and the same
        command tries again from the trained models.

    Raises:
        InputError: something that the user gave can't be used; nothing is left behind.
        ExportError: the baseline's file isn't what it should be; the trained models are kept.
        BenchmarkError: no measuring process can be started; the trained models are kept. A file
            that can't be measured has no times, and a note says why.
        Stopped: Ctrl-C; what was trained is kept.
    """
    machine()  # Remembers the commit that runs, whatever comes into the checkout meanwhile.
    resume = job.config.resume
    outputs = (*_MODELS.values(), *output_names(job))
    shared = {} if baseline_state is None else {"baseline": baseline_state}
    with Workspace(
        job.output_dir, job.to_json(), versions(), resume=resume, outputs=outputs, shared=shared
    ) as space:
        done = space.finished()
        if done:
            say("resume", f"{space.folder} holds this run, finished; --noresume repeats it")
            return done
        model, loaded = inputs.load(job)
        task = inputs.task_of(job, model, loaded)
        candidate = Candidate(
            model, file_ratio=FileRatios(metadata=metadata(job, task, "compressed"))
        )
        techniques.check(candidate, job.steps)
        sketched = techniques.sketch(candidate, job.steps) or candidate
        check_storages(job, task.images, sketched.model)
        space.begin()
        result = _result(job, space, task, model)
        space.finish(result, complete=not failed(job, result))
        return result


def failed(job: Plan, result: report.RunResult) -> dict[str, str]:
    """Returns the storages that a run should have written and couldn't, and why.

    A storage that only the technique's default names may be left out where another was written.
    """
    if result.files and job.config.storage is None:
        return {}
    return dict(result.unwritten)


def _result(job: Plan, space: Workspace, task: Task, model: keras.Model) -> report.RunResult:
    """Runs every stage that writes, from the untrained network to the report's values."""
    with contextlib.ExitStack() as place:
        place.enter_context(turns_of_run().training())
        return _result_in_turn(job, space, task, model, place)


def _result_in_turn(
    job: Plan, space: Workspace, task: Task, model: keras.Model, place: contextlib.ExitStack
) -> report.RunResult:
    """Does what `_result` does, and leaves its place among those that train before it times."""
    say("model", f"{job.config.model}: {graph.parameters(model):,} parameters, "
        f"{graph.macs(model) / 1e6:,.1f} M multiply-accumulates")  # fmt: skip
    samples, comparison = _split_of_samples(task.data, job.config.seed)
    baseline = _train_baseline(job, space, task, model)
    if job.inverts:
        task = _with_inverted_images(job, space, task, baseline.model)
    compressed = _compress(job, space, task, baseline.model, samples)
    networks = [baseline, compressed]
    if compressed.control is not None:
        epochs = len(baseline.history) + len(compressed.history)
        networks.append(_train_control(job, space, task, compressed.control, epochs))
    written = []
    with space.writing(output_names(job)):
        for network in networks:
            written.append(
                write_files(
                    job, space.folder, task, network, samples=samples, comparison=comparison
                )
            )
            if not written[0].files:  # There would be nothing to compare with.
                reasons = ", ".join(written[0].unwritten.values())
                raise ExportError(f"the baseline's file: {reasons}")
        place.close()
        with turns_of_run().timing():
            baseline, compressed = _measure(job, written[:2])
        return run_result(job, task, baseline, compressed, *written[2:])


def _split_of_samples(data: Data, seed: int) -> tuple[Any, Any]:
    """Returns inputs of training examples to calibrate on, and others to compare files on.

    Of data with too few examples to leave any for the comparison, it is on all of them.
    """
    pool = data.representative(techniques.SAMPLES + PARITY_IMAGES, seed)
    rest = nested.take(pool, slice(techniques.SAMPLES, None))
    enough = nested.count(rest, data.name) > 0
    return nested.take(pool, slice(techniques.SAMPLES)), rest if enough else pool


def _train_baseline(job: Plan, space: Workspace, task: Task, model: keras.Model) -> Network:
    """Trains the float network in place and keeps it."""
    context = _round_context(
        TrainingContext(seed=job.config.seed, objective=task.objective, devices=job.config.devices),
        job,
        space,
        "baseline",
        "baseline",
        job.baseline,
    )
    history = training.fit(model, task.data, job.baseline, context)
    space.save_model(model, _MODELS["baseline"])
    return Network(title="baseline", model=model, history=history, storages=BASELINE)


def _with_inverted_images(job: Plan, space: Workspace, task: Task, model: keras.Model) -> Task:
    """Makes images from the teacher, or the rest of them, and returns the task with these.

    Args:
        job: the run.
        space: its folder, where the images are kept.
        task: with images that say how pixels are normalised, and perhaps a teacher.
        model: that the techniques begin with, and that teaches where nobody else does.
    """
    images, name = task.images, job.config.transfer
    assert images is not None
    assert name is not None
    kind = kinds.kind_of(name)
    assert kind is not None
    student = None
    if job.inversion.adversarial_weight:
        sketched = techniques.sketch(Candidate(model), job.steps)
        if sketched is None:
            raise InputError(
                "inversion.adversarial_weight compares the teacher with a student, and what "
                f"{job.config.technique} makes of it isn't known yet"
            )
        student = sketched.model
    folder = invert_into(
        space.folder / kinds.INVERTED,
        task.teacher or model,
        kind.count(name),
        images.normalization,
        settings=job.inversion,
        student=student,
        seed=job.config.seed,
    )
    _, transfer = read(f"folder:{folder}", images)
    named = dataclasses.replace(transfer, name=name)
    say("transfer", named.describe())
    return dataclasses.replace(task, transfer=named)


def _train_control(
    job: Plan, space: Workspace, task: Task, control: Control, epochs: int
) -> Network:
    """Trains the network to compare with, from the labels alone.

    Args:
        job: the run.
        space: keeps the checkpoint.
        task: the data.
        control: what is trained, in place.
        epochs: as many as baseline and compressed network had together.
    """
    settings = control.settings(job.baseline, epochs)
    context = TrainingContext(
        seed=job.config.seed, objective=task.objective, devices=job.config.devices
    )
    context = _round_context(context, job, space, "control", "control", settings)
    history = training.fit(control.model, task.data, settings, context)
    return Network(
        title="control",
        model=control.model,
        history=history,
        storages=BASELINE,
        control=control,
    )


def _compress(job: Plan, space: Workspace, task: Task, model: keras.Model, samples: Any) -> Network:
    """Applies the techniques to the trained float network and keeps what comes of it."""

    def round_context(
        context: TrainingContext, title: str, candidate: Candidate, settings: Training
    ) -> TrainingContext:
        check_storages(job, task.images, candidate.model)
        say(title, _what_was_done(candidate))
        return _round_context(context, job, space, title, f"compressed-{title}", settings)

    candidate, history = techniques.apply(
        Candidate(
            model,
            samples=samples,
            say=say,
            file_ratio=FileRatios(
                metadata=metadata(job, task, "compressed"), memory=space.file_ratios
            ),
            judge=lambda model: judged_by_keras(model, task).value,
        ),
        job.steps,
        task.data,
        TrainingContext(
            seed=job.config.seed,
            teacher=task.teacher or model,
            objective=task.objective,
            transfer=task.transfer,
            devices=job.config.devices,
        ),
        round_context=round_context,
    )
    space.save_model(candidate.model, _MODELS["compressed"])
    return Network(
        title="compressed",
        model=candidate.model,
        history=history,
        storages=job.storages,
        unwritten=job.unavailable,
        io=job.config.io,
        ranges=job.config.ranges,
        rounding=job.config.rounding,
        short_names=job.config.short_names,
        layers=candidate.layers,
        milestones=candidate.milestones,
        widths=candidate.widths,
        control=candidate.control,
        validation=candidate.validation,
        noise_budget=candidate.noise_budget,
    )


def _round_context(
    context: TrainingContext,
    job: Plan,
    space: Workspace,
    title: str,
    name: str,
    settings: Training,
) -> TrainingContext:
    """Returns the context of a training that is printed by its title and kept by its name."""
    name = name.replace("/", "-").replace(" ", "-")
    context = dataclasses.replace(
        context,
        augmentation=job.config.augment,
        checkpoint=space.checkpoint(name),
        tensorboard=space.folder / "tensorboard" / name if job.config.tensorboard else None,
    )
    context = with_progress(context, title, settings.epochs)
    show = context.on_step

    def on_step(epoch: int, step: int, steps: int) -> None:
        if show is not None:
            show(epoch, step, steps)
        turns_of_run().pause()

    return dataclasses.replace(context, on_step=on_step)


def _what_was_done(candidate: Candidate) -> str:
    """Says how many layers each action of the techniques fell on."""
    actions: dict[str, int] = {}
    for line in candidate.layers:
        actions[line.action] = actions.get(line.action, 0) + 1
    done = ", ".join(f"{count} layers {action}" for action, count in actions.items())
    return f"{graph.parameters(candidate.model):,} parameters; {done or 'no layer changed'}"


def _measure(job: Plan, networks: list[Network]) -> list[Network]:
    """Measures the networks' files in turns; returns the networks with their measurements."""
    if "none" in job.config.benchmark:
        return networks
    paths = [file.exported.path for network in networks for file in network.files]
    say(
        "benchmark", f"{len(paths)} files in turns on {', '.join(job.config.benchmark)}, one thread"
    )
    # One entry for each backend and file, the first backend's first.
    measured = benchmark.measure(
        paths, backends=job.config.benchmark, runs=job.config.benchmark_runs, ops=True
    )
    times = {path: tuple(measured[at :: len(paths)]) for at, path in enumerate(paths)}
    return [
        dataclasses.replace(
            network,
            files=tuple(
                dataclasses.replace(file, benchmarks=times[file.exported.path])
                for file in network.files
            ),
        )
        for network in networks
    ]
