"""Every technique on models that aren't a plain chain: transformed, or refused with a reason."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.graph.rewrite import operations

each = pytest.mark.parametrize("name", techniques.names())
# Fewer sweeps: what they find isn't looked at here.
QUICK = {"cp": {"iterations": 2}}


def nested():
    inner = keras.Sequential(
        [
            keras.Input((16, 16, 24)),
            layers.Conv2D(32, 3, padding="same", name="inner_conv"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ],
        name="inner",
    )
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.GlobalAveragePooling2D()(inner(x))
    return keras.Model(inputs, layers.Dense(10, name="scores")(layers.Dense(64)(x)))


def shared():
    conv = layers.Conv2D(24, 3, padding="same", name="shared")
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.add([conv(x), conv(layers.ReLU()(conv(x)))])
    x = layers.Conv2D(32, 3, name="last_conv")(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def several_outputs():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="second")(x)
    features = layers.GlobalAveragePooling2D()(x)
    outputs = {"class": layers.Dense(10)(features), "box": layers.Dense(4)(features)}
    return keras.Model(inputs, outputs)


def application(kind, side):
    def build():
        return getattr(keras.applications, kind)(
            weights=None, input_shape=(side, side, 3), classes=10
        )

    return build


# Techniques whose transform changes no layer by itself.
WHOLE = ("baseline", "distill", "morphnet")
# Models with batch normalisations, whose scales MorphNet learns widths by.
NORMALISED = ("nested",)
SMALL = {"nested": nested, "shared": shared, "several_outputs": several_outputs}
APPLICATIONS = {kind: application(kind, 32) for kind in ("MobileNetV2", "ResNet50", "VGG16")}


def check(name, model):
    """Transformed with outputs of the same structure and shapes, or refused by layer names."""
    technique = techniques.get(name)
    options = technique.make_options(**QUICK.get(name, {}))
    names = {operation.name for operation in operations(model)}
    refused = None
    try:
        candidate = technique.transform(techniques.Candidate(model), options)
    except InputError as error:
        refused = str(error)
    if refused:
        by_layers = any(layer in refused for layer in names)
        assert by_layers or "no channels that can go pass a batch norm" in refused, refused
        assert "\n" not in refused
        return "refused"
    x = np.random.default_rng(0).normal(size=(2, *model.inputs[0].shape[1:])).astype("float32")
    before, after = model(x), candidate.model(x)
    assert keras.tree.map_structure(lambda y: tuple(y.shape), after) == keras.tree.map_structure(
        lambda y: tuple(y.shape), before
    )
    for y in keras.tree.flatten(after):
        assert np.isfinite(keras.ops.convert_to_numpy(y)).all()
    if name not in WHOLE:
        assert {line.name for line in candidate.layers} & names
    return "transformed"


@each
@pytest.mark.parametrize("kind", SMALL)
def test_models_that_are_no_chain(name, kind):
    refused = name == "morphnet" and kind not in NORMALISED
    assert check(name, SMALL[kind]()) == ("refused" if refused else "transformed")


@pytest.mark.slow
@each
@pytest.mark.parametrize("kind", APPLICATIONS)
def test_applications(name, kind):
    check(name, APPLICATIONS[kind]())
