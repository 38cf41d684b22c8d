"""Every family of keras.applications, and our builders: cut in half, each computes what it should.

`python -m pytest -m slow tests/graph/channels/test_applications.py` takes about ten minutes.
"""

import re

import keras
import pytest

from tests.graph.channels import masked_twin
from tfcompress import models

# One of each family, with the least size that it takes.
APPLICATIONS = {
    "VGG16": 32,
    "VGG19": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "Xception": 71,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "MobileNetV3Large": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ConvNeXtTiny": 32,
}

# Why groups of theirs stay, beside the classifier's, where no value may change.
FROZEN = {"ConvNeXtTiny": {"LayerNormalization: its statistics are those of all channels together"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "exact"), [*((name, True) for name in APPLICATIONS), *((n, False) for n in FROZEN)]
)
def test_applications(name, exact):
    keras.utils.set_random_seed(0)
    size = APPLICATIONS[name]
    build = getattr(keras.applications, name)
    options = {"weights": None, "input_shape": (size, size, 3), "classifier_activation": None}
    model = build(**options, include_top=True, classes=10)
    for layer in model._flatten_layers():
        if type(layer).__name__ == "LayerScale":  # It begins at 1e-6, which would hide all behind.
            layer.gamma.assign(keras.random.uniform(layer.gamma.shape, 0.5, 1.5))
    graph, _ = masked_twin.check(model, exact=exact)
    reasons = {group.frozen for group in graph.groups.values() if group.fixed}
    reasons = {re.sub(" '.*?'", "", reason) for reason in reasons}
    assert reasons == {"an output of the model", *(FROZEN.get(name, ()) if exact else ())}


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_builders(name):
    keras.utils.set_random_seed(0)
    size = min(models.get(name).NATIVE_SIZE, 64)
    model = models.build(name, (size, size, 3), 7, width=0.25)
    graph, _ = masked_twin.check(model)
    reasons = [group.frozen for group in graph.groups.values() if group.fixed]
    assert reasons == ["an output of the model"]
