"""What a run starts from: the network, the data as it takes them, and what it is judged by."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcompress import api, data, models
from tfcompress.config import NORMALIZATIONS
from tfcompress.data.dataset import Dataset, Normalization
from tfcompress.data.description import DescribedData
from tfcompress.data.examples import Examples
from tfcompress.data.pipelines import Stream
from tfcompress.data.protocol import Data
from tfcompress.data.transfer.kinds import is_inverted, runs_code
from tfcompress.data.transfer.read import read
from tfcompress.errors import InputError, require
from tfcompress.files import quiet
from tfcompress.graph.rewrite import functional, operations
from tfcompress.options import option_types
from tfcompress.pipeline.plan import Plan
from tfcompress.training.context import TrainingContext
from tfcompress.training.devices import chosen
from tfcompress.training.evaluate import logits
from tfcompress.training.inversion import check_teacher
from tfcompress.training.judging import Judge, judge_of
from tfcompress.training.objective import Objective, inferred_objective
from tfcompress.training.progress import say
from tfcompress.training.signature import check_inputs, input_caster

# Of images larger than 64 pixels, where a user's model takes any size.
_NATIVE_SIZE = 224

# Of so many images a user's model is asked, and six standard errors of a share of them, at most.
_ASKED_IMAGES = 256
_FAR_BETTER = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Says what a run's networks learn and are judged by.

    Attributes:
        data: as the networks take them.
        judge: judges the files.
        objective: what is trained for, as a `TrainingContext` has it: None for what follows from
            outputs and targets, as it does of images with labels.
        teacher: of the user's own; None for the network that the techniques begin with.
        transfer: unlabelled examples that the techniques train on in place of the data's; None
            for those.
    """

    data: DescribedData
    judge: Judge
    objective: Objective | None = None
    transfer: Data | None = None
    teacher: keras.Model | None = None

    @property
    def images(self) -> Dataset | None:
        """The data, if they are images with labels."""
        return self.data if isinstance(self.data, Dataset) else None

    @property
    def noun(self) -> str:
        """What reports call the examples."""
        return "images" if self.images is not None else "examples"


def load(job: Plan) -> tuple[keras.Model, DescribedData]:
    """Returns the network to start from, and the data as it takes them; images normalised.

    Raises:
        InputError: the model file or the data can't be used.
    """
    users_model = _users_model(job.config.model)
    loaded = load_data(job, users_model)
    model = _build(job, loaded) if users_model is None else users_model
    if isinstance(loaded, Dataset):
        trained = users_model is not None
        return model, _normalised(loaded, model, job.config.normalization, trained=trained)
    for flag, given in (
        ("normalization", job.config.normalization not in ("auto", "none")),
        ("augment", job.config.augment not in (None, "none")),
    ):
        require(
            not given,
            f"--{flag} is for images with classes; {loaded.name} reaches the model as it is",
        )
    if users_model is not None:
        _compile(users_model, job.config.model)
    return model, _cast(loaded, model)


def _check_can_train(job: Plan, loaded: Data, context: TrainingContext) -> None:
    """Refuses, before anything is trained, what a later training of the run can't be done with."""
    context = dataclasses.replace(context, devices=job.config.devices)
    chosen(job.config.devices).check(job.baseline, loaded)
    api.check_can_train(job.steps, context, loaded)


