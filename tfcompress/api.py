"""The functions that Keras users call: `tfcompress.transform`, `tfcompress.compress`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.data.as_fit import as_fit
from tfcompress.data.dataset import Dataset
from tfcompress.data.protocol import Data
from tfcompress.errors import InputError, require, unknown_name
from tfcompress.graph.nodes import functional, input_structure
from tfcompress.options import check_types
from tfcompress.training import TrainingContext, clustering, pruning
from tfcompress.training.fit import copy_optimizer
from tfcompress.training.objective import Objective, compiled_objective, objective
from tfcompress.training.progress import say, with_progress
from tfcompress.training.signature import check_inputs, input_caster


def transform(model: keras.Model, technique: str, **options: Any) -> keras.Model:
    """Rebuilds a model by a technique, without training it.

    Args:
        model: functional or Sequential; it stays as it is.
        technique: a name of `tfcompress.techniques.names()`, or several as in `cp+hashed`. Not
            those that act while the network is trained, such as `prune`, which `compress` applies,
            or as the file is written, such as `int8`, which are storages of `export`.
        options: those of the techniques, such as `activation="relu"`.

    Returns:
        A new functional model with weights of its own.

    Raises:
        InputError: an unknown technique or option, a technique that changes nothing without
            training, or a model that it can't be applied to.
    """
    _check_model(model)
    steps = _steps(technique, options, {})
    for step in steps:
        _check_transforms(step.technique)
    candidate = techniques.Candidate(model)
    for step in steps:
        candidate = step.technique.transform(candidate, step.options)
    return candidate.model


def _check_model(model: Any) -> None:
    """Refuses what is no Keras 3 model, such as a file's name."""
    if isinstance(model, str | os.PathLike):
        raise InputError(f"model takes a Keras model: keras.saving.load_model('{model}') loads one")
    kind = f"{type(model).__module__}.{type(model).__name__}"
    require(isinstance(model, keras.Model), f"model takes a Keras 3 model; got {kind}")
    functional(model)  # Refuses one that has no graph yet, or never will.


def _check_transforms(technique: techniques.Technique, function: str = "transform") -> None:
    """Refuses a technique whose transform alone leaves the network as it was."""
    name = technique.name
    if technique.acts_in == "training":
        raise InputError(
            f"{name} acts while the network is trained, and {function} would change nothing: use "
            f"tfcompress.compress(model, '{name}', data)"
        )
    if technique.acts_in == "export":
        raise InputError(
            f"{name} acts as the file is written, and {function} would change nothing: use "
            f"tfcompress.export(model, path, storage='{technique.storage}')"
        )


def _steps(
    technique: str, options: dict[str, Any], settings: dict[str, Any]
) -> tuple[techniques.Step, ...]:
    """Returns the steps of a chain with the options and training settings that the user gives.

    Raises:
        InputError: an unknown technique, an option that none of them has, or a wrong value.
    """
    chain = techniques.chain(technique)
    _, taken = techniques.distribute(chain, options)
    for key in options:
        if key not in taken:
            known = {field.name for one in chain for field in dataclasses.fields(one.options)}
            raise unknown_name(f"option of {technique}", key, known)
    return techniques.make_steps(chain, options, settings)


