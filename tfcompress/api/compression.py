"""Replaces layers and trains what comes of it: `tfcompress.compress`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfcompress import techniques
from tfcompress.api.file_ratios import FileRatios
from tfcompress.api.transformation import check_model, chosen_steps
from tfcompress.config import Distillation, Training, check_devices
from tfcompress.data.as_fit import as_fit
from tfcompress.data.dataset import Dataset
from tfcompress.data.protocol import Data
from tfcompress.data.transfer.held_out import refuse_test_examples
from tfcompress.data.transfer.read import prepared
from tfcompress.data.transfer.read import read as read_transfer
from tfcompress.errors import InputError, require
from tfcompress.graph.nodes import functional
from tfcompress.options import check_types
from tfcompress.training import TrainingContext
from tfcompress.training.devices import chosen
from tfcompress.training.distill.plain import FEATURES
from tfcompress.training.distill.teachers import one_teacher
from tfcompress.training.fit import compiled_alike
from tfcompress.training.objective import Objective, objective
from tfcompress.training.optimizers import copy_optimizer
from tfcompress.training.progress import say, with_progress
from tfcompress.training.signature import check_inputs, input_caster


def compress(
    model: keras.Model,
    technique: str,
    data: Any,
    *,
    validation_data: Any = None,
    teacher: keras.Model | Sequence[keras.Model] | None = None,
    transfer: Any = None,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | keras.callbacks.Callback | None = None,
    class_weight: Mapping[int, float] | None = None,
    seed: int = 0,
    devices: int | str = 1,
    verbose: bool = True,
    **options: Any,
) -> keras.Model:
    """Rebuilds a model by a technique, and trains what comes of it.

    On Linux, `tfcompress.keep_freed_memory()` at the start of the program may save much of the
    time.

    A model that is compiled is trained with its loss, metrics and optimizer settings. Of one that
    isn't, or was compiled without a loss, these follow from its outputs and the targets: numbers
    of classes, one-hot vectors, yes or no behind a sigmoid, or else values, by their squared
    error; and the recipe of the technique says how. `prune`, `cluster` and `qat` then train in
    Keras 2, by TFMOT, if one class an example is learned and nothing else is wanted.

    Args:
        model: trained, functional or Sequential; it stays as it is, and teaches if the
            technique's recipe distils and there is no other teacher.
        technique: a name of `tfcompress.techniques.names()`, or several as in `cp+hashed`.
        data: as Keras's `fit` takes them: `(x, y)` or `(x, y, sample_weight)` of nested arrays
            (n, ...), or a tf.data pipeline, a `PyDataset`, PyTorch's `DataLoader`, a generator or
            a function that makes one, of such batches. The inputs reach the model as they are.
            Or a pair of data to train on and to judge by; or a `tfcompress.data.Dataset` of
            images, which says itself how they are normalised. For techniques that act as the file
            is written, x alone is enough.
        validation_data: what the epochs are judged by, likewise. Without it a fifth of arrays is
            held out, and of a stream nothing.
        teacher: one model or several, whose answers the technique learns in place of the model's,
            of several the mean. They take the same inputs; images may differ in height and width.
        transfer: unlabelled examples, on which a technique that learns from a teacher trains in
            place of the data's own: inputs as `fit` takes them, whose targets are never read; or a
            name that the command's `--transfer` takes. What holds examples that are judged by is
            refused. None trains on the data and their targets.
        steps_per_epoch: batches of an epoch of a stream; None for all that it has.
        validation_steps: likewise, of `validation_data`.
        callbacks: Keras's, one or several, called as one `fit` of all epochs would call them.
        class_weight: the weight of each class's examples in the loss.
        seed: of the training.
        devices: how many devices of this machine share each batch of a training, or `all`: GPUs,
            or where there are none processors; on TensorFlow and JAX.
        verbose: whether a line is printed for each layer that is replaced and for each epoch.
        options: those of the techniques, and fields of `tfcompress.config.Training`, such as
            `epochs=5`, which come before what the model was compiled with. In a chain
            `**{"cp.rank": 8}` is cp's alone.

    Returns:
        A new functional Keras model, to be saved, evaluated or given to `tfcompress.export`; if the
        model was compiled, with the same loss, metrics and optimizer settings.

    Raises:
        InputError: an unknown technique or option, data that don't fit the model, or devices that
            aren't there.
    """
    check_model(model)
    check_types(compress, {"seed": seed, "verbose": verbose})
    check_devices("devices", devices)
    require(0 <= seed < 2**32, f"seed must be in 0..{2**32 - 1}; got {seed}")
    require(
        class_weight is None or isinstance(class_weight, Mapping),
        f"class_weight takes a dictionary from class to weight; got {type(class_weight).__name__}",
    )
    teachers = _teachers(teacher)
    steps, settings = _steps(technique, options, distils=bool(teachers))
    read = data_for(
        model,
        data,
        validation_data,
        steps_per_epoch=steps_per_epoch,
        validation_steps=validation_steps,
        batch_size=max(step.training.batch_size for step in steps),
    )
    samples = _checked_samples(model, read, seed)
    read, unlabelled = _transfer(model, transfer, read, steps, seed)
    trained = any(step.training.epochs for step in steps)
    goal = training_objective(model, read, settings) if trained else None
    context = TrainingContext(
        seed=seed,
        teacher=teacher_of(steps, teachers, model, goal.classes) if goal else model,
        transfer=unlabelled,
        objective=goal,
        callbacks=_checked_callbacks(callbacks),
        class_weight=class_weight,
        devices=devices,
    )
    check_can_train(steps, context, read)

    def round_context(
        context: TrainingContext, title: str, _: techniques.Candidate, training: Training
    ) -> TrainingContext:
        return with_progress(context, title, training.epochs) if verbose else context

    candidate = techniques.Candidate(model, samples=samples, file_ratio=FileRatios())
    if len(steps) > 1:  # One alone says so at once.
        techniques.check(candidate, steps)
    if verbose:
        candidate = dataclasses.replace(candidate, say=say)
    candidate, _ = techniques.apply(candidate, steps, read, context, round_context=round_context)
    last = steps[-1].technique
    if last.acts_in == "export":
        candidate.say(last.name, f"acts as the file is written: export(storage='{last.storage}')")
    return compiled_alike(candidate.model, model)


def data_for(model: keras.Model, data: Any, validation_data: Any = None, **more: Any) -> Any:
    """Returns data as training takes them, from what Keras's `fit` takes.

    Args:
        model: that they are for.
        data: as `compress` takes them.
        validation_data: likewise.
        more: further arguments of `as_fit`.

    Raises:
        InputError: they don't fit the model.
    """
    return as_fit(data, validation_data, **more, **_form(model))


def _steps(
    technique: str, options: Mapping[str, Any], *, distils: bool
) -> tuple[Sequence[techniques.Step], dict[str, Any]]:
    """Returns a chain's steps, and the settings of the training among the options.

    Args:
        technique: one or a chain.
        options: the user's.
        distils: whether a teacher is given, from whom something must be learned.
    """
    fields = Training.setting_names()
    settings = {key: value for key, value in options.items() if key in fields}
    its_options = {key: value for key, value in options.items() if key not in fields}
    if distils:
        settings.setdefault("distillation", {})
    steps = chosen_steps(technique, its_options, settings)
    if distils:
        techniques.check_distillation(steps, "teacher")
    return steps, settings


def _transfer(
    model: keras.Model, given: Any, data: Any, steps: Sequence[techniques.Step], seed: int
) -> tuple[Any, Data | None]:
    """Returns the data that are left to learn labels from, and the unlabelled examples, if any."""
    if given is None:
        return data, None
    techniques.check_distillation(steps)
    if isinstance(given, str):
        data, unlabelled = read_transfer(given, data, seed=seed, convert=input_caster(model))
    else:
        size = max(step.training.batch_size for step in steps)
        loaded = as_fit(given, batch_size=size, hold_out=False, **_form(model))
        unlabelled = prepared(loaded, data, input_caster(model))
        refuse_test_examples(unlabelled, data)
    check_inputs(model, unlabelled.sample(1).x, unlabelled.name)
    return data, unlabelled


def _form(model: keras.Model) -> dict[str, Any]:
    """Returns what data must have for a model, as `as_fit` takes it."""
    graph = functional(model)
    return {
        "inputs": len(graph.inputs),
        "outputs": len(graph.outputs),
        "convert": input_caster(model),
        "rank": len(graph.inputs[0].shape),
    }


def _checked_callbacks(callbacks: Any) -> tuple[keras.callbacks.Callback, ...]:
    """Returns one callback or several as Keras's `fit` takes them.

    Raises:
        InputError: one of them is none.
    """
    several = keras.tree.flatten(() if callbacks is None else callbacks)
    for callback in several:
        require(
            isinstance(callback, keras.callbacks.Callback),
            f"callbacks takes callbacks of Keras 3; got {type(callback).__name__}",
        )
    return tuple(several)


def _teachers(given: Any) -> tuple[keras.Model, ...]:
    """Returns the teachers that the user gives, one by one."""
    teachers = tuple(given) if isinstance(given, list | tuple) else (given,)
    teachers = () if given is None else teachers
    for each in teachers:
        require(
            isinstance(each, keras.Model),
            f"teacher takes a Keras model or a list of them; got {type(each).__name__}: "
            "keras.saving.load_model loads one",
        )
    return teachers


def teacher_of(
    steps: Sequence[techniques.Step],
    teachers: Sequence[keras.Model],
    model: keras.Model,
    classes: tuple[bool, ...],
) -> keras.Model:
    """Returns who teaches: what the teachers are together, or without any the model itself.

    Args:
        steps: of the chain, whose first distillation has the temperature of the teachers' mean.
        teachers: of the user's own.
        model: that the techniques begin with.
        classes: for each output, whether its values are scores of classes.

    Raises:
        InputError: a teacher takes or gives something else than the model.
    """
    if not teachers:
        return model
    distillations = [step.training.distillation for step in steps if step.training.distillation]
    for distillation in distillations:
        inside = sorted(FEATURES & set(distillation.names))
        require(
            len(teachers) == 1 or not inside,
            f"{' and '.join(inside)} looks at the layers of one teacher; got {len(teachers)}",
        )
    temperature = distillations[0].temperature if distillations else Distillation().temperature
    return one_teacher(teachers, model, temperature=temperature, classes=classes)


def check_can_train(steps: Sequence[techniques.Step], context: TrainingContext, data: Data) -> None:
    """Refuses, before anything is trained, what a later step of a chain can't be trained for.

    Args:
        steps: of the chain.
        context: of all their trainings.
        data: what they train on, if it isn't the context's transfer set.

    Raises:
        InputError: says which step can't, and why.
    """
    devices = chosen(context.devices)
    for step in steps:
        devices.check(step.training, data if context.transfer is None else context.transfer)
        if getattr(step.options, "engine", None) == "tfmot":
            from tfcompress.bridge import train

            train.check_can_train(context, step.training)


def _checked_samples(model: keras.Model, data: Data, seed: int) -> Any:
    """Returns inputs of training examples, which the model takes.

    Raises:
        InputError: it doesn't take them.
    """
    if isinstance(data, Dataset):
        check_fit(model, data)
    samples = data.representative(techniques.SAMPLES, seed)
    check_inputs(model, samples, data.name)
    return samples


def training_objective(model: keras.Model, data: Data, settings: Mapping[str, Any]) -> Objective:
    """Returns what a model is trained for, the user's training settings before the compiled ones.

    Args:
        model: compiled or not.
        data: whose targets tell what fits a model that isn't.
        settings: fields of `Training` that the user gives.

    Raises:
        InputError: the targets don't fit the model.
    """
    found = objective(model, data)
    if found.optimizer is None:
        return found
    if set(settings) & {"optimizer", "momentum", "weight_decay", "learning_rate_schedule"}:
        return dataclasses.replace(found, optimizer=None)
    if "learning_rate" in settings:
        _check_constant_rate(model, found.optimizer)
    optimizer = copy_optimizer(found.optimizer, settings.get("learning_rate"))
    return dataclasses.replace(found, optimizer=optimizer)


def _check_constant_rate(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses to set the rate of an optimizer that has a schedule, as Keras does.

    Raises:
        InputError: it has one.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # Of mixed_float16.
    rate = inner.get_config().get("learning_rate")
    schedule = rate.get("class_name") if isinstance(rate, Mapping) else None
    require(
        schedule is None,
        f"'{model.name}' was compiled with a schedule of the learning rate ({schedule}), which "
        "learning_rate would replace: leave it out to train by the schedule, compile the model "
        "with another, or give compress learning_rate_schedule, too, for the recipe's optimizer",
    )


def check_fit(model: keras.Model, data: Dataset) -> None:
    """Refuses a model that doesn't take these images or doesn't give these classes.

    Raises:
        InputError: says which shape was found and which is needed.
    """
    inputs, outputs = model.inputs, model.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"model '{model.name}' has {len(inputs)} inputs and {len(outputs)} outputs; training "
            "here needs one of each"
        )
    taken = tuple(inputs[0].shape[1:])
    if len(taken) != 3 or any(
        size not in (None, real) for size, real in zip(taken, data.image_shape, strict=True)
    ):
        raise InputError(
            f"model '{model.name}' takes inputs of shape {taken}, but the images of {data.name} "
            f"are {data.image_shape}"
        )
    given = tuple(outputs[0].shape[1:])
    if given != (data.num_classes,):
        raise InputError(
            f"model '{model.name}' gives outputs of shape {given}, but {data.name} has "
            f"{data.num_classes} classes"
        )