def task_of(job: Plan, model: keras.Model, loaded: DescribedData) -> Task:
    """Returns what the run's networks learn and are judged by.

    Raises:
        InputError: model and data don't fit one another, or the metric isn't known.
    """
    asked = job.config.metric
    if isinstance(loaded, Dataset):
        api.check_fit(model, loaded)
        loaded, unlabelled = _transfer(job, model, loaded)
        _check_can_train(job, loaded, TrainingContext(transfer=unlabelled))
        goal = inferred_objective(model, loaded)
        judge = judge_of(model, loaded, goal, asked)
        teacher = _teacher(job, model, goal)
        return Task(data=loaded, judge=judge, transfer=unlabelled, teacher=teacher)
    check_inputs(model, loaded.sample(1).x, loaded.name)
    loaded, unlabelled = _transfer(job, model, loaded)
    goal = api.training_objective(model, loaded, job.settings)
    _check_can_train(job, loaded, TrainingContext(objective=goal, transfer=unlabelled))
    require(
        loaded.test_steps(1) > 0,
        f"{loaded.name} has no held-out examples to judge by: give data that have some",
    )
    if asked is None and not (goal.users and (goal.metrics or goal.weighted_metrics)):
        asked = loaded.metric
    judge = judge_of(model, loaded, goal, asked)
    teacher = _teacher(job, model, goal)
    return Task(data=loaded, judge=judge, objective=goal, transfer=unlabelled, teacher=teacher)


def _teacher(job: Plan, model: keras.Model, goal: Objective) -> keras.Model | None:
    """Returns what the files of `--teacher` teach together; None without any.

    Raises:
        InputError: a file can't be loaded, or its model takes or gives something else than the one
            that is compressed.
    """
    teachers = [models.load(name, say=say) for name in job.config.teacher]
    if not teachers:
        return None
    return api.teacher_of(job.steps, teachers, model, goal.classes)


def _transfer(
    job: Plan, model: keras.Model, loaded: DescribedData
) -> tuple[DescribedData, Data | None]:
    """Returns the data that are left to learn labels from, and the unlabelled examples, if any.

    Raises:
        InputError: the transfer set can't be used, or holds examples that are judged by.
    """
    name = job.config.transfer
    if name is None:
        return loaded, None
    assert isinstance(loaded, Dataset | Examples | Stream)
    if is_inverted(name):
        require(
            isinstance(loaded, Dataset),
            f"--transfer={name} makes images, which {loaded.name} is none of",
        )
        check_teacher(model)
        return loaded, None  # The teacher is to be trained first.
    users_code = runs_code(name)
    if users_code:
        say("transfer", f"runs {name}, which is code of your own")
    with contextlib.nullcontext() if users_code else quiet():
        loaded, unlabelled = read(
            name,
            loaded,
            seed=job.config.seed,
            data_dir=job.config.data_dir,
            options=job.data_options,
            convert=input_caster(model),
        )
    check_inputs(model, unlabelled.sample(1).x, unlabelled.name)
    say("transfer", unlabelled.describe())
    return loaded, unlabelled


def _users_model(name: str) -> keras.Model | None:
    """Loads the model of a file; None if the name is a builder's."""
    return models.load(name, say=say) if models.is_file(name) else None


def _compile(model: keras.Model, name: str) -> None:
    """Compiles a user's model with the loss, metrics and optimizer that its file holds, if any."""
    reason = models.compile_as_saved(model, name)
    if reason is not None:
        say("model", f"what {name} was compiled with isn't known here ({reason}): it is trained "
            "for what fits its outputs and targets")  # fmt: skip


def load_data(job: Plan, users_model: keras.Model | None) -> DescribedData:
    """Loads the data set, images in the size of the user's own model if there is one."""
    size = job.config.image_size
    if users_model is None:
        native = getattr(models.get(job.config.model), "NATIVE_SIZE", _NATIVE_SIZE)
    else:
        native = _NATIVE_SIZE
        size = size or _input_side(users_model)
    runs_code = data.runs_code(job.config.dataset)
    if runs_code:
        say("data", f"runs {job.config.dataset}, which is code of your own")
    # What the user's own code prints is for the user.
    with contextlib.nullcontext() if runs_code else quiet():
        loaded = data.load(
            job.config.dataset,
            data_dir=job.config.data_dir,
            image_size=size,
            fallback_size=native,
            options=job.data_options,
        )
        grey = users_model is not None and functional(users_model).inputs[0].shape[-1] == 1
        if isinstance(loaded, Dataset) and grey:
            loaded = loaded.in_grey()
    say("data", loaded.describe())
    return loaded