def compress(
    model: keras.Model,
    technique: str,
    data: Any,
    *,
    validation_data: Any = None,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | keras.callbacks.Callback | None = None,
    class_weight: Mapping[int, float] | None = None,
    seed: int = 0,
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
            technique's recipe distils.
        technique: a name of `tfcompress.techniques.names()`, or several as in `cp+hashed`.
        data: as Keras's `fit` takes them: `(x, y)` or `(x, y, sample_weight)` of nested arrays
            (n, ...), or a tf.data pipeline, a `PyDataset`, PyTorch's `DataLoader`, a generator or
            a function that makes one, of such batches. The inputs reach the model as they are.
            Or a pair of data to train on and to judge by; or a `tfcompress.data.Dataset` of
            images, which says itself how they are normalised. For techniques that act as the file
            is written, x alone is enough.
        validation_data: what the epochs are judged by, likewise. Without it a fifth of arrays is
            held out, and of a stream nothing.
        steps_per_epoch: batches of an epoch of a stream; None for all that it has.
        validation_steps: likewise, of `validation_data`.
        callbacks: Keras's, one or several, called as one `fit` of all epochs would call them.
        class_weight: the weight of each class's examples in the loss.
        seed: of the training.
        verbose: whether a line is printed for each layer that is replaced and for each epoch.
        options: those of the techniques, and fields of `tfcompress.config.Training`, such as
            `epochs=5`, which come before what the model was compiled with. In a chain
            `**{"cp.rank": 8}` is cp's alone.

    Returns:
        A new functional Keras model, to be saved, evaluated or given to `tfcompress.export`.

    Raises:
        InputError: an unknown technique or option, or data that don't fit the model.
    """
    _check_model(model)
    check_types(compress, {"seed": seed, "verbose": verbose})
    require(0 <= seed < 2**32, f"seed must be in 0..{2**32 - 1}; got {seed}")
    require(
        class_weight is None or isinstance(class_weight, Mapping),
        f"class_weight takes a dictionary from class to weight; got {type(class_weight).__name__}",
    )
    fields = {field.name for field in dataclasses.fields(Training)}
    settings = {key: value for key, value in options.items() if key in fields}
    its_options = {key: value for key, value in options.items() if key not in fields}
    steps = _steps(technique, its_options, settings)
    read = as_fit(
        data,
        validation_data,
        steps_per_epoch=steps_per_epoch,
        validation_steps=validation_steps,
        batch_size=max(step.training.batch_size for step in steps),
        **_form(model),
    )
    samples = _checked_samples(model, read, seed)
    trained = any(step.training.epochs for step in steps)
    context = TrainingContext(
        seed=seed,
        teacher=model,
        objective=training_objective(model, read, settings) if trained else None,
        callbacks=_checked_callbacks(callbacks),
        class_weight=class_weight,
    )
    check_can_train(steps, context)

    def round_context(
        context: TrainingContext, title: str, _: techniques.Candidate, training: Training
    ) -> TrainingContext:
        return with_progress(context, title, training.epochs) if verbose else context

    candidate = techniques.Candidate(model, samples=samples)
    if len(steps) > 1:  # One alone says so at once.
        techniques.check(candidate, steps)
    if verbose:
        candidate = dataclasses.replace(candidate, say=say)
    candidate, _ = techniques.apply(candidate, steps, read, context, round_context=round_context)
    last = steps[-1].technique
    if last.acts_in == "export":
        candidate.say(last.name, f"acts as the file is written: export(storage='{last.storage}')")
    return candidate.model


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


def check_can_train(steps: Sequence[techniques.Step], context: TrainingContext) -> None:
    """Refuses, before anything is trained, what a later step of a chain can't be trained for."""
    for step in steps:
        if getattr(step.options, "engine", None) == "tfmot":
            from tfcompress.bridge import train

            train.check_can_train(context)


def prepare(
    model: keras.Model, technique: str, *, representative: Any = None, **options: Any
) -> keras.Model:
    """Rebuilds a model by a technique, ready for a training of one's own.

    What comes of it is trained by its `fit` with `tfcompress.callbacks`, or by any other loop that
    ends in an optimizer of Keras; then `tfcompress.finish` makes the plain model. Steps are
    counted from the first one after this call. A model that is compiled is compiled alike.

    Args:
        model: functional or Sequential; it stays as it is.
        technique: `prune`, `cluster`, `qat`, or a name of `tfcompress.techniques.names()` that acts
            before training, such as `xnor`.
        representative: inputs of training examples, as `export` takes them, by which `qat` measures
            the first ranges of activations; others don't need them.
        options: those of the technique. `prune` takes steps: `end_step` of the polynomial
            schedule has to be given.

    Returns:
        A functional model with weights of its own; `cluster` wraps layers, under their names.

    Raises:
        InputError: an unknown technique or option, or one that can't be prepared.

    Example:
        ```python
        prepared = tfcompress.prepare(model, "prune", final_sparsity=0.8, end_step=2000)
        prepared.compile("adam", "mse")
        prepared.fit(x, y, epochs=10, callbacks=tfcompress.callbacks(prepared))
        small = tfcompress.finish(prepared)
        ```
    """
    _check_model(model)
    steps = _steps(technique, options, {})
    if len(steps) > 1:
        raise InputError(
            f"prepare takes one technique; got '{technique}': finish the first one, and prepare "
            "what came of it by the next"
        )
    step = steps[0]
    make = step.technique.prepare
    candidate = techniques.Candidate(model, samples=_representative(model, representative))
    if make is None:
        _check_transforms(step.technique, "prepare")
        prepared = step.technique.transform(candidate, step.options).model
    else:
        prepared = make(candidate, step.options)
    goal = compiled_objective(model)
    if goal is not None:
        prepared.compile(optimizer=copy_optimizer(goal.optimizer), **goal.compile_arguments())
    return prepared


def _representative(model: keras.Model, given: Any) -> Any:
    """Returns inputs in the structure that the model takes; None if there are none."""
    if given is None:
        return None
    from tfcompress.export.representative import as_rows

    rows = as_rows(functional(model), given, "representative")
    return keras.tree.pack_sequence_as(input_structure(model), list(rows.arrays))


def callbacks(prepared: keras.Model) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that the `fit` of a prepared model needs.

    On JAX, where a step returns all that it changes, a loop of one's own needs them, too: compile
    the model, and call `set_model(prepared)` and `on_train_begin()` of each before the first step;
    `prepared.optimizer.stateless_apply` then carries the masks.

    Args:
        prepared: by `tfcompress.prepare`.

    Returns:
        Callbacks of Keras; an empty list if the technique needs none.

    Example:
        ```python
        prepared.fit(x, y, epochs=10, callbacks=[*tfcompress.callbacks(prepared), mine])
        ```
    """
    _check_model(prepared)
    return pruning.callbacks(prepared)


def finish(prepared: keras.Model) -> keras.Model:
    """Returns the plain model that a prepared one has become by its training.

    Args:
        prepared: by `tfcompress.prepare`, and trained.

    Returns:
        A new functional model, not compiled, without masks, schedules or wrappers, to be saved,
        evaluated, prepared again or given to `tfcompress.export`. What was pruned is zero in it,
        and clustered kernels have the few values that they shared; trained by `qat`, its kernels
        hold 8-bit values, and `storage="int8"` writes them as they are.

    Example:
        ```python
        small = tfcompress.finish(prepared)
        tfcompress.export(small, "small.tflite")
        ```
    """
    from tfcompress.qat import native

    _check_model(prepared)
    if native.is_quantized(prepared):
        return native.finished(prepared)
    return pruning.finished(clustering.finished(prepared))


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
    optimizer = copy_optimizer(found.optimizer, settings.get("learning_rate"))
    return dataclasses.replace(found, optimizer=optimizer)


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
