"""What a run starts from: the network, and the images as that network takes them."""

from __future__ import annotations

import keras

from tfcompress import bridge, data, models
from tfcompress.config import NORMALIZATIONS
from tfcompress.data.dataset import Dataset, Normalization
from tfcompress.errors import InputError, UnsafeFileError
from tfcompress.files import quiet
from tfcompress.graph.rewrite import functional, operations
from tfcompress.pipeline.plan import Plan
from tfcompress.training.progress import say

# Of images larger than 64 pixels, where a user's model takes any size.
_NATIVE_SIZE = 224


def load(job: Plan) -> tuple[keras.Model, Dataset]:
    """Returns the network to start from, and the data set normalised as it expects.

    Raises:
        InputError: the model file or the data can't be used.
    """
    users_model = _users_model(job.config.model)
    images = load_data(job, users_model)
    model = _build(job, images) if users_model is None else users_model
    return model, _normalised(images, model, job.config.normalization)


def _users_model(name: str) -> keras.Model | None:
    """Loads the model of a file; None if the name is a builder's."""
    if not models.is_file(name):
        return None
    try:
        return models.load(name)
    except InputError as error:
        # The older loader has fewer checks: no file that was refused for its harm gets there.
        if name.endswith(".keras") or isinstance(error, UnsafeFileError):
            raise
    # What Keras 3 can't load may be of Keras 2.
    say("bridge", f"{name} isn't a model of Keras 3: loading it by tf_keras")
    with quiet():
        return bridge.load_h5(name)


def load_data(job: Plan, users_model: keras.Model | None) -> Dataset:
    """Loads the data set, in the size of the user's own model if there is one."""
    size = job.config.image_size
    if users_model is None:
        native = models.get(job.config.model).NATIVE_SIZE
    else:
        native = _NATIVE_SIZE
        size = size or _input_side(users_model)
    with quiet():
        images = data.load(
            job.config.dataset,
            data_dir=job.config.data_dir,
            image_size=size,
            fallback_size=native,
            options=job.data_options,
        )
        assert isinstance(images, Dataset)
        if users_model is not None and functional(users_model).inputs[0].shape[-1] == 1:
            images = images.in_grey()
    say("data", images.describe())
    return images


def _input_side(model: keras.Model) -> int | None:
    """Returns the side of the images that a user's model takes, if it is square and static."""
    shape = functional(model).inputs[0].shape
    return shape[1] if len(shape) == 4 and shape[1] == shape[2] else None


def _build(job: Plan, images: Dataset) -> keras.Model:
    """Builds the network with weights that follow from the run's seed."""
    keras.utils.set_random_seed(job.config.seed)
    return models.build(
        job.config.model, images.image_shape, images.num_classes, **job.model_options
    )


def _normalised(images: Dataset, model: keras.Model, normalization: str) -> Dataset:
    """Returns the data set with the normalisation that the model expects."""
    assert normalization in NORMALIZATIONS
    if normalization == "auto":
        layers = keras.layers.Rescaling | keras.layers.Normalization
        normalises = any(isinstance(operation, layers) for operation in operations(model))
        normalization = "none" if normalises else "standardize"
    chosen = {
        "none": Normalization.identity,
        "unit": Normalization.unit,
        "symmetric": Normalization.symmetric,
    }.get(normalization)
    return images.with_normalization(chosen(images.image_shape[2])) if chosen else images