def _cast(loaded: DescribedData, model: keras.Model) -> DescribedData:
    """Returns data whose inputs come in the types that the model takes."""
    caster = input_caster(model)
    if isinstance(loaded, Examples):
        return dataclasses.replace(loaded, convert=caster)
    if isinstance(loaded, Stream):
        for batches in (loaded.train, loaded.test):
            if batches is not None:
                batches.convert = caster
    return loaded


def _input_side(model: keras.Model) -> int | None:
    """Returns the side of the images that a user's model takes, if it is square and static."""
    shape = functional(model).inputs[0].shape
    return shape[1] if len(shape) == 4 and shape[1] == shape[2] else None


def _build(job: Plan, loaded: DescribedData) -> keras.Model:
    """Builds the network with weights that follow from the run's seed."""
    shape, outputs = loaded.input_shape, loaded.num_outputs
    if shape is None or outputs is None:
        raise InputError(
            f"a builder makes a network with one input and one output, and {loaded.name} has "
            "several or doesn't tell their shapes: give a model file of your own, --model=my.keras"
        )
    keras.utils.set_random_seed(job.config.seed)
    build = models.get(job.config.model).build
    known: Mapping[str, Any] = {
        key: value for key, value in loaded.model_options.items() if key in option_types(build)
    }
    return models.build(job.config.model, shape, outputs, **{**known, **job.model_options})


def _normalised(
    images: Dataset, model: keras.Model, normalization: str, *, trained: bool
) -> Dataset:
    """Returns the data set with the normalisation that the model expects.

    Args:
        images: with the data's own mean and deviation.
        model: that takes them.
        normalization: one of `config.NORMALIZATIONS`.
        trained: whether `auto` may ask the model, since its weights come from the user's file.
    """
    assert normalization in NORMALIZATIONS
    choices = _normalizations(images)
    if normalization != "auto":
        return images.with_normalization(choices[normalization])
    layers = keras.layers.Rescaling | keras.layers.Normalization
    if any(isinstance(operation, layers) for operation in operations(model)):
        return images.with_normalization(choices["none"])
    return _as_answered(images, model) if trained else images


def _normalizations(images: Dataset) -> dict[str, Normalization]:
    """Returns what each value of `--normalization` but `auto` stands for."""
    channels = images.image_shape[2]
    return {
        "standardize": images.normalization,
        "none": Normalization.identity(channels),
        "unit": Normalization.unit(channels),
        "symmetric": Normalization.symmetric(channels),
    }


def _as_answered(images: Dataset, model: keras.Model) -> Dataset:
    """Returns the data set with the normalisation by which a model knows more of its images.

    That of the data set itself stays unless another one is far better, and better than chance, as
    it is where the model was trained with it: pixels from 0 to 1 are all alike to a model that
    learned from 0 to 255.
    """
    sample = images.sample(_ASKED_IMAGES)
    shapes = [tensor.shape for tensor in functional(model).outputs]
    if shapes != [(None, images.num_classes)] or len(functional(model).inputs) != 1:
        return images
    given = {
        name: images.with_normalization(each) for name, each in _normalizations(images).items()
    }
    right = {
        name: float((logits(model, each.sample(_ASKED_IMAGES).x).argmax(1) == sample.y).mean())
        for name, each in given.items()
    }
    best = max(right, key=lambda name: right[name])
    chance = float(np.bincount(sample.y).max()) / len(sample.y)  # By one answer to all of them.
    if right[best] - max(right["standardize"], chance) < _FAR_BETTER:
        return images
    shares = ", ".join(f"{name} {share:.0%}" for name, share in right.items())
    say("data", f"--normalization={best}: of {len(sample.y)} training images the model knows, by "
        f"how their pixels are given, {shares}")  # fmt: skip
    return given[best]
