import functools

import keras
import numpy as np
import pytest

from tests import checks
from tfcompress import models
from tfcompress.errors import InputError
from tfcompress.options import option_types

NAMES = models.names()


def size_for(name):
    """Small enough to be quick; every network takes its native size, and 64 if that is larger."""
    return min(models.get(name).NATIVE_SIZE, 64)


@functools.cache
def narrow(name):
    keras.utils.set_random_seed(0)
    return models.build(name, (size_for(name), size_for(name), 3), 7, width=0.25)


def test_names_are_the_folders():
    assert {"vgg_small", "vgg16", "vgg_s", "squeezenet"} <= set(NAMES)
    assert sorted(NAMES) == NAMES
    assert not {"builders", "blocks", "saved"} & set(NAMES)


def logits_of(name, *size):
    """The shape of the output for 7 classes: a U-Net gives each pixel one."""
    return (None, *(size if name == "unet_small" else ()), 7)


@pytest.mark.parametrize("name", NAMES)
def test_every_builder_gives_finite_logits(name):
    size, model = size_for(name), narrow(name)
    assert (model.name, model.output_shape) == (name, logits_of(name, size, size))
    images = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype("float32")
    logits = checks.predict(model, images)
    assert logits.shape[1:] == model.output_shape[1:]
    assert np.isfinite(logits).all()
    assert (logits[0] != logits[1]).any()


@pytest.mark.parametrize("name", NAMES)
def test_every_builder_has_a_docstring_and_a_native_size(name):
    module = models.get(name)
    assert module.NATIVE_SIZE >= 16
    assert module.__doc__
    assert "input_shape" in module.build.__doc__
    assert option_types(module.build)["width"] is float


# Where most of the weights aren't between layers that are both scaled.
OF_INPUTS = {"mlp", "ds_cnn", "toy_autoencoder"}
# Pairs of widths, the second twice the first, at which all channels are multiples of 8.
WIDTHS = {"resnet8_large": (0.2, 0.4)}


@pytest.mark.parametrize("name", sorted(set(NAMES) - OF_INPUTS))
def test_width_scales_every_channel(name):
    """Twice the channels: about four times the weights."""
    shape = (size_for(name), size_for(name), 3)
    with keras.StatelessScope():  # No values are drawn: only the shapes matter.
        thin, wide = (
            models.build(name, shape, 7, width=width) for width in WIDTHS.get(name, (0.25, 0.5))
        )
    assert 3 < wide.count_params() / thin.count_params() < 4.2


@pytest.mark.parametrize("name", NAMES)
def test_grey_and_oblong_images(name):
    size = size_for(name)
    with keras.StatelessScope():
        model = models.build(name, (size, 2 * size, 1), 7, width=0.25)
    assert model.input_shape == (None, size, 2 * size, 1)
    assert model.output_shape == logits_of(name, size, 2 * size)


@pytest.mark.parametrize("name", NAMES)
def test_tiny_images_are_taken_or_refused_in_plain_words(name):
    native = models.get(name).NATIVE_SIZE
    message = f"model '{name}' can't take images of 2x1 pixels; it was made for {native}x{native}"
    try:
        model = models.build(name, (2, 1, 3), 10, width=0.25)
        said = message if np.isfinite(checks.predict(model, np.ones((1, 2, 1, 3)))).all() else "NaN"
    except InputError as error:
        said = str(error)
    assert said == message


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options(name):
    with pytest.raises(InputError, match=f"model '{name}': .*unexpected keyword argument 'widht'"):
        models.build(name, (64, 64, 3), 10, widht=2)


@pytest.mark.parametrize("name", NAMES)
def test_options_out_of_range(name):
    with pytest.raises(InputError, match="width must be a positive number; got -1"):
        models.build(name, (64, 64, 3), 10, width=-1)
    if "dropout" in option_types(models.get(name).build):
        with pytest.raises(InputError, match=r"dropout must be in \[0, 1\); got 1.5"):
            models.build(name, (64, 64, 3), 10, dropout=1.5, width=0.25)


@pytest.mark.parametrize("use", [models.get, lambda name: models.build(name, (32, 32, 3), 10)])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg_smal", "unknown model 'vgg_smal': did you mean 'vgg_small'?"),
        ("builders", "unknown model 'builders'"),
        ("zzz", "unknown model 'zzz': Known: .*squeezenet.*vgg_small"),
    ],
)
def test_unknown_names(name, message, use):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        use(name)


@pytest.mark.parametrize("shape", [(32, 32), (32, 0, 3), (32, 32, 3, 1), (None, 32, 3)])
def test_bad_shapes(shape):
    with pytest.raises(InputError, match=r"must be \(height, width, channels\), all positive; got"):
        models.build("vgg_small", shape, 10)


def test_too_few_classes():
    with pytest.raises(InputError, match="num_classes must be 2 or more; got 1"):
        models.build("vgg_small", (32, 32, 3), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, (32, 32, 3), 10), "unknown model '3'"),
        (("vgg_small", 32, 10), "input_shape must be .*; got 32"),
        (("vgg_small", (32, 32, 3), "10"), r"num_classes takes a whole number; got '10' \(str\)"),
    ],
)
def test_arguments_of_another_type(arguments, message):
    with pytest.raises(InputError, match=message):
        models.build(*arguments)
    with pytest.raises(InputError, match=r"^width takes a number; got 'x' \(str\)"):
        models.build("vgg_small", (32, 32, 3), 10, width="x")
